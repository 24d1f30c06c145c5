"""Which layer of a network does a regression on few crystals learn most from? No test crystal is looked at.

``python -m benchmarks.layers momentnet-u2 --layers states teacher states+teacher``

Of each data set of ``$TLZOO_DATA`` 400 crystals are drawn, none of those that the paper tests on; the kernel
head is fitted to them, and the error is that of crystals left out by composition. The last row is the
geometric mean over the data sets, relative to the first layer.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.small_data import SPLITS, off
from tlzoo.crystals import Crystals
from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.folds import groups_of
from tlzoo.transfer.features.layers import source

CRYSTALS: Final = 400
# Data set and property: what the paper does not test, then the training parts of what it does.
PROPERTIES: Final = (
    ("phonondb_p3", "log10_p3"),
    ("phonondb_p3", "fmax"),
    ("ju2021_sps_kappa", "sps"),
    ("aflow_agl", "kappa_agl_300K"),
    ("dielectric", "poly_total"),
    ("piezoelectric", "eij_max"),
    ("expt_gap", "expt_gap"),
    ("jarvis_2d", "band_gap_optb88"),
)


def drawn(name: str, target: str) -> tuple[Crystals, NDArray[np.float64]]:
    """Return crystals with a known property, none of those that the paper tests on, and the property."""
    folder = Path(os.environ["TLZOO_DATA"])
    crystals = Crystals.read_parquet(folder / f"{name}.parquet")
    splits = json.loads((folder / "splits" / "devi2024.json").read_text(encoding="utf-8"))
    tested = {str(each) for each in splits.get(SPLITS.get(name, name), {}).get("test", [])}
    y = crystals.columns[target].astype(np.float64)
    there = np.flatnonzero(~np.isnan(y) & ~np.isin(crystals.ids.astype(str), list(tested)))
    rows = np.sort(np.random.default_rng(0).permutation(there)[:CRYSTALS])
    return crystals.select(rows), np.log(y[rows]) if name == "aflow_agl" else y[rows]


def errors(network: str, layers: list[str], name: str, target: str) -> Iterator[float]:
    """Yield the error of crystals left out with each layer."""
    of, (crystals, y) = source(network), drawn(name, target)
    kind = estimators.find(estimators.SMALL_DATA)
    groups = groups_of(crystals, "composition")
    for layer, x in of.activations(crystals, layers).items():
        model = kind.fit(x.astype(np.float64), y, {}, 0, groups, {}, of.sizes(layer))
        assert model.left_out is not None
        yield off(model.left_out, y)


def main() -> None:
    """Compare, and print a row for each property."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network")
    parser.add_argument("--layers", nargs="+", default=["states", "teacher", "states+teacher"])
    args = parser.parse_args()
    print(f"{args.network}: {', '.join(args.layers)}")
    ratios = []
    for name, target in PROPERTIES:
        found = list(errors(args.network, args.layers, name, target))
        ratios.append(np.log(found) - np.log(found[0]))
        print(f"{name} {target}: {', '.join(f'{error:.4g}' for error in found)}", flush=True)
    print(f"relative: {', '.join(f'{ratio:.3f}' for ratio in np.exp(np.mean(ratios, axis=0)))}")


if __name__ == "__main__":
    main()
