"""How stress and forces of a crystal answer to strain, from as few strains as its symmetry allows."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.physics.force_constants import displacements, first_atoms, produce
from tlzoo.physics.frames import Computation, Copy
from tlzoo.physics.primitive import Cell, primitive, symmetry

Values = NDArray[np.float64]

VERSION: Final = 1  # of all that numbers depend on here; a new one computes everything again

STRAIN: Final = 0.005  # of both signs; the error is of second order
BOUND: Final = 1_000  # most atoms times displacements of both signs; beyond, of one sign

# Voigt's order.
PAIRS: Final = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def strain_response(given: Cell, cutoff: float) -> Computation:
    """Compute what elastic constants are made of, with clamped ions and of what these do when released.

    Returns:
        ``lattice``, ``frac_coords``, ``numbers`` of the primitive cell; ``stiffness``, ``(6, 6)``, GPa:
        change of the stress with clamped ions, by the engineering strain of Voigt; ``pull``,
        ``(atoms, 3, 6)``, eV/Å: change of the forces; ``force_constants``, ``(atoms, atoms, 3, 3)``, eV/Å²,
        of the primitive cell repeated; ``single``: whether its displacements had one sign; ``energy``
        (eV), ``forces`` (eV/Å) and ``stress`` (GPa) of the cell as it is.
    """
    cell = primitive(given)
    phonons, _, single = displacements(cell, (0.0,), BOUND)
    copy = Copy.of(cell, cutoff)
    rotations, places = operations(cell)
    strains = needed(rotations)
    both = [sign * STRAIN * tensor(strain) for strain in strains for sign in (1, -1)]
    moved = first_atoms(phonons)
    still, *answers = yield [
        copy,
        *(copy.strained(strain) for strain in both),
        *(copy.displaced(each["number"], each["displacement"]) for each in moved),
    ]
    strained, displaced = answers[: len(both)], answers[len(both) :]
    produce(phonons, [response.forces - still.forces for response in displaced])
    slopes = [(up, down) for up, down in zip(strained[::2], strained[1::2], strict=True)]
    stress = np.array([(up.stress - down.stress) / (2 * STRAIN) for up, down in slopes])
    forces = np.array([(up.forces - down.forces) / (2 * STRAIN) for up, down in slopes])
    stiffness, pull = derivative(strains, stress, forces, rotations, places)
    return {
        "lattice": cell.lattice,
        "frac_coords": cell.frac_coords,
        "numbers": cell.numbers,
        "stiffness": stiffness,
        "pull": pull,
        "force_constants": np.asarray(phonons.force_constants, dtype=np.float32),
        "single": single,
        "energy": still.energy,
        "forces": still.forces,
        "stress": still.stress,
    }


def tensor(strain: Values) -> Values:
    """Return engineering strains of Voigt, ``(6,)``, as a tensor, ``(3, 3)``."""
    xx, yy, zz, yz, xz, xy = strain
    return np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])


def voigt(strains: Values) -> Values:
    """Return tensors of strain, ``(…, 3, 3)``, as engineering strains of Voigt, ``(…, 6)``."""
    return np.stack([strains[..., i, j] * (1 if i == j else 2) for i, j in PAIRS], axis=-1)


def operations(cell: Cell) -> tuple[Values, NDArray[np.int64]]:
    """Return the symmetry of a primitive cell: rotations, ``(operations, 3, 3)``, and where each atom goes.

    Rotations act on Cartesian column vectors; places are ``(operations, atoms)``.
    """
    rotations, places = [], []
    axes = cell.lattice.T
    for rotation, shift in zip(*symmetry(cell), strict=True):
        image = cell.frac_coords @ rotation.T + shift
        apart = image[:, None] - cell.frac_coords
        apart -= np.rint(apart)
        places.append(np.linalg.norm(apart @ cell.lattice, axis=2).argmin(axis=1))
        rotations.append(axes @ rotation @ np.linalg.inv(axes))
    return np.array(rotations), np.array(places)


def needed(rotations: Values) -> Values:
    """Return the fewest of the six strains, ``(strains, 6)``, whose images under rotations span all."""
    chosen: list[Values] = []
    rank = 0
    for strain in np.eye(6):
        images = np.concatenate([_images(each, rotations) for each in (*chosen, strain)])
        if (new := int(np.linalg.matrix_rank(images, tol=1e-3))) > rank:
            chosen, rank = [*chosen, strain], new
    return np.array(chosen)


def derivative(
    strains: Values, stress: Values, forces: Values, rotations: Values, places: NDArray[np.int64]
) -> tuple[Values, Values]:
    """Return derivatives of stress, ``(6, 6)``, and forces, ``(atoms, 3, 6)``, from some and their images.

    Args:
        strains: Those that were tried, ``(strains, 6)``.
        stress: Derivative along each, ``(strains, 3, 3)``.
        forces: The same, ``(strains, atoms, 3)``.
        rotations: Symmetry, ``(operations, 3, 3)``.
        places: Where it takes the atoms, ``(operations, atoms)``.
    """
    tried = np.concatenate([_images(strain, rotations) for strain in strains])
    turned = np.einsum("oij,sjk,olk->soil", rotations, stress, rotations)
    answers = np.stack([turned[..., i, j] for i, j in PAIRS], axis=-1).reshape(len(tried), 6)
    moved = np.empty((len(strains), *places.shape, 3))
    for number, (rotation, place) in enumerate(zip(rotations, places, strict=True)):
        moved[:, number, place] = forces @ rotation.T
    inverse = np.linalg.pinv(tried)
    stiffness = (inverse @ answers).T
    pull = np.einsum("vt,tax->axv", inverse, moved.reshape(len(tried), *moved.shape[2:]))
    return stiffness, pull


def _images(strain: Values, rotations: Values) -> Values:
    return voigt(rotations @ tensor(strain) @ rotations.transpose(0, 2, 1))
