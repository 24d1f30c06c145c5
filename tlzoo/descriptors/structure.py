r"""What the structure says of a crystal: densities, bonds, coordination, angles, radial distribution.

All numbers are averages or extremes over the atoms, and continuous in the positions, so they do not depend on
the choice of the cell, and no atom crosses a threshold by rounding.

The neighbours of an atom have weights that fall off smoothly, those of the effective coordination
number (R. Hoppe, Z. Kristallogr. 150, 23, 1979): with distances :math:`d_j` and the smallest
:math:`d_0`,

.. math::
    w_j = e^{1 - (d_j / \bar d)^6}, \quad
    \bar d = \frac{\sum_j d_j e^{1 - (d_j / d_0)^6}}{\sum_j e^{1 - (d_j / d_0)^6}}

Mean, standard deviation, minimum and maximum over the atoms are those of

========================= ===========================================================================
effective_coordination    :math:`\sum w_j`
coordination              :math:`\sum 1 / (1 + e^{-16 (4 (r + r_j) / 3 d_j - 1)})` with covalent radii r
                          (Grimme et al., J. Chem. Phys. 132, 154104, 2010)
nearest_distance          :math:`d_0`, Å
bond_length               mean of :math:`d_j` with weights :math:`w_j`, Å
bond_spread               standard deviation of :math:`d_j` with the same weights, over that mean
relative_bond_length      mean of :math:`d_j / (r + r_j)`
unlike_neighbours         weight of the neighbours of another element
electronegativity_step    mean of :math:`|\chi - \chi_j|` on Pauling's scale
angle_deviation           mean of :math:`(\cos\theta_{jk} + 1/3)^2` over pairs of neighbours: 0 for a
                          tetrahedron (after Chau & Hardwick, Mol. Phys. 93, 511, 1998)
order_4, order_6          :math:`\sqrt{\sum_{jk} w_j w_k P_l(\cos\theta_{jk})} / \sum w_j`
                          (Steinhardt, Nelson & Ronchetti, Phys. Rev. B 28, 784, 1983)
========================= ===========================================================================

``rdf_s`` is the radial distribution function at the distance s in cube roots of the volume per atom, averaged
with a triangle of half-width 0.1; it is 1 where atoms are as dense as on average.
"""

from __future__ import annotations

from math import factorial, pi
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.descriptors.element_properties import elements
from tlzoo.graphs.neighbours import Bonds, Cells

CUTOFF: Final = 8.0  # Å; an atom without a neighbour so near has no descriptors, as it has no graph
STEP: Final = 0.1
GRID: Final = tuple(round(0.4 + STEP * i, 1) for i in range(15))  # of the radial distribution
SPAN: Final = GRID[-1] + STEP  # where the last triangle ends: 29 neighbours on average

GLOBAL: Final = ("density", "volume_per_atom", "packing_fraction")
LOCAL: Final = (
    "effective_coordination",
    "coordination",
    "nearest_distance",
    "bond_length",
    "bond_spread",
    "relative_bond_length",
    "unlike_neighbours",
    "electronegativity_step",
    "angle_deviation",
    "order_4",
    "order_6",
)
STATISTICS: Final = ("mean", "std", "min", "max")

LEAST_WEIGHT: Final = 1e-6  # neighbours of less do not matter
DALTON: Final = 1.66053907  # g/cm³ of one u per Å³
# Part of all pairs of neighbours that is added to the different ones: an atom with one neighbour has none.
LONE: Final = 1e-3

Values = NDArray[np.float64]
Ints = NDArray[np.int64]


def names() -> list[str]:
    """Name the descriptors, for example ``mean_bond_length``."""
    local = [f"{statistic}_{name}" for statistic in STATISTICS for name in LOCAL]
    return [*GLOBAL, *local, *(f"rdf_{s:.1f}" for s in GRID)]


def structure(cells: Cells, pairs: Bonds) -> Values:
    """Return the descriptors of structures, ``(crystals, 62)``.

    Args:
        cells: Crystals of covered elements.
        pairs: All pairs of their atoms within ``SPAN`` or more, every atom having one.
    """
    if not len(cells.lattice):
        return np.empty((0, len(names())))
    volume = np.abs(np.linalg.det(cells.lattice)) / cells.num_atoms
    first = np.cumsum(cells.num_atoms) - cells.num_atoms
    local = _statistics(_local(cells.numbers, pairs), first, cells.num_atoms)
    return np.concatenate([_global(cells, volume, first), local, _radial(cells, volume, pairs)], axis=1)


def _global(cells: Cells, volume: Values, first: Ints) -> Values:
    table = elements()
    mass = np.add.reduceat(table.column("atomic_weight")[cells.numbers], first) / cells.num_atoms
    spheres = 4 / 3 * pi * np.power(_radii()[cells.numbers], 3)
    filled = np.add.reduceat(spheres, first) / cells.num_atoms / volume
    return np.stack([DALTON * mass / volume, volume, filled], axis=1)


