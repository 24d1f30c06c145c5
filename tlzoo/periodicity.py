"""Crystals that are periodic in two directions, or in one: layers and chains, each alone in a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Empty space between the images of a layer or of a chain, in Å. No cut-off reaches across it.
VACUUM = 20.0

# A cell with less, in Å³ (a periodic layer in Å², a periodic chain in Å), is no cell.
SMALLEST = 0.1


def set_apart(
    lattice: NDArray[np.float64], positions: NDArray[np.float64], pbc: Sequence[bool] | NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Return the cell of a layer or a chain that has no neighbours but itself, and a note that says so.

    A vector along which a crystal is not periodic tells at best how much vacuum somebody left. It is replaced
    by one across the periodic directions, so long that images are `VACUUM` apart; the atoms stay where they
    are to each other. What is periodic in three directions stays as it is.

    Args:
        lattice: Row vectors in Å, ``(3, 3)``; those that are not periodic may be zero.
        positions: Cartesian, in Å, ``(atoms, 3)``; not wrapped along what is not periodic.
        pbc: Which of the three directions are periodic.

    Returns:
        Row vectors in Å ``(3, 3)``, fractional coordinates ``(atoms, 3)``, and the note, empty if nothing was
        changed.

    Raises:
        ValueError: Nothing is periodic, the periodic vectors are not independent, or a number is not finite.
    """
    periodic = np.asarray(pbc, dtype=bool)
    if not (np.isfinite(lattice).all() and np.isfinite(positions).all()):
        raise ValueError("has a cell or coordinates that are not finite numbers")
    along = lattice[periodic]
    size = float(np.sqrt(max(np.linalg.det(along @ along.T), 0)))
    if not periodic.any() or size < SMALLEST:
        told = f"cell of {size:.3g} {('Å', 'Å²', 'Å³')[len(along) - 1]}, " if periodic.any() else ""
        raise ValueError(
            f"is not periodic ({told}pbc {' '.join('FT'[int(p)] for p in periodic)}); "
            "tlzoo knows periodic crystals only: "
            "give it a cell of three vectors and set pbc, or T T F for a layer in the plane of a and b"
        )
    if periodic.all():
        return lattice, fractional(lattice, positions), ""
    across = np.linalg.svd(along)[2][len(along) :]
    heights = positions @ across.T
    # the middle of a chain must not depend on how it is turned
    layer = len(across) == 1
    middle = (heights.min(axis=0) + heights.max(axis=0)) / 2 if layer else heights.mean(axis=0)
    period = 2 * np.linalg.norm(heights - middle, axis=1).max() + VACUUM
    cell = lattice.copy()
    cell[~periodic] = period * across
    frac_coords = fractional(cell, positions)
    frac_coords[:, ~periodic] = (heights - middle) / period + 0.5
    names = " and ".join(np.array(["a", "b", "c"])[periodic])
    what = "layers" if layer else "chains"
    note = f"is periodic in {names} only: {what} are set {VACUUM:g} Å apart; density and volume mean nothing"
    return cell, frac_coords, note


def fractional(lattice: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return fractional coordinates of Cartesian ones, ``(atoms, 3)``."""
    return np.linalg.solve(lattice.T, positions.T).T.astype(np.float64)
