"""What of a potential's numbers is needed?

``tlzoo embed sevennet-l3i5 dielectric --atoms --whiten 512 -o KNOWN``
``python -m benchmarks.components dielectric KNOWN 64 512``

The first principal components, put back into the potential's own numbers, each standardised, are pooled
(mean, deviation and maximum over the atoms) and read by the kernel head; data and splits are those of
``$TLZOO_DATA``. The fewest components that lose nothing are what a student has to learn.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from benchmarks.small_data import off, parts, summary
from tlzoo.crystals import Crystals
from tlzoo.data.atom_table import AtomTable
from tlzoo.transfer.features import estimators


def main() -> None:
    """Measure, and print what came of each number of components."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("table", type=Path, help="what the potential says of the data")
    parser.add_argument("components", type=int, nargs="+")
    parser.add_argument("--labels", nargs="+", default=["800"])
    args = parser.parse_args()
    crystals = Crystals.read_parquet(Path(os.environ["TLZOO_DATA"]) / f"{args.data}.parquet")
    target = next(iter(crystals.units))
    ids, y = [str(each) for each in crystals.ids], crystals.columns[target].astype(float)
    table = AtomTable.open(args.table)
    assert table.whitening is not None
    own = table.whitening.back.astype(np.float64)
    atoms = {
        str(name): one
        for shard in table.read()
        for name, one in zip(
            shard.ids, np.split(shard.features.astype(np.float64), shard.offsets[1:-1]), strict=True
        )
    }
    kind = estimators.find(estimators.SMALL_DATA)
    for count in args.components:
        each = (atoms[name][:, :count] @ own[:count] for name in ids)
        x = np.array([np.concatenate([a.mean(0), a.std(0), a.max(0)]) for a in each])
        for labels in args.labels:
            errors = []
            for train, test in parts(args.data, ids, labels, []):
                model = kind.fit(x[train], y[train], {}, 0, None, {}, [x.shape[1]])
                errors.append(off(model.predict(x[test], {}), y[test]))
            print(f"{count} components, {labels} labels: test MAE {summary(errors)}", flush=True)


if __name__ == "__main__":
    main()
