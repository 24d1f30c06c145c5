"""Which mixture of several models errs least (stacking: Breiman, Mach. Learn. 24, 49, 1996)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Values = NDArray[np.float64]
Rows = NDArray[np.int64]


def weights(left_out: Values, y: Values, folds: Sequence[Rows]) -> Values:
    """Return what each model counts, ``(models,)``; not negative, and 1 together.

    They are those of the least mean absolute error. If weights found without a fold err no less in it than
    the mean of the models does, all count the same: of few crystals weights say little.

    Args:
        left_out: Predictions of crystals that a model did not learn from, ``(models, crystals)``.
        y: Their property, ``(crystals,)``.
        folds: Crystals that are judged together.
    """
    equal = np.full(len(left_out), 1 / len(left_out))
    stacked = np.empty_like(y)
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(y)), fold)
        stacked[fold] = _least(left_out[:, rest], y[rest]) @ left_out[:, fold]
    better = np.abs(stacked - y).mean() < np.abs(equal @ left_out - y).mean()
    return _least(left_out, y) if better else equal


def _least(predictions: Values, y: Values) -> Values:
    """Return the weights of the least sum of absolute errors, a linear programme."""
    models, crystals = predictions.shape
    # over the weights w and the errors t: -t ≤ y - wP ≤ t
    unit = np.eye(crystals)
    sides = np.block([[predictions.T, -unit], [-predictions.T, -unit]])
    found = linprog(
        np.concatenate([np.zeros(models), np.ones(crystals)]),
        A_ub=sides,
        b_ub=np.concatenate([y, -y]),
        A_eq=np.concatenate([np.ones(models), np.zeros(crystals)])[None],
        b_eq=[1.0],
    )
    assert found.success, found.message
    some: Values = np.maximum(found.x[:models], 0)
    some /= some.sum()
    return some
