"""Nested cross-validation: whatever is chosen, scaled or fitted is so within the fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tlzoo.evaluation.crossval import deal
from tlzoo.transfer.features.estimators import Estimator, predict
from tlzoo.transfer.features.folds import folds_of

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

# Folds by which candidates are compared: with 5 of some dozen crystals, chance chose between the layers.
INNER: Final = 10


@dataclass(frozen=True)
class Candidate:
    """Features and a regression with its settings."""

    source: str
    layer: str
    settings: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """Crystals predicted by models that did not see them.

    Attributes:
        predictions: ``(repeats, crystals)``.
        deviations: Standard deviations of the same, NaN where the regression has none.
        folds: Fold in which a crystal was left out, ``(repeats, crystals)``.
        chosen: The candidate of each fold, repeat by repeat.
    """

    predictions: Values
    deviations: Values
    folds: Rows
    chosen: Sequence[Sequence[Candidate]]


def candidates(
    features: Mapping[tuple[str, str], Values], estimator: Estimator
) -> dict[str, list[Candidate]]:
    """Return what there is to choose among, by source."""
    found: dict[str, list[Candidate]] = {}
    for source, layer in features:
        found.setdefault(source, []).extend(
            Candidate(source, layer, tuple(settings.items())) for settings in estimator.grid
        )
    return found


def nested(
    features: Mapping[tuple[str, str], Values],
    target: Values,
    groups: Rows,
    estimator: Estimator,
    rows: Mapping[str, Sequence[Candidate]],
    *,
    cv: str,
    repeats: int = 1,
    most: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Outcome]:
    """Leave each fold out in turn; choose, scale and fit on the rest; predict what was left out.

    A candidate is chosen by its mean absolute error in a ten-fold cross-validation of the rest, with the
    same groups. All candidates see the same folds.

    Args:
        features: By source and layer, ``(crystals, dim)`` each.
        target: What is learned, ``(crystals,)``.
        groups: Label of each crystal, ``(crystals,)``; equal labels are never fitted and predicted at once.
        estimator: The regression.
        rows: For each result wanted the candidates it may choose among.
        cv: Outer folds, as of :func:`~tlzoo.transfer.features.folds.folds_of`.
        repeats: Number of times the outer folds are drawn anew.
        most: Learn from so many crystals of the rest at most, drawn anew for each fold; more of them include
            the fewer.
        seed: Seed of all draws.
        progress: Show a bar, on a terminal.

    Raises:
        UserError: There are too few groups.
    """
    size = len(target)
    predictions, deviations = ({name: np.empty((repeats, size)) for name in rows} for _ in range(2))
    folds = np.empty((repeats, size), dtype=np.int64)
    chosen: dict[str, list[list[Candidate]]] = {name: [[] for _ in range(repeats)] for name in rows}
    generator = np.random.default_rng(seed)
    work = []
    for repeat in range(repeats):
        folds[repeat] = folds_of(groups, cv, generator)
        work += [(repeat, fold) for fold in range(int(folds[repeat].max()) + 1)]
    hidden = None if progress else True
    for repeat, fold in tqdm(work, desc=estimator.name, unit="fold", disable=hidden):
        train, left = (np.flatnonzero(part) for part in (folds[repeat] != fold, folds[repeat] == fold))
        if most is not None:
            train = few(train, groups, most, np.random.default_rng([seed, repeat, fold]))
        learner = Learner(features, target, groups, estimator, seed + repeat, train)
        for name, choices in rows.items():
            best = learner.best(choices)
            chosen[name][repeat].append(best)
            predictions[name][repeat, left], deviations[name][repeat, left] = learner.predict(best, left)
    return {name: Outcome(predictions[name], deviations[name], folds, chosen[name]) for name in rows}


def few(rows: Rows, groups: Rows, most: int, generator: np.random.Generator) -> Rows:
    """Return so many of some crystals at most, group by group in random order.

    The generator, in the same state, gives fewer as the first of more.
    """
    labels, group = np.unique(groups[rows], return_inverse=True)
    place = generator.permutation(len(labels))[group.reshape(-1)]
    return np.sort(rows[np.argsort(place, kind="stable")[:most]])


def mean(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the mean of what several models predict; the deviation is that of their equal mixture."""
    predictions, deviations = mixture(
        np.stack([outcome.predictions for outcome in outcomes]),
        np.stack([outcome.deviations for outcome in outcomes]),
    )
    of_each = [[Candidate("each", "each")] * len(folds) for folds in outcomes[0].chosen]
    return Outcome(predictions, deviations, outcomes[0].folds, of_each)


def mixture(means: Values, deviations: Values) -> tuple[Values, Values]:
    """Return mean and standard deviation of the equal mixture of several models, which come first."""
    return means.mean(axis=0), np.sqrt(np.square(deviations).mean(axis=0) + means.var(axis=0))


class Learner:
    """What can be learned from some of the crystals, and nothing of the others.

    Arguments as of :func:`nested`; ``train`` are the crystals to learn from.
    """

    def __init__(
        self,
        features: Mapping[tuple[str, str], Values],
        target: Values,
        groups: Rows,
        estimator: Estimator,
        seed: int,
        train: Rows,
    ) -> None:
        self.features, self.target, self.groups = features, target, groups
        self.estimator, self.seed, self.train = estimator, seed, train
        self._errors: dict[Candidate, float] = {}

    def best(self, choices: Sequence[Candidate]) -> Candidate:
        """Return the candidate with the least error within the training part; of equal ones the first."""
        if len(choices) == 1:
            return choices[0]
        return min(choices, key=self.error)

    def error(self, candidate: Candidate) -> float:
        """Return the mean absolute error of a candidate, cross-validated within the training part."""
        if candidate not in self._errors:
            groups, errors = self.groups[self.train], []
            count = min(INNER, len(np.unique(groups)))
            fold = deal(groups, count, np.random.default_rng(self.seed))
            for part in range(count):
                train, left = self.train[fold != part], self.train[fold == part]
                errors.append(np.abs(self.predict(candidate, left, train)[0] - self.target[left]))
            self._errors[candidate] = float(np.concatenate(errors).mean())
        return self._errors[candidate]

    def predict(self, candidate: Candidate, left: Rows, train: Rows | None = None) -> tuple[Values, Values]:
        """Fit a candidate to the training part; return predictions of others and standard deviations."""
        train = self.train if train is None else train
        x = self.features[candidate.source, candidate.layer]
        model = self.estimator.fit(x[train], self.target[train], dict(candidate.settings), self.seed)
        return predict(model, x[left])
