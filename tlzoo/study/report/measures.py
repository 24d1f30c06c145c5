"""The numbers of a study's page: mean errors, gains over the baseline, published numbers beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import nan
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from tlzoo.evaluation.gain import gain
from tlzoo.study.axes import Condition, Label, Labels
from tlzoo.study.ensembles import ensembles, predictions
from tlzoo.study.gathering import column, results
from tlzoo.study.grid import Study
from tlzoo.study.report.literature import Published
from tlzoo.study.study_folder import Folder
from tlzoo.study.summary import summary

# Draws of the bootstrap; the ends of an interval of 95 % move by less than their width's fiftieth with more.
RESAMPLES: Final = 2_000
BASELINE: Final = "baseline"
NO_BASELINE: Final = "no run of the baseline yet"
NO_PREDICTIONS: Final = "no interval: predictions are missing"
OTHER_CRYSTALS: Final = "no gain: the baseline was tested on other crystals"

if TYPE_CHECKING:
    Errors = pd.Series[float]
Key = tuple[Any, ...]
Row = Mapping[str, Any]
# Columns that the page adds to the summary.
MORE: Final = (
    *("gain", "gain_low", "gain_high", "pairs", "better"),
    *("published_mae", "published_sd", "published_gain"),
)


@dataclass(frozen=True)
class Measures:
    """What the page tells.

    Attributes:
        table: :func:`tlzoo.study.summary.summary`, with ``gain``, ``gain_low``, ``gain_high`` (parts of the
            baseline's error), ``pairs`` of runs compared, ``better`` (pairs in which the baseline has the
            larger error), ``note`` (why there is no gain), and ``published_mae``, ``published_sd``,
            ``published_gain``.
        runs: The runs in it, or the ensembles, one a row.
        every: All runs with a result, those included that tuning did not choose.
        published: The reference table, if there is one.
    """

    study: Study
    table: pd.DataFrame
    runs: pd.DataFrame
    every: pd.DataFrame
    published: Published | None

    @property
    def kept(self) -> tuple[str, ...]:
        """The axes that it shows."""
        return self.study.kept

    def key(self, row: Row) -> Key:
        """Return a row's values on the axes."""
        return tuple(row[name] for name in self.kept)

    def baseline_key(self, row: Row) -> Key:
        """Return the values on the axes of the baseline of a row."""
        baseline = self.study.report.baseline
        return tuple(
            column(self.study.axes[name], baseline[name]) if name in baseline else row[name]
            for name in self.kept
        )

    def labels(self, key: Key) -> Labels:
        """Return values on the axes as the study has them."""
        found = {}
        for name, value in zip(self.kept, key, strict=True):
            axis = self.study.axes[name]
            found[name] = next(each for each in axis.values if column(axis, each) == value)
        return found

    def is_baseline(self, row: Row) -> bool:
        """Whether a row is the baseline of others."""
        return bool(self.study.report.baseline) and self.baseline_key(row) == self.key(row)

    @property
    def harm(self) -> str:
        """What a gain below zero is called: it is transfer that harms only where the baseline has none."""
        return "negative transfer" if "scratch" in self.study.report.baseline.values() else "worse"

    def values(self, name: str) -> list[Label]:
        """Return the values of an axis as columns have them, in the study's order."""
        return [column(self.study.axes[name], value) for value in self.study.axes[name].values]

    @cached_property
    def _by_key(self) -> dict[Key, Row]:
        return {self.key(row): row for row in rows(self.table)}

    def baseline(self, row: Row) -> Row | None:
        """Return the baseline of a row, if it is there."""
        return self._by_key.get(self.baseline_key(row)) if self.study.report.baseline else None

    def meant(self, only: Condition) -> pd.DataFrame:
        """Return the rows that have these values."""
        return filtered(self.study, self.table, only)


def measure(study: Study, folder: Folder, only: Condition, *, resamples: int = RESAMPLES) -> Measures:
    """Return the numbers of a study.

    Gains over baselines that are not among the runs meant are told all the same.

    Raises:
        UserError: The reference table is wrong.
    """
    reference = study.report.reference
    published = None if reference is None else Published.find(reference, study.path.parent)
    every = results(study, folder)
    there = ensembles(study, folder, every)
    table = summary(study, there)
    numbers = Measures(study, table, there, every, published)
    if study.kept:
        table = _with_gains(numbers, folder, resamples)
    return replace(
        numbers, table=table, runs=filtered(study, there, only), every=filtered(study, every, only)
    )


