"""Put together what small networks learn from beside a teacher's features: labels, copies of cells, physics.

The data set `pretraining`; of its training and validation crystals with at most 12 atoms one perturbed copy
each; and what a potential says of the lattice dynamics and elasticity of those of which it is kept in the
cache, unknown of the others. What is there is not made again, so that a call goes on where one stopped.

With `--everything` also the crystals that `pretraining` keeps out, and nothing is a test part: for networks
to predict with.

Beside it (`teaching-small.parquet` beside `teaching.parquet`) what the teacher is to read: crystals with at
most 20 atoms, those of the test part left out.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.joined_table import Facts, joined
from tlzoo.data.perturbed import LEARNED, PART, perturbed, to_perturb
from tlzoo.data.pretraining import merged
from tlzoo.descriptors.physics_options import PhysicsOptions
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.physics.computed import computed, fill
from tlzoo.physics.database import content
from tlzoo.physics.physics_chunk import KINDS, each, opened

BASE: Final = "pretraining"
PHYSICS: Final = ("phonons:sevennet-0", "elastic:sevennet-0")
OUTPUT: Final = Path("runs/teaching.parquet")
# A third of the crystals; larger cells take as much of an epoch as several small ones.
MOST_ATOMS: Final = 12
# Two thirds of the crystals with a quarter of the atoms, so a quarter of the time that all would take.
MOST_READ: Final = 20
# Crystals whose physics is in memory at a time.
TOGETHER: Final = 1000


def table(most: int = 0) -> Crystals:
    """Return the table, after computing some of the physics that is not kept yet, of so many crystals."""
    base = named.load(BASE)
    rows = to_perturb(base, max_atoms=MOST_ATOMS)
    others: dict[str, Crystals | Facts] = {"perturbed copies": perturbed(base.select(rows))}
    for name in PHYSICS:
        compute(base, name, most)
        others[name] = known(base, name)
    return joined(BASE, base, others)


def with_everything(crystals: Crystals) -> Crystals:
    """Return the copies and the physics of a table, and all crystals there are, none of them to test on."""
    whole = merged.everything({name: named.load(name) for name in merged.SOURCES})
    rows = {name: row for row, name in enumerate(crystals.ids)}
    whole = replace(
        whole, columns={**whole.columns, **_looked_up(crystals, whole, rows)}, units=crystals.units
    )
    copies = np.flatnonzero(~np.isin(crystals.ids.astype(str), whole.ids.astype(str)) & _learned(crystals))
    return Crystals.concatenated([whole, crystals.select(copies)])


def _looked_up(crystals: Crystals, whole: Crystals, rows: dict[str, int]) -> dict[str, NDArray[np.float64]]:
    """Return the columns that only the first of two tables has, for the rows of the other."""
    found = np.array([rows.get(name, -1) for name in whole.ids])
    return {
        key: np.where(found >= 0, values[found], np.nan)
        for key, values in crystals.columns.items()
        if key not in whole.columns
    }


def compute(crystals: Crystals, name: str, most: int) -> None:
    """Compute the physics of so many of the smallest cells that are learned from, those it is kept of too."""
    rows = np.flatnonzero(_learned(crystals)) if most else np.array([], int)
    draws = [hashlib.sha256(crystals.ids[row].encode()).digest() for row in rows]
    # of equal size in an order that says nothing of chemistry
    order = sorted(range(len(rows)), key=lambda i: (crystals.num_atoms[rows[i]], draws[i]))
    if order:
        fill(crystals.select(rows[order[:most]]), PhysicsOptions.named(name))


def _learned(crystals: Crystals) -> NDArray[np.bool_]:
    return np.isin(crystals.columns[PART].astype(str), LEARNED)


def known(crystals: Crystals, name: str) -> Facts:
    """Return the physics that is kept."""
    options = PhysicsOptions.named(name)
    there = opened(options).known(KINDS[options.kind].label)
    cells = each(cells_of(crystals, 0, len(crystals)))
    kept = [row for row, cell in enumerate(cells) if content(cell) in there]
    parts: list[dict[str, NDArray[np.float64]]] = [
        computed(crystals.select(kept[start : start + TOGETHER]), name, progress=False, workers=1)
        for start in range(0, len(kept), TOGETHER)
    ]
    columns = {key: np.concatenate([np.empty(0), *(part[key] for part in parts)]) for key in options.units}
    return Facts(crystals.ids[kept], columns, options.units)


def main(arguments: Sequence[str]) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.teaching", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"by default {OUTPUT}")
    parser.add_argument(
        "--compute",
        type=int,
        default=0,
        metavar="N",
        help="make sure that physics of the N smallest is known",
    )
    parser.add_argument("--everything", action="store_true", help="crystals of test sets, too, to learn from")
    given = parser.parse_args(arguments)
    crystals = table(most=given.compute)
    if given.everything:
        crystals = with_everything(crystals)
    small = crystals.select(np.flatnonzero((crystals.num_atoms <= MOST_READ) & _learned(crystals)))
    beside = given.output.with_name(f"{given.output.stem}-small{given.output.suffix}")
    replace(small, columns={PART: small.columns[PART]}).write_parquet(beside, base=BASE)
    crystals.write_parquet(given.output, base=BASE, joined=["perturbed copies", *PHYSICS])
    for name in [key for key in ("phonons.highest", "elastic.log10_g_vrh") if key in crystals.columns]:
        sys.stdout.write(f"{name}: {crystals.known(name).sum():,} of {len(crystals):,} crystals\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
