"""Fingerprints of structures: crystals whose fingerprints are far from each other are not the same."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.graphs.neighbours import neighbour_list

Fingerprint = NDArray[np.float32]

NEAREST = 8

# The first sphere holds this many times the neighbours that are wanted, on average.
FIRST_SPHERE = 2.0


def fingerprint(crystals: Crystals, row: int) -> Fingerprint:
    r"""Return how far the neighbours of each element are in a crystal, on average.

    .. math::
        F_{ABk} = \frac{1}{|A|} \sum_{i \in A} d_{iBk} \Big/ (V/N)^{1/3}

    with :math:`d_{iBk}` the distance from atom i to its k-th nearest atom of element B. It depends on neither
    cell, origin, orientation, order of atoms nor scale, so that the lattice constants of experiment and of
    any functional give the same.

    Returns:
        ``(elements, elements, 8)``, elements in order of Z.
    """
    atoms = slice(crystals.offsets[row], crystals.offsets[row + 1])
    numbers, lattice, coords = crystals.numbers[atoms], crystals.lattice[row], crystals.frac_coords[atoms]
    elements, element = np.unique(numbers, return_inverse=True)
    lattice = lattice / (abs(np.linalg.det(lattice)) / len(numbers)) ** (1 / 3)
    rarest = np.bincount(element).min() / len(numbers)
    radius = (FIRST_SPHERE * NEAREST / rarest * 3 / (4 * math.pi)) ** (1 / 3)
    while True:
        search = neighbour_list()(cutoff=radius, full_list=True, n_threads=1)
        pair, length = search.compute(coords @ lattice, lattice, periodic=True, quantities="Pd")
        shell = pair[:, 0].astype(np.int64) * len(elements) + element[pair[:, 1]]
        count = np.bincount(shell, minlength=len(numbers) * len(elements))
        if count.min() >= NEAREST:
            break
        radius *= 1.25
    length = length[np.lexsort((length, shell))]
    nearest = length[(np.cumsum(count) - count)[:, None] + np.arange(NEAREST)]
    nearest = nearest.reshape(len(numbers), len(elements), NEAREST)
    return np.stack([nearest[element == a].mean(axis=0) for a in range(len(elements))]).astype(np.float32)
