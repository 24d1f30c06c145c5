"""The smallest supercell that is wide enough and as symmetric as the crystal."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.physics.primitive import Cell

Values = NDArray[np.float64]
Matrix = NDArray[np.int64]

ROUNDING = 1e-3  # Å


def supercell(cell: Cell, rotations: Matrix, edge: float, most: int) -> Matrix | None:
    """Return vectors of the smallest supercell whose shortest lattice vector has at least a length.

    Its lattice is invariant under the rotations of the crystal: with less symmetry it would need more
    displacements, and its force constants would lack some of the crystal's.

    Args:
        cell: A primitive cell.
        rotations: Of the crystal, in fractional column vectors, ``(operations, 3, 3)``.
        edge: Å.
        most: Most primitive cells in it.

    Returns:
        Rows in units of the vectors of the primitive cell, ``(3, 3)``, reduced; None if it would be larger.
    """
    short = _shorter(cell.lattice, edge - ROUNDING)
    rotations = np.unique(rotations, axis=0).transpose(0, 2, 1)  # for row vectors
    for size in range(1, most + 1):
        # the densest packing of lattice points
        if size * cell.volume * 2**0.5 < (edge - ROUNDING) ** 3:
            continue
        candidates = _of_size(size)
        inverse = np.linalg.inv(candidates)
        inside = _whole(np.einsum("wi,sij->swj", short, inverse)).all(axis=2)
        good = ~inside.any(axis=1)
        candidates, inverse = candidates[good], inverse[good]
        for rotation in rotations:
            same = _whole(candidates @ rotation @ inverse).all(axis=(1, 2))
            candidates, inverse = candidates[same], inverse[same]
        if len(candidates):
            reduced = [_reduced(each, cell.lattice) for each in candidates]
            widths = [
                np.sort(np.linalg.norm(each @ cell.lattice, axis=1)).round(3).tolist() for each in reduced
            ]
            return reduced[widths.index(max(widths))]
    return None


def _of_size(size: int) -> Matrix:
    """Return all superlattices of so many cells, in Hermite's normal form, ``(lattices, 3, 3)``."""
    found = [
        [[a, b, c], [0, d, e], [0, 0, size // (a * d)]]
        for a in range(1, size + 1)
        if size % a == 0
        for d in range(1, size // a + 1)
        if size // a % d == 0
        for b, c, e in product(range(d), range(size // (a * d)), range(size // (a * d)))
    ]
    return np.array(found)


def _shorter(lattice: Values, length: float) -> Matrix:
    """Return all lattice vectors but 0 that are shorter, as whole numbers of a, b, c, ``(vectors, 3)``."""
    # distances of lattice planes say how far to count
    reach = np.floor(max(length, 0) * np.linalg.norm(np.linalg.inv(lattice), axis=0)).astype(int)
    steps = np.array(list(product(*(range(-n, n + 1) for n in reach))))
    norm = np.linalg.norm(steps @ lattice, axis=1)
    short: Matrix = steps[(norm < length) & (norm > 0)]
    return short


def _whole(values: Values) -> Any:  # noqa: ANN401 (an array; mypy takes it for a number)
    return np.abs(values - np.rint(values)) < 1e-6


def _reduced(matrix: Matrix, lattice: Values) -> Matrix:
    """Return the same superlattice by its shortest vectors."""
    import spglib

    found: Any = spglib.niggli_reduce(matrix @ lattice, 1e-5)
    reduced: Matrix = np.rint(found @ np.linalg.inv(lattice)).astype(np.int64)
    return reduced
