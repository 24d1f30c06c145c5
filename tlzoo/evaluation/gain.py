"""Whether one model is better than another on the same crystals, and how sure that is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEVEL: Final = 0.95
RESAMPLES: Final = 10_000
# Four crystals have 35 different draws, fewer than the 40 that a tail of 2.5 % takes; five have 126.
LEAST: Final = 5
# Resamples drawn at a time, so that memory does not grow with their number.
CHUNK: Final = 500


@dataclass(frozen=True)
class Gain:
    """How much lower the mean absolute error of a model is than that of a reference, as a part of the latter.

    Attributes:
        value: 0.2 is an error one fifth lower; negative if the model is worse. NaN if the reference is exact.
        low: Lower end of the confidence interval; NaN if it cannot be told, as of fewer than five crystals.
        high: Its upper end.
    """

    value: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def gain(
    errors: Values, reference: Values, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Gain:
    r"""Return the gain of a model over a reference with its paired percentile-bootstrap interval.

    .. math::
        g = 1 - \frac{\sum_i |e_i|}{\sum_i |r_i|}

    with the errors e of the model and r of the reference on crystal i. The crystals are drawn with
    replacement, both errors of a crystal together, so that what is hard for both widens nothing
    (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    Args:
        errors: Absolute errors of the model, ``(crystals,)``.
        reference: Absolute errors of the reference on the same crystals in the same order, ``(crystals,)``.
        resamples: Number of draws.
        level: Probability that the interval covers.
        seed: Seed of the draws.

    Raises:
        ValueError: The errors are not of the same crystals, or of none.
    """
    if errors.shape != reference.shape or errors.ndim != 1 or not len(errors):
        raise ValueError(
            f"wanted the errors of the same crystals, got shapes {errors.shape} and {reference.shape}"
        )
    pairs = np.stack([errors, reference], axis=1)
    count = len(pairs)
    generator = np.random.default_rng(seed)
    shares = np.full(count, 1 / count)
    drawn = [
        generator.multinomial(count, shares, size=min(CHUNK, resamples - start)) @ pairs
        for start in range(0, resamples, CHUNK)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = 1 - np.divide(*np.concatenate(drawn).T)
        value = 1 - np.divide(*pairs.sum(axis=0))
    tail = 50 * (1 - level)
    if count < LEAST or np.isnan(value):
        ends = np.array([np.nan, np.nan])
    elif np.isfinite(values).all():
        ends = np.percentile(values, [tail, 100 - tail])
    else:
        # draws in which the reference makes no error: none has gained, or the model has lost without limit
        values = np.where(np.isnan(values), 0.0, values)
        ends = np.percentile(values, [tail, 100 - tail], method="inverted_cdf")
    return Gain(*(float(number) if np.isfinite(number) else np.nan for number in (value, *ends)))
