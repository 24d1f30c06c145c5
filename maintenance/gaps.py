"""Put gaps of three levels of theory in one table: measured, by PBE, and by OptB88 of monolayers.

The crystals of `expt_gap` keep their ids. Of `mp` there are some with at most 20 atoms, drawn at random from
those that are not kept out of pre-training (`python -m maintenance.exclusions`); of `jarvis_2d` all.

The column ``difference`` is the measured gap less the computed one, of the crystal in `mp` that has the same
formula and of these the lowest formation energy.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.pretraining.exclusions import read
from tlzoo.errors import UserError

OUTPUT: Final = Path("runs/gaps.parquet")
BASE: Final = "expt_gap"
COLUMNS: Final = {BASE: "expt_gap", "mp": "band_gap", "jarvis_2d": "band_gap_optb88"}
COMPUTED: Final = 2000
MAX_ATOMS: Final = 20


def table(sources: Mapping[str, Crystals]) -> Crystals:
    """Return the table of the data sets in ``COLUMNS``, by name."""
    listed = read()
    out = set(listed.loc[listed["data_set"] == "mp", "id"])
    mp = sources["mp"]
    usable = np.flatnonzero((mp.num_atoms <= MAX_ATOMS) & ~np.isin(mp.ids.astype(str), list(out)))
    drawn = np.random.default_rng(0).permutation(usable)[:COMPUTED]
    parts = {**sources, "mp": mp.select(np.sort(drawn))}
    made = Crystals.concatenated([_renamed(parts[name], name) for name in COLUMNS])
    difference = made.column(BASE) - _lowest(mp).reindex(made.formulas).to_numpy()
    columns = {**made.columns, "difference": difference}
    return replace(made, columns=columns, units=dict.fromkeys(columns, "eV"))


def _lowest(crystals: Crystals) -> pd.Series:
    """Return the computed gap of the crystal with the lowest formation energy, by formula."""
    columns = {name: crystals.column(name) for name in ("band_gap", "formation_energy")}
    rows = pd.DataFrame({"formula": crystals.formulas, **columns})
    return rows.sort_values("formation_energy", kind="stable").groupby("formula")["band_gap"].first()


def _renamed(crystals: Crystals, name: str) -> Crystals:
    """Return crystals with all columns of the table, and ids that say where they are from."""
    columns = {
        column: crystals.column(column) if source == name else np.full(len(crystals), np.nan)
        for source, column in COLUMNS.items()
    }
    before = "" if name == BASE else f"{name}:"
    ids = np.array([f"{before}{each}" for each in crystals.ids], dtype=object)
    return replace(crystals, ids=ids, columns=columns, units=dict.fromkeys(columns, "eV"), origins=())


def main(arguments: Sequence[str]) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.gaps", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"by default {OUTPUT}")
    given = parser.parse_args(arguments)
    made = table({name: named.load(name) for name in COLUMNS})
    made.write_parquet(given.output, base=BASE, joined=[name for name in COLUMNS if name != BASE])
    counts = ", ".join(f"{name}: {np.count_nonzero(made.known(name)):,}" for name in made.columns)
    sys.stdout.write(f"{len(made):,} crystals; {counts}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit(str(error))
