"""What is learned instead of a property: its logarithm, or what a base leaves of it.

A base is nearly the property: the result of a cheap calculation, say. To learn its error, or the ratio to
it, takes fewer labels than to learn the property (delta learning: Ramakrishnan et al., J. Chem. Theory
Comput. 11, 2087, 2015).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Bases = Mapping[str, Values]

# Logarithms are tried of what spans more than this: of less they are nearly linear.
DECADE: Final = 10.0
# The mean of two ways is taken if its error is not larger by more than this part: it varies less.
NEARLY: Final = 0.03


@dataclass(frozen=True)
class Way:
    """A quantity that is learned instead of the property y.

    Attributes:
        name: ``itself``; ``logarithm``, ln y; of a base b ``difference``, y - factor · b, or ``ratio``,
            ln(y / b).
        base: Name of the base.
        factor: Of the base that is subtracted.
        floor: Least value of the base of a ratio where it was learned; what is less counts as this.
    """

    name: str
    base: str = ""
    factor: float = 1.0
    floor: float = 0.0

    @classmethod
    def difference(cls, y: Values, base: str, values: Values) -> Self:
        """Return the difference to a base, with the factor that leaves the least squares."""
        centred = values - values.mean()
        size = float(centred @ centred)
        return cls("difference", base, float(centred @ y) / size if size else 1.0)

    def learned(self, y: Values, bases: Bases) -> Values:
        """Return what is learned of the property, ``(crystals,)`` both."""
        if self.name == "difference":
            return y - self.factor * bases[self.base]
        if self.name == "ratio":
            return np.log(y / self._divisor(bases))
        return np.log(y) if self.name == "logarithm" else y

    def property(self, z: Values, bases: Bases) -> Values:
        """Return the property of what was learned, ``(crystals,)`` both; of logarithms the median."""
        if self.name == "difference":
            return z + self.factor * bases[self.base]
        if self.name == "ratio":
            return np.exp(z) * self._divisor(bases)
        return np.exp(z) if self.name == "logarithm" else z

    def deviation(self, deviation: Values, value: Values) -> Values:
        """Return a deviation of the property at some values, of first order, ``(crystals,)`` all."""
        return deviation * value if self.name in {"logarithm", "ratio"} else deviation

    def _divisor(self, bases: Bases) -> Values:
        found: Values = np.maximum(bases[self.base], self.floor)
        return found


ITSELF: Final = Way("itself")


def ways(y: Values, bases: Bases, *, logarithm: bool) -> list[Way]:
    """Return what can be learned instead of a property, ``(crystals,)``.

    Of several bases it is the one whose ranks agree best with the property's. Its logarithm, if wanted, is
    there if all values are positive and span a decade.
    """
    found = [ITSELF]
    positive = bool((y > 0).all())
    if logarithm and positive and y.max() > DECADE * y.min():
        found.append(Way("logarithm"))
    varying = {name: values for name, values in bases.items() if np.ptp(values) > 0}
    if varying and np.ptp(y) > 0:
        base = max(varying, key=lambda name: abs(np.corrcoef(_ranks(varying[name]), _ranks(y))[0, 1]))
        values = varying[base]
        found.append(Way.difference(y, base, values))
        if positive and (values > 0).all():
            found.append(Way("ratio", base, floor=float(values.min())))
    return found


def best(y: Values, left_out: Mapping[Way, Values]) -> tuple[Way, ...]:
    """Return the way, or the two whose mean is taken, with the least error on crystals left out.

    Args:
        y: The property, ``(crystals,)``.
        left_out: By way what it says of each crystal without having learned from it, ``(crystals,)``.
    """
    alone: list[tuple[Way, ...]] = [(way,) for way in left_out]

    def error(some: tuple[Way, ...]) -> float:
        mean = np.mean([left_out[way] for way in some], axis=0)
        return float(np.abs(mean - y).mean()) * (1 - NEARLY * (len(some) - 1))

    return min([*alone, *combinations(left_out, 2)], key=error)


def _ranks(values: Values) -> Values:
    found: Values = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.float64)
    return found
