"""The primitive cell of a crystal, symmetric to the last digit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError

Values = NDArray[np.float64]

# Distances, in Å, within which atoms may be off their symmetric places; the first that works. 0.01 is what
# the Materials Project takes; a relaxation leaves no more.
TOLERANCES = (1e-2, 1e-3, 1e-4)
ROUNDING = 1e-5  # Å; of cells that are symmetric
# A larger change of the volume per atom than by this part is no rounding.
CHANGE = 0.01


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell of a crystal.

    Attributes:
        lattice: Row vectors a, b, c, ``(3, 3)``, Å.
        frac_coords: Fractional coordinates, ``(atoms, 3)``.
        numbers: Atomic numbers, ``(atoms,)`` uint8.
    """

    lattice: Values
    frac_coords: Values
    numbers: NDArray[np.uint8]

    @property
    def volume(self) -> float:
        """Volume of the cell, in Å³."""
        return float(abs(np.linalg.det(self.lattice)))


def primitive(cell: Cell) -> Cell:
    """Return the primitive cell of a crystal in an orientation of its own: reduced, made symmetric.

    Raises:
        UserError: No symmetry is found: two atoms are in one place, or the cell is flat.
    """
    import spglib

    given: Any = (cell.lattice, cell.frac_coords, cell.numbers)
    for tolerance in TOLERANCES:
        found: Any = spglib.standardize_cell(given, to_primitive=True, symprec=tolerance)
        if found is None:
            continue
        lattice, frac_coords, numbers = found
        reduced: Any = spglib.niggli_reduce(lattice, 1e-5)
        if reduced is None:
            reduced = lattice
        steps = np.rint(reduced @ np.linalg.inv(lattice))
        lattice, frac_coords = steps @ lattice, frac_coords @ np.linalg.inv(steps) % 1
        result = Cell(np.array(lattice), np.array(frac_coords), np.asarray(numbers, dtype=np.uint8))
        density = result.volume / len(result.numbers) * len(cell.numbers) / cell.volume
        if abs(density - 1) < CHANGE:
            return result
    raise UserError("spglib finds no symmetry: two atoms are in one place, or the cell is flat")


def symmetry(cell: Cell) -> tuple[NDArray[np.int64], Values]:
    """Return rotations, ``(operations, 3, 3)``, and shifts, ``(operations, 3)``, of a primitive cell.

    In fractional coordinates, as column vectors.
    """
    import spglib

    atoms: Any = (cell.lattice, cell.frac_coords, cell.numbers)
    found = spglib.get_symmetry(atoms, symprec=ROUNDING)
    if found is None:
        raise UserError("spglib finds no symmetry: two atoms are in one place, or the cell is flat")
    return found["rotations"].astype(np.int64), found["translations"]