def _local(numbers: NDArray[np.uint8], pairs: Bonds) -> Values:
    """Return what each atom sees of its neighbours, one row per name of ``LOCAL``, ``(11, atoms)``."""
    order = np.argsort(_small(pairs.target, len(numbers)), kind="stable")
    target, length = pairs.target[order], pairs.length[order]
    start = np.searchsorted(target, np.arange(len(numbers)))
    nearest = np.minimum.reduceat(length, start)
    weight = np.exp(1 - np.power(length / nearest[target], 6))
    typical = np.add.reduceat(weight * length, start) / np.add.reduceat(weight, start)
    weight = np.exp(1 - np.power(length / typical[target], 6))
    touching = _radii()[numbers[target]] + _radii()[numbers[pairs.source[order]]]
    touching /= length
    bonded = np.add.reduceat(1 / (1 + np.exp(-16 * (4 / 3 * touching - 1))), start)

    near = np.flatnonzero(weight > LEAST_WEIGHT)
    target, length, weight, order = target[near], length[near], weight[near], order[near]
    start = np.searchsorted(target, np.arange(len(numbers)))
    total = np.add.reduceat(weight, start)

    def mean(values: Values) -> Values:
        found: Values = np.add.reduceat(weight * values, start) / total
        return found

    centre, other = numbers[target], numbers[pairs.source[order]]
    negativity = elements().column("en_pauling")
    bond = mean(length)
    spread = np.sqrt(mean(np.square(length - bond[target]))) / bond
    towards = (pairs.vector[order] / length[:, None]).T
    return np.stack(
        [
            total,
            bonded,
            nearest,
            bond,
            spread,
            mean(1 / touching[near]),
            mean((centre != other).astype(np.float64)),
            mean(np.abs(negativity[centre] - negativity[other])),
            *_angular(towards, weight, total, start),
        ]
    )


def _angular(towards: Values, weight: Values, total: Values, start: Ints) -> list[Values]:
    r"""Return the deviation from a tetrahedron and the orientational orders of each atom.

    The sums over pairs of neighbours come from sums over neighbours:

    .. math::
        \sum_{jk} w_j w_k \cos^p\theta_{jk} =
        \sum_{a+b+c=p} \frac{p!}{a! \, b! \, c!} \Big(\sum_j w_j x_j^a y_j^b z_j^c\Big)^2

    Args:
        towards: Unit vectors to the neighbours, ``(3, neighbours)``.
        weight: Their weights, ``(neighbours,)``.
        total: Sum of the weights of each atom, ``(atoms,)``.
        start: First neighbour of each atom, ``(atoms,)``.
    """
    powers = [_powers(values, 6) for values in towards]
    moments = {}
    for p in (1, 2, 4, 6):
        moments[p] = np.zeros(len(total))
        for a in range(p + 1):
            part = weight * powers[0][a]
            for b in range(p + 1 - a):
                c = p - a - b
                moment = np.add.reduceat(part * powers[1][b] * powers[2][c], start)
                moments[p] += factorial(p) / (factorial(a) * factorial(b) * factorial(c)) * moment**2
    all_pairs, same = total**2, np.add.reduceat(np.square(weight), start)
    deviation = moments[2] + 2 / 3 * moments[1] + (all_pairs - 16 * same) / 9
    fourth = (35 * moments[4] - 30 * moments[2] + 3 * all_pairs) / 8
    sixth = (231 * moments[6] - 315 * moments[4] + 105 * moments[2] - 5 * all_pairs) / 16
    # rounding can leave a sum of squares a little below zero
    orders = [np.sqrt(np.maximum(values, 0)) / total for values in (fourth, sixth)]
    return [np.maximum(deviation, 0) / (all_pairs - same + LONE * all_pairs), *orders]


def _powers(values: Values, highest: int) -> list[Values]:
    powers = [np.ones_like(values)]
    for _ in range(highest):
        powers.append(powers[-1] * values)
    return powers


def _statistics(values: Values, first: Ints, count: Ints) -> Values:
    """Return mean, standard deviation, minimum and maximum over the atoms of each crystal, side by side.

    Args:
        values: ``(names, atoms)``.
        first: First atom of each crystal, ``(crystals,)``.
        count: Its atoms, ``(crystals,)``.
    """
    mean = np.add.reduceat(values, first, axis=1) / count
    variance = np.add.reduceat(np.square(values - np.repeat(mean, count, axis=1)), first, axis=1) / count
    low, high = (extreme.reduceat(values, first, axis=1) for extreme in (np.minimum, np.maximum))
    return np.concatenate([mean, np.sqrt(variance), low, high]).T


def _radial(cells: Cells, volume: Values, pairs: Bonds) -> Values:
    """Return the radial distribution function of each crystal on ``GRID``, ``(crystals, 15)``."""
    crystal = np.repeat(np.arange(len(volume)), cells.num_atoms)[pairs.target]
    place = (pairs.length / np.cbrt(volume)[crystal] - GRID[0]) / STEP
    # what is nearer than the first triangle counts there
    place = np.maximum(place, 0)
    inside = np.flatnonzero(place < len(GRID))
    place, crystal = place[inside], crystal[inside]
    below = place.astype(np.int64)
    share = place - below
    size = len(GRID) + 1
    cell = crystal * size + below
    total = np.bincount(cell, 1 - share, minlength=len(volume) * size)
    total += np.bincount(cell + 1, share, minlength=len(volume) * size + 1)[:-1]
    grid = np.array(GRID)
    uniform = 4 * pi * (STEP * grid**2 + STEP**3 / 6)
    found: Values = total.reshape(-1, size)[:, :-1] / cells.num_atoms[:, None] / uniform
    return found


def _radii() -> Values:
    """Return the covalent radii for single bonds, in Å, ``(elements + 1,)``."""
    return elements().column("covalent_radius_pyykko") / 100


def _small(values: Ints, end: int) -> NDArray[np.unsignedinteger]:
    """Return whole numbers below ``end`` in 16 bits if they fit: numpy sorts them ten times faster."""
    found: NDArray[np.unsignedinteger] = values.astype(np.uint16 if end <= 1 << 16 else np.uint64)
    return found
