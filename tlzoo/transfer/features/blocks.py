"""How much each of several sources counts when their features stand side by side."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Values = NDArray[np.float64]

# Where the search starts: inverse squared lengths of all sources together; noise in parts of the variance.
LENGTH: Final = 0.3
NOISE: Final = 0.03
# A weak normal prior on the logarithms holds what the crystals say nothing of.
PRIOR: Final = 0.01
# Steps at most; the weights hardly change after 20.
STEPS: Final = 40
# Noise is at least this part of the variance: below, rounding decides.
LEAST: Final = 1e-5


def weights(x: Values, sizes: Sequence[int], y: Values) -> Values:
    r"""Return what to multiply features by, ``(features,)``, so that distances say most of a property.

    A Gaussian process whose kernel is :math:`\exp(-\sum_s w_s^2 \lVert x_s - x'_s \rVert^2)`, with a factor
    for each source s and noise, a constant mean and a variance; factors and noise have the largest
    restricted likelihood (automatic relevance determination of sources instead of features).

    Args:
        x: Standardised features, ``(crystals, features)``.
        sizes: Features of each source, which stand one after the other.
        y: The property, ``(crystals,)``.
    """
    if len(sizes) == 1:
        return np.ones(sizes[0])
    stops = np.cumsum(sizes)
    squares = []
    for start, stop in zip(stops - sizes, stops, strict=True):
        part = x[:, start:stop]
        sums = np.square(part).sum(axis=1)
        squares.append(
            np.maximum(sums[:, None] + sums - 2 * part @ part.T, 0) / max(int(part.any(axis=0).sum()), 1)
        )
    count, (size,) = len(squares), y.shape
    z = (y - y.mean()) / (y.std() or 1.0)
    stacked = np.stack(squares)

    def unlikely(logs: Values) -> tuple[float, Values]:
        factors, noise = np.exp(logs[:count]), np.exp(logs[count])
        kernel = np.exp(-np.tensordot(factors, stacked, axes=1))
        total = kernel + (noise + LEAST) * np.eye(size)
        lower = np.linalg.cholesky(total)
        inverse = np.linalg.inv(total)
        ones = inverse.sum(axis=1)
        whole = inverse - np.outer(ones, ones) / ones.sum()
        dual = whole @ z
        fit = float(z @ dual)
        value = (size - 1) * np.log(fit) + 2 * np.log(np.diag(lower)).sum() + np.log(ones.sum())
        # d value / d kernel
        slope = whole - (size - 1) / fit * np.outer(dual, dual)
        slopes = -factors * np.tensordot(stacked, slope * kernel, axes=2)
        gradient = np.append(slopes, noise * float(np.trace(slope)))
        return value / 2 + PRIOR * float(logs @ logs), gradient / 2 + 2 * PRIOR * logs

    start = np.log([*([LENGTH / count] * count), NOISE])
    bounds = [(np.log(1e-6), np.log(30.0))] * count + [(np.log(1e-6), np.log(10.0))]
    found = minimize(unlikely, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    factors = np.exp(found.x[:count])
    dims = [
        max(int(x[:, stop - size : stop].any(axis=0).sum()), 1)
        for size, stop in zip(sizes, stops, strict=True)
    ]
    return np.repeat(np.sqrt(factors / dims), sizes)
