"""Force constants of a crystal by finite displacements in a supercell, as few as its symmetry allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.descriptors.element_properties import elements
from tlzoo.errors import UserError
from tlzoo.physics.frames import Computation, Copy
from tlzoo.physics.primitive import Cell, primitive, symmetry
from tlzoo.physics.supercell import supercell

if TYPE_CHECKING:
    from phonopy import Phonopy

Values = NDArray[np.float64]
Matrix = NDArray[np.int64]

VERSION: Final = 1  # of all that numbers depend on here; a new one computes everything again

# Shortest edges of supercells, in Å, from the best to the cheapest: 0 is the primitive cell.
EDGES: Final = (6.0, 4.5, 0.0)
# Most atoms times displacements for these; of the rest the primitive cell is done, with one sign.
BOUND: Final = 1_500
# Most atoms times displacements at all: a quarter of an hour of CHGNet.
MOST: Final = 200_000

BOTH: Final = 0.03  # displacement in Å, with both signs where they differ by symmetry
# With one sign the error is of first order, so it is smaller; float32 still has four digits of the change.
SINGLE: Final = 0.01


def force_constants(given: Cell, cutoff: float) -> Computation:
    """Compute the force constants of a crystal: of its primitive cell to all atoms of a supercell.

    The supercell is the smallest symmetric one with lattice vectors of at least 6 Å, unless it and its
    displacements are more than 1,500 atoms: then of 4.5 Å, then the primitive cell itself.

    Returns:
        ``lattice``, ``frac_coords``, ``numbers`` of the primitive cell; ``supercell``, ``(3, 3)``: rows in
        units of its vectors; ``force_constants``, ``(atoms, supercell, 3, 3)`` float32, eV/Å², in the order
        of phonopy, without drift; ``edge``: shortest vector of the supercell, Å; ``single``: whether
        displacements had one sign; ``energy`` (eV), ``forces`` (eV/Å) and ``stress`` (GPa) of the
        primitive cell as it is.
    """
    cell = primitive(given)
    phonons, matrix, single = displacements(cell, EDGES, BOUND)
    large = phonons.supercell
    copy = Copy.of(Cell(large.cell, large.scaled_positions, large.numbers.astype(np.uint8)), cutoff)
    still, *moved = yield [
        copy,
        *(copy.displaced(each["number"], each["displacement"]) for each in first_atoms(phonons)),
    ]
    produce(phonons, [response.forces - still.forces for response in moved])
    return {
        "lattice": cell.lattice,
        "frac_coords": cell.frac_coords,
        "numbers": cell.numbers,
        "supercell": matrix,
        "force_constants": np.asarray(phonons.force_constants, dtype=np.float32),
        "edge": np.linalg.norm(matrix @ cell.lattice, axis=1).min(),
        "single": single,
        "energy": still.energy * len(cell.numbers) / len(large),
        "forces": still.forces[phonons.primitive.p2s_map],
        "stress": still.stress,
    }


def displacements(cell: Cell, edges: tuple[float, ...], bound: int) -> tuple[Phonopy, Matrix, bool]:
    """Return phonopy with displacements, its supercell, and whether displacements have one sign.

    Args:
        cell: A primitive cell.
        edges: Shortest vectors of supercells, in Å; the first whose cost is within the bound, or the last: 0,
            the cell itself.
        bound: Most atoms times displacements for displacements of both signs.

    Raises:
        UserError: There are too many even so.
    """
    rotations = symmetry(cell)[0]
    for edge in edges:
        most = max(bound // len(cell.numbers), 1)
        matrix = supercell(cell, rotations, edge, most) if edge else np.eye(3, dtype=np.int64)
        if matrix is None:
            continue
        phonons = phonopy_of(cell, matrix)
        phonons.generate_displacements(distance=BOTH)
        if cost(phonons) <= bound:
            return phonons, matrix, False
    phonons.generate_displacements(distance=SINGLE, is_plusminus=False)
    if cost(phonons) > MOST:
        raise UserError(
            f"{len(phonons.supercell)} atoms times {len(first_atoms(phonons))} displacements are more than "
            f"{MOST:,}; leave this crystal out"
        )
    return phonons, np.eye(3, dtype=np.int64), True


def phonopy_of(cell: Cell, matrix: Matrix) -> Phonopy:
    """Return phonopy for a primitive cell and the vectors of its supercell as rows, ``(3, 3)``.

    Raises:
        UserError: Phonopy is not installed.
    """
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise UserError(
            f"phonons need the package phonopy ({error}): pip install 'tlzoo[phonons]'"
        ) from error
    # phonopy has no mass of Pu, among others
    masses = elements().column("atomic_weight")[cell.numbers]
    atoms = PhonopyAtoms(
        cell=cell.lattice,
        scaled_positions=cell.frac_coords,
        numbers=cell.numbers.tolist(),
        masses=masses.tolist(),
    )
    return Phonopy(atoms, matrix.T, primitive_matrix=np.eye(3), log_level=0)


def produce(phonons: Phonopy, forces: list[Values]) -> None:
    """Make force constants of the forces on displaced copies, without drift and symmetric."""
    phonons.forces = np.array(forces)
    phonons.produce_force_constants(calculate_full_force_constants=False, show_drift=False)
    phonons.symmetrize_force_constants(level=3, show_drift=False)


def cost(phonons: Phonopy) -> int:
    """Return atoms times displacements."""
    return len(phonons.supercell) * len(first_atoms(phonons))


def first_atoms(phonons: Phonopy) -> list[dict[str, Any]]:
    """Return the displacements: of each the ``number`` of the atom and the ``displacement``, ``(3,)``, Å."""
    assert phonons.dataset is not None
    displaced: list[dict[str, Any]] = phonons.dataset["first_atoms"]
    return displaced
