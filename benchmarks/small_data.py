"""What frozen features with a head for small data are off: trials of Devi et al. (2024), folds of Matbench.

``python -m benchmarks.small_data phonons --from sevennet-l3i5+descriptors+phonons:sevennet-0 --labels 800``
``python -m benchmarks.small_data phonons --from … --folds``
``python -m benchmarks.small_data expt_gap --from … --networks ensembles``

With ``--networks`` also the mean with fine-tuned networks of a study in ``results/studies``, which tests the
same crystals. Whole lists are learned from; everything is chosen by crystals left out within them; test crystals are
predicted once. Data and splits are those of ``$TLZOO_DATA``.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from tlzoo.crystals import Crystals
from tlzoo.graphs.workers import NoGraphError
from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.layers import source
from tlzoo.transfer.features.learning import near

# Names of the splits that are not those of the data set.
SPLITS = {"mp": "mp_band_gap"}
# Matbench v0.1: shuffled, with its seed.
MATBENCH = KFold(5, shuffle=True, random_state=18012019)

STUDIES = Path(__file__).parent / "results" / "studies"
TARGETS = {"mp": "band_gap"}

Rows = NDArray[np.int64]


def networks(study: str, name: str, labels: str) -> list[dict[str, float]]:
    """Return what fine-tuned networks together say of the test crystals, by id, for each trial."""
    table = pd.read_parquet(STUDIES / f"{study}.parquet")
    table = table[(table.target == TARGETS.get(name, name)) & (table["size"].astype(str) == labels)]
    table = table[table.chosen & (table.start == "transfer")]
    return [
        dict(zip(runs.crystals.iloc[0], np.mean(list(runs.predictions), axis=0), strict=True))
        for _, runs in table.groupby("trial")
    ]


def summary(errors: list[float]) -> str:
    """Say mean and standard deviation over trials."""
    deviation = np.std(errors, ddof=1) if len(errors) > 1 else float("nan")
    return f"{np.mean(errors):.4g} ± {deviation:.2g} ({', '.join(f'{error:.4g}' for error in errors)})"


def parts(name: str, ids: list[str], labels: str) -> Iterator[tuple[Rows, Rows]]:
    """Yield training and test rows of each trial, or of each fold of Matbench."""
    place = {each: row for row, each in enumerate(ids)}
    if labels == "folds":
        yield from MATBENCH.split(np.arange(len(ids)))
        return
    path = Path(os.environ["TLZOO_DATA"]) / "splits" / "devi2024.json"
    split = json.loads(path.read_text(encoding="utf-8"))[SPLITS.get(name, name)]
    trials = split.get("trials", {"1": {labels: split.get("train")}})
    for trial in trials.values():
        yield tuple(np.array([place[str(each)] for each in some]) for some in (trial[labels], split["test"]))  # type: ignore[misc]


def main() -> None:
    """Measure, and print a row for each number of labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--target")
    parser.add_argument("--from", dest="features", default="descriptors")
    parser.add_argument("--labels", nargs="+", default=["100", "800"])
    parser.add_argument("--folds", action="store_true", help="the five folds of Matbench instead of trials")
    parser.add_argument("--networks", help="a study of fine-tuned networks on the same trials")
    parser.add_argument("--estimator", default=estimators.SMALL_DATA)
    args = parser.parse_args()
    crystals = Crystals.read_parquet(Path(os.environ["TLZOO_DATA"]) / f"{args.data}.parquet")
    target = args.target or next(iter(crystals.units))
    labels = ["folds"] if args.folds else args.labels
    ids = [str(each) for each in crystals.ids]
    wanted = {row: list(parts(args.data, ids, row)) for row in labels}
    rows = np.unique(np.concatenate([some for each in wanted.values() for both in each for some in both]))
    of = source(args.features)
    layer, start = of.default, time.perf_counter()
    try:
        x = of.activations(crystals.select(rows), [layer])[layer]
    except NoGraphError as error:
        print(error)
        rows = np.delete(rows, error.rows)
        x = of.activations(crystals.select(rows), [layer])[layer]
    place = np.full(len(crystals), -1)
    place[rows] = np.arange(len(rows))
    x, y = x.astype(np.float64), crystals.columns[target][rows].astype(np.float64)
    bases = near(of, layer, x, crystals.units[target])
    print(
        f"{args.data}, {target} ({crystals.units[target]}), {args.features}: {x.shape[1]} features of "
        f"{len(rows)} crystals in {time.perf_counter() - start:.0f} s; bases: {', '.join(bases) or 'none'}"
    )
    for row, both in wanted.items():
        frozen, left_out, start = [], [], time.perf_counter()
        tuned = networks(args.networks, args.data, row) if args.networks else []
        alone, together = [], []
        for trial, some in enumerate(both):
            train, test = (place[each][place[each] >= 0] for each in some)
            model = estimators.find(args.estimator).fit(
                x[train],
                y[train],
                {},
                0,
                None,
                {name: values[train] for name, values in bases.items()},
                of.sizes(layer),
            )
            told = model.predict(x[test], {name: values[test] for name, values in bases.items()})
            frozen.append(float(np.abs(told - y[test]).mean()))
            if model.left_out is not None:
                left_out.append(float(np.abs(model.left_out - y[train]).mean()))
            if tuned:
                said = np.array([tuned[trial][ids[each]] for each in rows[test]])
                alone.append(float(np.abs(said - y[test]).mean()))
                together.append(float(np.abs((said + told) / 2 - y[test]).mean()))
        each = (time.perf_counter() - start) / len(both)
        print(
            f"{row:>6} labels: test MAE {summary(frozen)}; left out {np.mean(left_out):.4g}; {each:.0f} s a fit"
        )
        if tuned:
            print(f"{'':>13} networks {summary(alone)}; mean of both {summary(together)}")


if __name__ == "__main__":
    main()
