"""What frozen features with a head for small data are off: trials of Devi et al. (2024), folds of Matbench.

``python -m benchmarks.small_data phonons --from sevennet-l3i5+descriptors+phonons:sevennet-0 --labels 800``
``python -m benchmarks.small_data phonons --from … --folds``
``python -m benchmarks.small_data expt_gap --from … --networks ensembles``

With ``--networks`` also the mean with fine-tuned networks of a study in ``results/studies``, which tests the
same crystals. Whole lists are learned from; everything is chosen by crystals left out within them; test
crystals are predicted once. Data and splits are those of ``$TLZOO_DATA``.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

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
Said = dict[int, float]


def networks(study: str, name: str, labels: str, ids: list[str]) -> list[Said]:
    """Return what fine-tuned networks together say of the test crystals, by row, for each trial."""
    file, _, source_ = study.partition(":")
    table = pd.read_parquet(STUDIES / f"{file}.parquet")
    table = table[(table.target == TARGETS.get(name, name)) & (table["size"].astype(str) == labels)]
    table = table[table.chosen.astype(bool)]
    table = table[table.source == source_ if source_ else table.start == "transfer"]
    place = {each: row for row, each in enumerate(ids)}
    return [
        {
            place[str(crystal)]: float(value)
            for crystal, value in zip(
                runs.crystals.iloc[0], np.mean(list(runs.predictions), axis=0), strict=True
            )
        }
        for _, runs in table.groupby("trial")
    ]


def summary(errors: list[float]) -> str:
    """Say mean and standard deviation over trials."""
    deviation = np.std(errors, ddof=1) if len(errors) > 1 else float("nan")
    return f"{np.mean(errors):.4g} ± {deviation:.2g} ({', '.join(f'{error:.4g}' for error in errors)})"


def parts(name: str, ids: list[str], labels: str, only: list[str]) -> Iterator[tuple[Rows, Rows]]:
    """Yield training and test rows of each trial, or of each fold of Matbench."""
    place = {each: row for row, each in enumerate(ids)}
    if labels == "folds":
        yield from MATBENCH.split(np.arange(len(ids)))
        return
    path = Path(os.environ["TLZOO_DATA"]) / "splits" / "devi2024.json"
    split = json.loads(path.read_text(encoding="utf-8"))[SPLITS.get(name, name)]
    trials = split.get("trials", {"1": {labels: split.get("train")}})
    for trial in (trials[number] for number in only or trials):
        yield tuple(np.array([place[str(each)] for each in some]) for some in (trial[labels], split["test"]))  # type: ignore[misc]


class Problem(NamedTuple):
    """Features and labels of the crystals that some trials speak of.

    Attributes:
        place: Where a crystal of the table is among them, -1 if it is not, ``(crystals,)``.
        x: Features, ``(some, features)``.
        y: Labels, ``(some,)``.
        bases: What is nearly the label, by name, ``(some,)``.
        sizes: Features of each source.
    """

    place: Rows
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    bases: dict[str, NDArray[np.float64]]
    sizes: list[int]


def read(crystals: Crystals, target: str, features: str, layer: str | None, rows: Rows) -> Problem:
    """Return features and labels of some crystals; those that have none are named and left out."""
    of = source(features)
    layer = layer or of.default
    of.check(layer)
    with suppress(NoGraphError):  # what is read and compiled once is not counted
        of.activations(crystals.select(rows[:1]), [layer])
    start = time.perf_counter()
    try:
        x = of.activations(crystals.select(rows), [layer])[layer]
    except NoGraphError as error:
        print(error)
        rows = np.delete(rows, error.rows)
        x = of.activations(crystals.select(rows), [layer])[layer]
    place = np.full(len(crystals), -1)
    place[rows] = np.arange(len(rows))
    x = x.astype(np.float64)
    bases = dict(near(of, layer, x, crystals.units[target]))
    took = time.perf_counter() - start
    print(
        f"{x.shape[1]} features of {len(rows)} crystals in {took:.1f} s, {len(rows) / took:.0f} a second; "
        f"bases: {', '.join(bases) or 'none'}"
    )
    return Problem(place, x, crystals.columns[target][rows].astype(np.float64), bases, of.sizes(layer))


def tell(problem: Problem, wanted: Sequence[tuple[Rows, Rows]], tuned: Sequence[Said], name: str) -> None:
    """Fit and test each trial, and print what came of it; ``tuned`` is what networks say in each."""
    frozen, left_out, alone, together = [], [], [], []
    start = time.perf_counter()
    for trial, both in enumerate(wanted):
        train, test = (problem.place[each][problem.place[each] >= 0] for each in both)
        some, others = ({key: b[rows] for key, b in problem.bases.items()} for rows in (train, test))
        kind = estimators.find(name)
        model = kind.fit(problem.x[train], problem.y[train], {}, 0, None, some, problem.sizes)
        told, truth = model.predict(problem.x[test], others), problem.y[test]
        frozen.append(off(told, truth))
        if model.left_out is not None:
            left_out.append(off(model.left_out, problem.y[train]))
        if tuned:
            said = np.array([tuned[trial][row] for row in both[1] if problem.place[row] >= 0])
            alone.append(off(said, truth))
            together.append(off((said + told) / 2, truth))
    each = (time.perf_counter() - start) / len(wanted)
    print(f"  test MAE {summary(frozen)}; left out {np.mean(left_out):.4g}; {each:.0f} s a fit")
    if tuned:
        print(f"  networks {summary(alone)}; mean of both {summary(together)}")


def off(told: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return the mean absolute error."""
    return float(np.abs(told - truth).mean())


def main() -> None:
    """Measure, and print what came of each number of labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--target")
    parser.add_argument("--from", dest="features", default="descriptors")
    parser.add_argument("--layer", help="of the models, or A+B; states+teacher by default, if they have it")
    parser.add_argument("--labels", nargs="+", default=["100", "800"])
    parser.add_argument("--trials", nargs="+", default=[], help="some of the five")
    parser.add_argument("--folds", action="store_true", help="the five folds of Matbench instead of trials")
    parser.add_argument("--networks", help="a study of fine-tuned networks, STUDY or STUDY:SOURCE")
    parser.add_argument("--estimator", default=estimators.SMALL_DATA)
    args = parser.parse_args()
    crystals = Crystals.read_parquet(Path(os.environ["TLZOO_DATA"]) / f"{args.data}.parquet")
    target = args.target or next(iter(crystals.units))
    ids = [str(each) for each in crystals.ids]
    asked = ["folds"] if args.folds else args.labels
    wanted = {row: list(parts(args.data, ids, row, args.trials)) for row in asked}
    rows = np.unique(np.concatenate([some for each in wanted.values() for both in each for some in both]))
    print(f"{args.data}, {target} ({crystals.units[target]}), {args.features}")
    problem = read(crystals, target, args.features, args.layer, rows)
    for labels, trials in wanted.items():
        print(labels)
        tuned = networks(args.networks, args.data, labels, ids) if args.networks and not args.trials else []
        tell(problem, trials, tuned, args.estimator)


if __name__ == "__main__":
    main()
