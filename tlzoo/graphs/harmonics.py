r"""Real spherical harmonics of degrees 1 to 3, and what of their sums no rotation changes.

The norm convention: :math:`\sum_m Y_{lm}(u)^2 = 1` for each degree l and unit vector u, so that
:math:`\sum_m Y_{lm}(u) Y_{lm}(v) = P_l(u \cdot v)`. Columns are x, y, z; then xy, yz, z², xz, x² − y²; then
y(3x² − y²), xyz, yz², z³, xz², z(x² − y²), x(x² − 3y²).
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HIGHEST = 3


def harmonics(unit: Floats, degree: int) -> Floats:
    """Return the harmonics of unit vectors, ``(vectors, (degree + 1)² − 1)``.

    Args:
        unit: Unit vectors, ``(vectors, 3)``.
        degree: Highest degree, 0 to 3.
    """
    x, y, z = unit.T
    columns = [x, y, z]
    if degree > 1:
        columns += [3**0.5 * x * y, 3**0.5 * y * z, z * z - (x * x + y * y) / 2, 3**0.5 * x * z]
        columns += [0.75**0.5 * (x * x - y * y)]
    if degree > 2:
        columns += [0.625**0.5 * y * (3 * x * x - y * y), 15**0.5 * x * y * z]
        columns += [0.375**0.5 * y * (5 * z * z - 1), z * (5 * z * z - 3) / 2]
        columns += [0.375**0.5 * x * (5 * z * z - 1), 3.75**0.5 * z * (x * x - y * y)]
        columns += [0.625**0.5 * x * (x * x - 3 * y * y)]
    return np.stack(columns, axis=1)[:, : size(degree)]


def size(degree: int) -> int:
    """Return the number of harmonics of degrees 1 to ``degree``."""
    return (degree + 1) ** 2 - 1


def invariants(moments: Floats) -> Floats:
    r"""Return :math:`|A_l|^2` of each degree and, from 2 on, :math:`A_1 A_2 A_1`, ``(atoms, invariants)``.

    The last is :math:`\sum_m Y_{2m}(A_1) A_{2m}`: the harmonics of the vector :math:`A_1` with :math:`A_2`.

    Args:
        moments: Sums of harmonics, ``(atoms, (degree + 1)² − 1)``.
    """
    degree = round((moments.shape[1] + 1) ** 0.5) - 1
    edges = pairwise(size(each) for each in range(degree + 1))
    found = [np.square(moments[:, first:stop]).sum(1) for first, stop in edges]
    if degree > 1:
        found.append((harmonics(moments[:, :3], 2)[:, 3:] * moments[:, 3:8]).sum(1))
    return np.stack(found, axis=1)
