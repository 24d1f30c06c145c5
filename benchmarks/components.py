"""How much of what a potential says of atoms do its first principal components keep?

``tlzoo embed sevennet-l3i5 dielectric --atoms --whiten 512 -o FOLDER``
``python -m benchmarks.components dielectric FOLDER 64 512 --labels 800``

Put back into the potential's own numbers, standardised, they are pooled (mean, deviation and maximum over the
atoms) and read by the kernel head; data and splits are those of ``$TLZOO_DATA``. The fewest components that
lose nothing are what a student has to learn.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.small_data import off, parts, summary
from tlzoo.crystals import Crystals
from tlzoo.data.atom_table import WHITENING, AtomTable
from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.whitening import Whitening


def pooled(table: AtomTable, components: int) -> dict[str, NDArray[np.float64]]:
    """Return features of each crystal by its id, ``(3 * numbers,)``."""
    how = Whitening.load(table.folder / WHITENING)
    back = (how.components * how.variances[: how.components.shape[1]])[:, :components].T
    features = {}
    for shard in table.read():
        for row, name in enumerate(shard.ids):
            atoms = shard.features[shard.offsets[row] : shard.offsets[row + 1], :components] @ back
            features[str(name)] = np.concatenate([atoms.mean(0), atoms.std(0), atoms.max(0)]).astype(float)
    return features


def main() -> None:
    """Measure, and print what came of each number of components."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("table", type=Path)
    parser.add_argument("components", type=int, nargs="+")
    parser.add_argument("--labels", default="800")
    args = parser.parse_args()
    crystals = Crystals.read_parquet(Path(os.environ["TLZOO_DATA"]) / f"{args.data}.parquet")
    target = next(iter(crystals.units))
    ids, y = [str(each) for each in crystals.ids], crystals.columns[target].astype(float)
    kind = estimators.find(estimators.SMALL_DATA)
    for components in args.components:
        features = pooled(AtomTable.open(args.table), components)
        x = np.array([features[name] for name in ids])
        errors = []
        for train, test in parts(args.data, ids, args.labels, []):
            model = kind.fit(x[train], y[train], {}, 0, None, {}, [x.shape[1]])
            errors.append(off(model.predict(x[test], {}), y[test]))
        print(f"{components} components: test MAE {summary(errors)}", flush=True)


if __name__ == "__main__":
    main()
