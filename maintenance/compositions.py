"""Put together what networks for formulas learn from: one row a composition of `mp`, without any structure.

- ``formation_energy`` is the lowest of all crystals of the composition, in `mp` and `e_form_paper`.
- ``band_gap`` is that of the crystal with the lowest formation energy among those with a gap; where no
  formation energy is known, the mean.

The part ``test`` has the compositions of the paper's test crystals of `mp`. Whatever else has the composition
of a crystal that is kept out of pre-training (`python -m maintenance.exclusions`) is left out: of a formula
alone all polymorphs are the same. Of the others 4 % validate, by the draw of the data set `pretraining`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

import tlzoo
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.pretraining import SOURCES
from tlzoo.data.pretraining.exclusions import read
from tlzoo.data.pretraining.merged import part_of

BASE: Final = "pretraining"
OUTPUT: Final = Path("runs/compositions.parquet")
LABELLED: Final = ("mp", "e_form_paper")
TEST: Final = "mp_band_gap"
UNITS: Final = {"formation_energy": "eV/atom", "band_gap": "eV"}


def table(sources: Mapping[str, Crystals]) -> Crystals:
    """Return the table of the data sets that `pretraining` is made of, by name."""
    listed = read()
    tested: set[str] = set()
    out: set[str] = set()
    for name, crystals in sources.items():
        here = listed[listed["data_set"] == name]
        formula = dict(zip(crystals.ids, _labels(crystals)["formula"], strict=True))
        out |= {formula[crystal] for crystal in here["id"]}
        if name == "mp":
            tested = {formula[crystal] for crystal in here.loc[here["member_of"] == TEST, "id"]}
    rows = pd.concat(_labels(sources[name]) for name in LABELLED)
    # a stable order: the first of equal energies is the first of `mp`
    rows = rows.sort_values("formation_energy", kind="stable")
    groups = rows.groupby("formula", sort=True)
    # what is known of the lowest that has it
    labels = groups[list(UNITS)].first()
    mean = groups["band_gap"].mean()
    labels["band_gap"] = labels["band_gap"].where(labels["formation_energy"].notna(), mean)
    labels["part"] = [
        "test" if formula in tested else "" if formula in out else part_of(formula)
        for formula in labels.index
    ]
    labels = labels[labels["part"] != ""]
    labels.attrs["units"] = UNITS
    return tlzoo.read(labels.reset_index())


def _labels(crystals: Crystals) -> pd.DataFrame:
    unknown = np.full(len(crystals), np.nan)
    columns = {name: crystals.columns.get(name, unknown) for name in UNITS}
    return pd.DataFrame({"formula": [key.replace("-", "") for key in crystals.formulas], **columns})


def main(arguments: Sequence[str]) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.compositions", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"by default {OUTPUT}")
    given = parser.parse_args(arguments)
    made = table({name: named.load(name) for name in SOURCES})
    made.write_parquet(given.output, base=BASE, joined=list(LABELLED))
    parts, counts = np.unique(made.columns["part"].astype(str), return_counts=True)
    sys.stdout.write(", ".join(f"{part}: {n:,}" for part, n in zip(parts, counts, strict=True)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
