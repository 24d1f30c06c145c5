"""Nested cross-validation: whatever is chosen, scaled or fitted is so within the fold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.evaluation.crossval import deal
from tlzoo.machine.progress import bar
from tlzoo.transfer.features.base import Bases
from tlzoo.transfer.features.estimators import Estimator, Fitted, find, mixture
from tlzoo.transfer.features.folds import folds_of
from tlzoo.transfer.features.kernels import parts
from tlzoo.transfer.features.stack import weights

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

# By source and layer, then by name, ``(crystals,)`` each.
AllBases = Mapping[tuple[str, str], Bases]
AllSizes = Mapping[tuple[str, str], Sequence[int]]

# Folds by which candidates are compared: with 5 of some dozen crystals, chance chose between the layers.
INNER: Final = 10


@dataclass(frozen=True)
class Candidate:
    """Features and a regression with its settings."""

    source: str
    layer: str
    settings: tuple[tuple[str, object], ...] = ()


EACH: Final = Candidate("each", "each")


@dataclass(frozen=True)
class Outcome:
    """Crystals predicted by models that did not see them.

    Attributes:
        predictions: ``(repeats, crystals)``.
        deviations: Standard deviations of the same, NaN where the regression has none.
        folds: Fold in which a crystal was left out, ``(repeats, crystals)``.
        chosen: The candidate of each fold, repeat by repeat.
        weights: Of a mixture what each model counts, on average over folds.
    """

    predictions: Values
    deviations: Values
    folds: Rows
    chosen: Sequence[Sequence[Candidate]]
    weights: Mapping[str, float] = field(default_factory=dict)


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
    bases: AllBases | None = None,
    sizes: AllSizes | None = None,
    stack: str = "",
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
        bases: What is nearly the target, by source and layer, then by name.
        sizes: How many features each of several sources side by side has, by source and layer.
        stack: What the mixture of one model for each source, weighted within the fold, is called among the
            results; by default there is none.

    Raises:
        UserError: There are too few groups.
    """
    size = len(target)
    names = [*rows, stack] if stack else list(rows)
    predictions, deviations = ({name: np.empty((repeats, size)) for name in names} for _ in range(2))
    folds = np.empty((repeats, size), dtype=np.int64)
    chosen: dict[str, list[list[Candidate]]] = {name: [[] for _ in range(repeats)] for name in names}
    sources = list(dict.fromkeys(source for source, _ in features))
    counted = []
    generator = np.random.default_rng(seed)
    work = []
    for repeat in range(repeats):
        folds[repeat] = folds_of(groups, cv, generator)
        work += [(repeat, fold) for fold in range(int(folds[repeat].max()) + 1)]
    for repeat, fold in bar(len(work), estimator.name, "fold", hidden=not progress, iterable=work):
        train, left = (np.flatnonzero(part) for part in (folds[repeat] != fold, folds[repeat] == fold))
        if most is not None:
            train = few(train, groups, most, np.random.default_rng([seed, repeat, fold]))
        learner = Learner(features, target, groups, estimator, seed + repeat, train, bases, sizes)
        for name, choices in rows.items():
            best = learner.best(choices)
            chosen[name][repeat].append(best)
            predictions[name][repeat, left], deviations[name][repeat, left] = learner.predict(best, left)
        if stack:
            models = [chosen[source][repeat][-1] for source in sources]
            counted.append(learner.weights(models))
            chosen[stack][repeat].append(EACH)
            told = learner.mixture(models, counted[-1], left)
            predictions[stack][repeat, left], deviations[stack][repeat, left] = told
    found = {name: Outcome(predictions[name], deviations[name], folds, chosen[name]) for name in names}
    if stack:
        mean_weights = np.mean(counted, axis=0).tolist()
        found[stack] = replace(found[stack], weights=dict(zip(sources, mean_weights, strict=True)))
    return found


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
    of_each = [[EACH] * len(folds) for folds in outcomes[0].chosen]
    return Outcome(predictions, deviations, outcomes[0].folds, of_each)


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
        bases: AllBases | None = None,
        sizes: AllSizes | None = None,
    ) -> None:
        self.features, self.target, self.groups = features, target, groups
        self.estimator, self.seed, self.train = estimator, seed, train
        self.bases, self.sizes = bases or {}, sizes or {}
        self._errors: dict[Candidate, float] = {}
        self._left_out: dict[Candidate, Values] = {}
        self._fitted: dict[Candidate, Fitted] = {}

    def best(self, choices: Sequence[Candidate]) -> Candidate:
        """Return the candidate with the least error within the training part; of equal ones the first."""
        if len(choices) == 1:
            return choices[0]
        return min(choices, key=self.error)

    def error(self, candidate: Candidate) -> float:
        """Return the mean absolute error of a candidate, cross-validated within the training part."""
        if candidate not in self._errors:
            if chooser := self.estimator.chooser:
                left_out = self._fit(candidate, self.train, find(chooser)).left_out
                assert left_out is not None
            else:
                left_out = self.left_out(candidate)
            self._errors[candidate] = float(np.abs(left_out - self.target[self.train]).mean())
        return self._errors[candidate]

    def left_out(self, candidate: Candidate) -> Values:
        """Return predictions of the training part by models that did not learn from a crystal's group."""
        if self.estimator.kernel or self.bases:
            found = self.fitted(candidate).left_out
            if found is not None:
                return found
        if candidate not in self._left_out:
            groups, found = self.groups[self.train], np.empty(len(self.train))
            count = min(INNER, len(np.unique(groups)))
            fold = deal(groups, count, np.random.default_rng(self.seed))
            for part in range(count):
                train, left = self.train[fold != part], self.train[fold == part]
                found[fold == part] = self._told(self._fit(candidate, train), candidate, left)[0]
            self._left_out[candidate] = found
        return self._left_out[candidate]

    def fitted(self, candidate: Candidate) -> Fitted:
        """Return the candidate, fitted to the training part."""
        if candidate not in self._fitted:
            self._fitted[candidate] = self._fit(candidate, self.train)
        return self._fitted[candidate]

    def predict(self, candidate: Candidate, left: Rows) -> tuple[Values, Values]:
        """Fit a candidate to the training part; return predictions of others and standard deviations."""
        return self._told(self.fitted(candidate), candidate, left)

    def weights(self, candidates: Sequence[Candidate]) -> Values:
        """Return what each of several candidates is to count, by the training part, ``(candidates,)``."""
        if len(candidates) == 1:
            return np.ones(1)
        left_out = np.stack([self.left_out(candidate) for candidate in candidates])
        return weights(left_out, self.target[self.train], parts(self.groups[self.train]))

    def mixture(self, candidates: Sequence[Candidate], weights: Values, left: Rows) -> tuple[Values, Values]:
        """Return predictions of others by a mixture of candidates, and standard deviations."""
        told = [self.predict(candidate, left) for candidate in candidates]
        value, deviation = (np.stack(each) for each in zip(*told, strict=True))
        return mixture(value, deviation, weights)

    def _fit(self, candidate: Candidate, train: Rows, estimator: Estimator | None = None) -> Fitted:
        return (estimator or self.estimator).fit(
            self.features[candidate.source, candidate.layer][train],
            self.target[train],
            dict(candidate.settings),
            self.seed,
            self.groups[train],
            self._bases(candidate, train),
            self.sizes.get((candidate.source, candidate.layer), ()),
        )

    def _told(self, model: Fitted, candidate: Candidate, left: Rows) -> tuple[Values, Values]:
        x = self.features[candidate.source, candidate.layer][left]
        return model.told(x, self._bases(candidate, left))

    def _bases(self, candidate: Candidate, rows: Rows) -> Bases:
        found = self.bases.get((candidate.source, candidate.layer), {})
        return {name: values[rows] for name, values in found.items()}
