"""How much evidence there is for labels that are linear in features."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# Where λ is looked for, relative to the largest squared singular value: log10 and the step of the grid.
LOWEST, HIGHEST, STEP = -12.0, 6.0, 0.25
# Each finer grid spans one step of the grid before to either side.
REFINEMENTS, POINTS = 4, 21
# Singular values below this part of the largest are rounding errors of constant or repeated features.
RANK_TOLERANCE = 1e-10
# An exact fit would have infinite evidence: no property is known to more digits.
LEAST_NOISE = 1e-12


def logme(features: Values, target: Values) -> float:
    r"""Return the maximum of the log evidence per crystal, LogME; larger is better.

    A linear model with weights :math:`w \sim N(0, \alpha^{-1} I)` and labels
    :math:`y \sim N(Fw, \beta^{-1} I)` has the evidence

    .. math::
        \ln p(y | F, \alpha, \beta) = \tfrac n2 \ln\beta + \tfrac d2 \ln\alpha - \tfrac n2 \ln 2\pi
            - \tfrac\beta2 \lVert Fm - y\rVert^2 - \tfrac\alpha2 m^T m - \tfrac12 \ln|A|,
        \quad A = \alpha I + \beta F^T F, \quad m = \beta A^{-1} F^T y

    LogME is its maximum over both precisions, divided by n. They iterate to it; here, with
    :math:`\lambda = \alpha/\beta` and the singular values :math:`s_k` of F, the best β of each λ is known,

    .. math::
        \beta^{-1} = \tfrac1n \, y^T (I + F F^T / \lambda)^{-1} y, \quad
        \ln p = -\tfrac n2 (\ln 2\pi\beta^{-1} + 1) - \tfrac12 \sum_k \ln(1 + s_k^2 / \lambda)

    so that one number is searched, on ever finer grids: the evidence can have several maxima.

    Features and target are divided by their standard deviation, so that the value has no unit, and constant
    features are left out. The model has no intercept, so both are centred, and n is the number of crystals
    less one: labels that sum to zero have that many degrees of freedom.

    Args:
        features: ``(crystals, features)``.
        target: ``(crystals,)``.

    Raises:
        ValueError: The target does not vary, or there are fewer than two crystals.

    References:
        You, Liu, Wang & Long, ICML 2021, arXiv:2102.11005.
    """
    if len(target) < 2 or np.ptp(target) == 0:
        raise ValueError(f"LogME needs at least two different labels, got {target[:2]}")
    count = len(target) - 1
    y = (target - target.mean()) / target.std(ddof=1)
    left, singular, _ = np.linalg.svd(_standardised(features), full_matrices=False)
    real = singular > RANK_TOLERANCE * max(singular.max(initial=0), 1)
    left, squares = left[:, real], np.square(singular[real])
    if not len(squares):
        return -(float(np.log(2 * np.pi)) + 1) / 2
    along = np.square(left.T @ y)
    across = max(float(y @ y - along.sum()), 0.0)

    def evidence(exponents: Values) -> Values:
        ratio = squares / (squares.max() * 10 ** exponents[:, None])
        noise = np.maximum((across + (along / (1 + ratio)).sum(axis=1)) / count, LEAST_NOISE)
        values: Values = -(np.log(2 * np.pi * noise) + 1) / 2 - np.log1p(ratio).sum(axis=1) / (2 * count)
        return values

    exponents, step = np.arange(LOWEST, HIGHEST + STEP, STEP), STEP
    for _ in range(REFINEMENTS):
        best = exponents[evidence(exponents).argmax()]
        exponents = np.linspace(best - step, best + step, POINTS)
        step = 2 * step / (POINTS - 1)
    return float(evidence(exponents).max())


def _standardised(features: Values) -> Values:
    centred = features - features.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > RANK_TOLERANCE * np.maximum(np.abs(features).max(axis=0), 1)
    scaled: Values = centred[:, varies] / spread[varies]
    return scaled
