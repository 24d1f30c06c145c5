"""How much of a property can be read off the frozen embeddings of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import stdev
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.data.duplicates import duplicate_groups
from tlzoo.data.known_elements import symbols
from tlzoo.evaluation.baselines import composition_features, random_forest, ridge
from tlzoo.evaluation.crossval import FOLDS, cross_validate, deal
from tlzoo.evaluation.gain import Gain, gain
from tlzoo.model.activations import EMBEDDING
from tlzoo.model.answering import answered
from tlzoo.model.trained import Model, load
from tlzoo.transfer.finetune.experiment import in_unit
from tlzoo.transfer.recommend.logme import logme

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

LINEAR: Final = "ridge on the composition"
FOREST: Final = "random forest on the composition"
BASELINES: Final = (LINEAR, FOREST)


@dataclass(frozen=True)
class Score:
    """A model, or a baseline, on some crystals.

    Attributes:
        name: The model or one of ``BASELINES``.
        errors: Absolute error of each crystal when it was left out, in the unit of the target,
            ``(repeats, crystals)``.
        logme: Log evidence per crystal; None for a forest.
        unseen: Crystals with an element that the model never learned from; None for baselines and for
            models that do not say.
        answers: Mean absolute error of what the model itself predicts, by its targets in the same unit.
    """

    name: str
    errors: Values
    logme: float | None
    unseen: int | None
    answers: Mapping[str, float] = field(default_factory=dict)

    @property
    def mae(self) -> float:
        """Mean absolute error over crystals and repeats."""
        return float(self.errors.mean())

    @property
    def sd(self) -> float | None:
        """Standard deviation of the mean absolute error over the repeats; None if there is one."""
        return stdev(self.errors.mean(axis=1).tolist()) if len(self.errors) > 1 else None

    @property
    def nearest(self) -> float:
        """The least error of what the model itself predicts; infinite if it predicts nothing like it."""
        return min(self.answers.values(), default=inf)

    @property
    def answer(self) -> str | None:
        """The model's target that comes nearest, if as it is it is nearer than the regression; else None.

        Then the trained head is worth keeping (docs/findings.md).
        """
        if self.nearest >= self.mae:
            return None
        return min(self.answers, key=self.answers.__getitem__)

    def behind(self, first: "Score") -> Gain:
        """How much lower the error of another is, with its interval over the crystals."""
        return gain(first.errors.mean(axis=0), self.errors.mean(axis=0))


def rank(
    crystals: Crystals,
    target: Values,
    models: Sequence[str],
    *,
    unit: str = "",
    groups: Rows | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> list[Score]:
    """Score each model by ridge regression on its embeddings; the best first.

    The embeddings are standardised and the penalty is chosen on each training fold alone. All models see the
    same folds.

    Args:
        crystals: The crystals.
        target: Of each, all known, ``(crystals,)``.
        models: Names as :func:`tlzoo.load` takes them.
        unit: Of the target: what a model predicts in the same unit is compared with it; empty if unknown.
        groups: Label of each crystal, ``(crystals,)``; equal labels are in one fold. None: duplicates are.
        repeats: Number of five-fold cross-validations.
        seed: Seed of the folds.

    Raises:
        UserError: A model cannot be loaded or cannot read a crystal, or there are too few crystals.
        ValueError: All labels are equal.
    """
    groups = duplicate_groups(crystals) if groups is None else groups
    deal(groups, FOLDS, np.random.default_rng(seed))  # too few are refused before they are embedded
    scores = []
    loaded = [load(name) for name in models]
    for name, model, embedding in zip(models, loaded, embeddings(loaded, crystals), strict=True):
        features = embedding.astype(np.float64)
        errors = cross_validate(ridge, features, target, groups, repeats=repeats, seed=seed)
        answers = _answers(model, embedding, target, unit)
        scores.append(Score(name, errors, logme(features, target), _unseen(crystals, model.card), answers))
    return sorted(scores, key=lambda score: score.mae)


def baselines(
    crystals: Crystals, target: Values, *, groups: Rows | None = None, repeats: int = 5, seed: int = 0
) -> list[Score]:
    """Score what can be read off the composition alone, on the same folds as :func:`rank`.

    The forest is fitted to one draw of folds: it takes longer than all the rest.
    """
    groups = duplicate_groups(crystals) if groups is None else groups
    features = composition_features(crystals)
    forest = cross_validate(random_forest, features, target, groups, repeats=1, seed=seed)
    linear = cross_validate(ridge, features, target, groups, repeats=repeats, seed=seed)
    known = features[:, ~np.isnan(features).any(axis=0)]
    return [Score(LINEAR, linear, logme(known, target), None), Score(FOREST, forest, None, None)]


def embeddings(models: Sequence[Model], crystals: Crystals) -> list[NDArray[np.float32]]:
    """Return what each model says of crystals, ``(crystals, dim)``; graphs are made once for all."""
    options = list(dict.fromkeys(each for model in models for each in model.options))
    parts = answered(
        crystals, options, lambda stores: [model.read(stores, [EMBEDDING])[EMBEDDING] for model in models]
    )
    return [np.concatenate(of_model) for of_model in zip(*parts, strict=True)]


def _answers(model: Model, embedding: NDArray[np.float32], target: Values, unit: str) -> dict[str, float]:
    """Return the error of what the head says of the embeddings, by its targets in a unit."""
    kin = in_unit(model.card, unit)
    if not kin:
        return {}
    with torch.inference_mode():
        said = model.head.predict(model.head(torch.from_numpy(embedding)))
    columns = model.head.columns(model.card["targets"])
    return {
        name: float(np.abs(said[:, columns.index(name)].numpy() - target).mean())
        for name in kin
        if name in columns
    }


def _unseen(crystals: Crystals, card: Mapping[str, object]) -> int | None:
    elements = card.get("elements")
    if not isinstance(elements, list):
        return None
    strange = set(symbols(crystals)) - set(elements)
    if not strange:
        return 0
    numbers = [SYMBOLS.index(symbol) for symbol in strange]
    return int(np.logical_or.reduceat(np.isin(crystals.numbers, numbers), crystals.offsets[:-1]).sum())
