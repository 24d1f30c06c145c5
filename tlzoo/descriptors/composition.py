"""What the composition says of a crystal: statistics of the properties of its elements."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.descriptors.element_properties import elements
from tlzoo.graphs.neighbours import Cells

STATISTICS: Final = ("mean", "sum", "variance", "max", "min")

Values = NDArray[np.float64]


def names() -> list[str]:
    """Name the descriptors, for example ``mean_atomic_weight``: each statistic of all properties."""
    return [f"{statistic}_{name}" for statistic in STATISTICS for name in elements().names]


def composition(cells: Cells) -> Values:
    r"""Return five statistics of each property of the elements, ``(crystals, 290)``, in its units.

    With :math:`n_e` atoms of element e, of property :math:`p_e`, in the *reduced* formula, and fractions
    :math:`x_e = n_e / \sum n`: the mean :math:`\bar p = \sum x_e p_e`, the sum :math:`\sum n_e p_e`, the
    variance :math:`\sum x_e (p_e - \bar p)^2`, the largest and the smallest :math:`p_e`. They do not depend
    on the choice of the cell. All elements must be covered.
    """
    crystal = np.repeat(np.arange(len(cells.num_atoms)), cells.num_atoms)
    found, count = np.unique(crystal << 8 | cells.numbers, return_counts=True)
    crystal, number = found >> 8, found & 0xFF
    first = np.searchsorted(crystal, np.arange(len(cells.num_atoms)))
    if not len(first):
        return np.empty((0, len(names())))
    count //= np.gcd.reduceat(count, first)[crystal]
    fraction = (count / np.add.reduceat(count, first)[crystal])[:, None]
    values = elements().values[number]
    mean = np.add.reduceat(fraction * values, first)
    statistics = [
        mean,
        np.add.reduceat(count[:, None] * values, first),
        np.add.reduceat(fraction * np.square(values - mean[crystal]), first),
        np.maximum.reduceat(values, first),
        np.minimum.reduceat(values, first),
    ]
    return np.concatenate(statistics, axis=1)
