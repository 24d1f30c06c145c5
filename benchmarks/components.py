"""What of a potential's numbers is needed, and what does a student know of them?

``tlzoo embed sevennet-l3i5 dielectric --atoms --whiten 512 -o KNOWN``
``python -m benchmarks.components dielectric KNOWN 64 512``

The first principal components, put back into the potential's own numbers, each standardised, are pooled
(mean, deviation and maximum over the atoms) and read by the kernel head; data and splits are those of
``$TLZOO_DATA``. The fewest components that lose nothing are what a student has to learn.

``tlzoo embed momentnet-u runs/teaching-small.parquet --atoms -o STUDENT``
``tlzoo embed momentnet-u dielectric --atoms -o READ``
``python -m benchmarks.components dielectric READ --map STUDENT runs/teacher``

The same of the potential's numbers as a student says them: by the linear map from all its layers that fits
best for crystals that both have read, here those that it was taught on, none of them a test crystal.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.small_data import off, parts, summary
from tlzoo.crystals import Crystals
from tlzoo.data.atom_table import AtomTable
from tlzoo.transfer.features import estimators

Floats = NDArray[np.float64]
# Of the crystals that both have read, one in so many is enough for a map of some hundred numbers.
EVERY = 7
# Part of the mean square that the ridge adds to each.
RIDGE = 1e-4


def by_id(table: AtomTable, every: int = 1) -> dict[str, Floats]:
    """Return numbers of atoms, ``(atoms, numbers)``, by the ids of crystals; of one shard in so many."""
    found: dict[str, Floats] = {}
    for number, shard in enumerate(table.read()):
        if number % every == 0:
            cuts = np.split(shard.features.astype(np.float64), shard.offsets[1:-1])
            found.update(zip(map(str, shard.ids), cuts, strict=True))
    return found


def back(table: AtomTable, components: int) -> Floats:
    """Return what makes the first components the potential's own numbers, ``(components, numbers)``."""
    assert table.whitening is not None
    return table.whitening.back[:components].astype(np.float64)


def mapped(student: AtomTable, teacher: AtomTable) -> Callable[[Floats], Floats]:
    """Return the linear map from a student's numbers of an atom to the teacher's own."""
    said, known = by_id(student, EVERY), by_id(teacher, EVERY)
    both = [name for name in said if name in known and len(said[name]) == len(known[name])]
    x = np.concatenate([_with_one(said[name]) for name in both])
    y = np.concatenate([known[name] for name in both])
    square = x.T @ x
    square += RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    found = np.linalg.solve(square, x.T @ y)
    print(
        f"of the whitened numbers of {len(x):,} atoms {np.square(x @ found - y).mean():.2f} is not explained"
    )
    own = found @ back(teacher, y.shape[1])
    return lambda atoms: _with_one(atoms) @ own


def put_back(table: AtomTable, components: int) -> Callable[[Floats], Floats]:
    """Return what makes the first components of an atom the potential's own numbers."""
    own = back(table, components)
    return lambda atoms: atoms[:, :components] @ own


def _with_one(atoms: Floats) -> Floats:
    return np.hstack([atoms, np.ones((len(atoms), 1))])


def main() -> None:
    """Measure, and print what came of each number of components, or of the student."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("table", type=Path, help="what the potential, or the student, says of the data")
    parser.add_argument("components", type=int, nargs="*")
    parser.add_argument("--map", type=Path, nargs=2, metavar=("STUDENT", "TEACHER"))
    parser.add_argument("--labels", nargs="+", default=["800"])
    args = parser.parse_args()
    crystals = Crystals.read_parquet(Path(os.environ["TLZOO_DATA"]) / f"{args.data}.parquet")
    target = next(iter(crystals.units))
    ids, y = [str(each) for each in crystals.ids], crystals.columns[target].astype(float)
    table = AtomTable.open(args.table)
    atoms = by_id(table)
    ways: dict[str, Callable[[Floats], Floats]] = {}
    if args.map:
        ways["the student"] = mapped(*map(AtomTable.open, args.map))
    for count in args.components:
        ways[f"{count} components"] = put_back(table, count)
    kind = estimators.find(estimators.SMALL_DATA)
    for name, way in ways.items():
        each = map(way, (atoms[row] for row in ids))
        x = np.array([np.concatenate([a.mean(0), a.std(0), a.max(0)]) for a in each])
        for labels in args.labels:
            errors = []
            for train, test in parts(args.data, ids, labels, []):
                model = kind.fit(x[train], y[train], {}, 0, None, {}, [x.shape[1]])
                errors.append(off(model.predict(x[test], {}), y[test]))
            print(f"{name}, {labels} labels: test MAE {summary(errors)}", flush=True)


if __name__ == "__main__":
    main()