def _with_gains(numbers: Measures, folder: Folder, resamples: int) -> pd.DataFrame:
    """Return the table with the gain of each row, and what is published."""
    runs = {tuple(key): several for key, several in numbers.runs.groupby(list(numbers.kept), sort=False)}

    @cache
    def errors(name: str) -> "Errors | None":
        if (read := predictions(folder, name)) is None:
            return None
        read = read.dropna(subset="target")
        return (read["prediction"] - read["target"]).abs()

    more = []
    for row in rows(numbers.table):
        key, other = numbers.key(row), numbers.baseline_key(row)
        facts = _published(numbers, key, other, str(row["unit"]))
        if numbers.is_baseline(row):
            facts["note"] = BASELINE
        elif numbers.study.report.baseline:
            pairs = _pairs(runs[key], runs[other], numbers.study.average) if other in runs else None
            facts |= {"note": NO_BASELINE} if pairs is None else compared(pairs, errors, resamples)
        more.append(facts)
    extra = pd.DataFrame(more, columns=[*MORE, "note"], index=numbers.table.index)
    extra[list(MORE)] = extra[list(MORE)].astype("float64")
    extra["note"] = extra["note"].fillna("").astype(str)
    return pd.concat([numbers.table, extra], axis=1)


def compared(
    pairs: pd.DataFrame, errors: "Callable[[str], Errors | None]", resamples: int
) -> dict[str, object]:
    """Return the gain of runs over those of the baseline of the same trial.

    The errors of a crystal in all trials are added up before crystals are drawn: what is drawn are crystals,
    as the trials' test parts share them.

    Args:
        pairs: A pair of runs a row: ``id``, ``test_mae``, ``n_test``, the same with ``_baseline``.
        errors: Gives the absolute test errors of a run, by id of the crystal; None if they are lost.
        resamples: Draws of the bootstrap.
    """
    found: dict[str, object] = {
        "pairs": len(pairs),
        "better": int((pairs["test_mae"] < pairs["test_mae_baseline"]).sum()),
    }
    if pairs.empty:
        return {**found, "note": NO_BASELINE}
    read = [
        (errors(one), errors(other)) for one, other in zip(pairs["id"], pairs["id_baseline"], strict=True)
    ]
    both = [(one, other) for one, other in read if one is not None and other is not None]
    if len(both) < len(pairs):
        sums = [(pairs[f"test_mae{who}"] * pairs[f"n_test{who}"]).sum() for who in ("", "_baseline")]
        return {**found, "gain": 1 - sums[0] / sums[1] if sums[1] > 0 else nan, "note": NO_PREDICTIONS}
    if any(not one.index.equals(other.index) for one, other in both):
        return {**found, "note": OTHER_CRYSTALS}
    _, crystals = np.unique(np.concatenate([one.index for one, _ in both]), return_inverse=True)
    # bincount keeps NaN: a run that predicts none has no gain
    ours, theirs = (
        np.bincount(crystals, np.concatenate(several)).astype(np.float64)
        for several in zip(*both, strict=True)
    )
    told = gain(ours, theirs, resamples=resamples)
    return {**found, "gain": told.value, "gain_low": told.low, "gain_high": told.high}


def _pairs(runs: pd.DataFrame, baseline: pd.DataFrame, average: Sequence[str]) -> pd.DataFrame:
    names = ["id", "test_mae", "n_test", *average]
    how: dict[str, Any] = {"on": list(average)} if average else {"how": "cross"}
    return runs[names].merge(baseline[names], suffixes=("", "_baseline"), **how)


def _published(numbers: Measures, key: Key, other: Key, unit: str) -> dict[str, object]:
    """Return what is published of a row; an error in another unit is none."""
    if numbers.published is None:
        return {}
    mean, spread, theirs = numbers.published.error(numbers.labels(key))
    found: dict[str, object] = {}
    if (theirs or "1") == (unit or "1"):
        found |= {"published_mae": mean, "published_sd": spread}
    if other != key and (baseline := numbers.published.error(numbers.labels(other))[0]) > 0:
        found["published_gain"] = 1 - mean / baseline
    return found


def rows(table: pd.DataFrame) -> list[Row]:
    """Return the rows of a table, each by the names of its columns."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def filtered(study: Study, table: pd.DataFrame, only: Condition) -> pd.DataFrame:
    """Return the rows that have these values."""
    for name, values in only.items():
        if name in table.columns:
            table = table[table[name].isin([column(study.axes[name], value) for value in values])]
    return table
