"""Errors of a model fitted to parts of the crystals on the others, several times over."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

FOLDS: Final = 5

# From features and target of all crystals, rows to fit and rows to predict to predictions, as in
# tlzoo.evaluation.baselines.
Regressor = Callable[[Values, Values, Rows, Rows], Values]


def cross_validate(
    regressor: Regressor,
    features: Values,
    target: Values,
    groups: Rows,
    *,
    folds: int = FOLDS,
    repeats: int = 5,
    seed: int = 0,
) -> Values:
    """Return the absolute error of each crystal when it was left out, ``(repeats, crystals)``.

    Args:
        regressor: Sees the labels of the rows to fit only; anything it chooses or scales, it must choose and
            scale on those.
        features: ``(crystals, features)``.
        target: ``(crystals,)``.
        groups: Label of each crystal, ``(crystals,)``; equal labels are never fitted and predicted at once.
        folds: Number of parts.
        repeats: Number of times the parts are drawn anew; the same for the same seed.
        seed: Seed of the draws.

    Raises:
        UserError: There are fewer groups than folds.
    """
    generator = np.random.default_rng(seed)
    errors = np.empty((repeats, len(target)))
    for repeat in range(repeats):
        fold = deal(groups, folds, generator)
        for part in range(folds):
            train, rows = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
            errors[repeat, rows] = np.abs(regressor(features, target, train, rows) - target[rows])
    return errors


def deal(groups: Rows, folds: int, generator: np.random.Generator) -> Rows:
    """Draw a fold for each crystal, ``(crystals,)``: whole groups, none of the folds empty.

    Raises:
        UserError: There are fewer groups than folds.
    """
    labels, index = np.unique(groups, return_inverse=True)
    if len(labels) < folds:
        raise UserError(
            f"{folds}-fold cross-validation needs at least {folds} different crystals with a known target, "
            f"there are {len(labels)}; bring more data"
        )
    return (generator.permutation(len(labels)) % folds)[index.reshape(-1)]
