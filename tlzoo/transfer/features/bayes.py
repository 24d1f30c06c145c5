"""Bayesian ridge regression for few crystals and many features."""

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

Values = NDArray[np.float64]

# Weak gamma priors of both precisions, as in scikit-learn: they only keep a perfect fit from diverging.
PRIOR: Final = 1e-6
MOST_STEPS: Final = 1000
TOLERANCE: Final = 1e-6  # relative change of the precisions
# Squares of singular values below this part of the largest are rounding.
RANK: Final = 1e-12


class BayesianRidge(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    r"""Ridge regression whose penalty maximises the evidence (MacKay, Neural Comput. 4, 415, 1992).

    With weights :math:`w \sim N(0, \lambda^{-1} I)`, labels :math:`y \sim N(Xw, \alpha^{-1} I)` and the
    singular values :math:`s_k` of the centred X,

    .. math::
        \gamma = \sum_k \frac{\alpha s_k^2}{\lambda + \alpha s_k^2}, \quad
        \lambda \leftarrow \frac{\gamma}{\lVert w \rVert^2}, \quad
        \alpha \leftarrow \frac{n - \gamma}{\lVert y - Xw \rVert^2}

    until both stand still. The model is scikit-learn's; after one decomposition a step costs
    n operations instead of n times the number of features, which for a few dozen crystals with hundreds of
    features is a hundred times faster.
    """

    def fit(self, x: Values, y: Values) -> Self:
        """Fit to features, ``(crystals, features)``, and labels, ``(crystals,)``."""
        self.centre_, self.intercept_ = x.mean(axis=0), float(y.mean())
        squares, self.axes_ = _axes(x - self.centre_)
        singular, centred = np.sqrt(squares), y - self.intercept_
        along = self.axes_ @ ((x - self.centre_).T @ centred) / singular
        across = max(float(centred @ centred - along @ along), 0.0)
        noise, weights = 1 / (float(y.var()) + PRIOR), 1.0
        for _ in range(MOST_STEPS):
            coefficients = singular * along / (squares + weights / noise)
            rest = across + float(np.square(along - singular * coefficients).sum())
            used = float((noise * squares / (weights + noise * squares)).sum())
            before = np.array([noise, weights])
            weights = (used + 2 * PRIOR) / (float(coefficients @ coefficients) + 2 * PRIOR)
            noise = (len(y) - used + 2 * PRIOR) / (rest + 2 * PRIOR)
            if np.abs(np.log(np.array([noise, weights]) / before)).max() < TOLERANCE:
                break
        self.alpha_, self.lambda_ = noise, weights
        coefficients = singular * along / (squares + weights / noise)
        self.coef_ = coefficients @ self.axes_
        self.variances_ = 1 / (weights + noise * squares)
        return self

    def predict(self, x: Values, *, return_std: bool = False) -> Values | tuple[Values, Values]:
        """Return predictions, and their standard deviations if asked for, noise included, ``(crystals,)``."""
        centred = x - self.centre_
        mean: Values = centred @ self.coef_ + self.intercept_
        if not return_std:
            return mean
        places = np.square(centred @ self.axes_.T)
        # directions in which no crystal was seen have the variance of the prior
        outside = np.maximum(np.square(centred).sum(axis=1) - places.sum(axis=1), 0)
        return mean, np.sqrt(1 / self.alpha_ + places @ self.variances_ + outside / self.lambda_)


def _axes(x: Values) -> tuple[Values, Values]:
    """Return the squares of the singular values, and the right singular vectors as rows.

    They come from the smaller of the two Gram matrices: ten times faster than the decomposition itself.
    """
    wide = x.shape[1] > x.shape[0]
    squares, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    real = squares > RANK * squares.max(initial=0)
    squares = squares[real]
    axes: Values = vectors[:, real].T
    return squares, (axes @ x) / np.sqrt(squares)[:, None] if wide else axes
