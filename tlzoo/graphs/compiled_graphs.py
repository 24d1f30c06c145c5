"""Neighbours and merged graphs by the functions of ``compiled_graphs.c``, where there is a C compiler.

They do what numpy does in :mod:`tlzoo.graphs.neighbours` and :mod:`tlzoo.graphs.merge`, one crystal after
another instead of many at once: what a crystal needs then stays in the nearest caches. The two agree to
rounding, which may put bonds of one length into another order.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.machine.compiled import compiled

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SOURCE: Final = Path(__file__).with_suffix(".c")

# Distances that are computed for a crystal; beyond, a search in boxes is faster than one of all pairs.
MOST: Final = 4e6
# Pairs of an atom that there is room for at first.
PAIRS: Final = 32
# Bounds of the keys by which atoms are sorted, and of the tables of places.
ATOMS: Final = 1 << 16
FINEST: Final = 1e-5


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled functions; None where they cannot be had."""
    found = compiled(SOURCE)
    if found is None:
        return None
    for function in (found.neighbours, found.merge):
        function.restype = ctypes.c_int64
    return found


def pairs(
    lattice: Floats,
    num_atoms: Ints,
    frac_coords: Floats,
    radius: Floats,
    *,
    neighbours: int = 0,
    tie: float = 0.0,
    farthest: float = 0.0,
    symmetric: bool = False,
) -> tuple[tuple[Ints, Ints, Floats, Floats], NDArray[np.bool_]]:
    """Return the bonds of crystals, by target, then length; without ``neighbours`` all pairs, in no order.

    Args:
        lattice: Row vectors, ``(crystals, 3, 3)``, Å.
        num_atoms: Atoms of each, ``(crystals,)``.
        frac_coords: Fractional coordinates, in the cell, ``(atoms, 3)``.
        radius: Where to look first, or of all pairs, ``(crystals,)``, Å.
        neighbours: Nearest neighbours of an atom.
        tie: As far beyond the last of these are others, Å.
        farthest: No farther than this, Å.
        symmetric: The reverse of a bond is a bond, too.

    Returns:
        Source, target, vector and length of each, and which crystals are left to other ways of searching.
    """
    left = np.ones(len(lattice), dtype=np.uint8)
    functions, room = library(), PAIRS * len(frac_coords) if len(lattice) else 0
    given = [
        np.ascontiguousarray(values, dtype)
        for values, dtype in ((num_atoms, np.int64), (lattice, float), (frac_coords, float), (radius, float))
    ]
    numbers = (
        ctypes.c_int64(neighbours), ctypes.c_double(tie), ctypes.c_double(farthest),
        ctypes.c_int64(symmetric), ctypes.c_double(MOST),
    )  # fmt: skip
    while True:
        found = np.empty(room, np.int64), np.empty(room, np.int64), np.empty((room, 3)), np.empty(room)
        count = 0
        if functions is not None and room:
            count = functions.neighbours(
                ctypes.c_int64(len(lattice)), *map(_pointer, given), *numbers,
                ctypes.c_int64(room), _pointer(left), *map(_pointer, found),
            )  # fmt: skip
        if count < 0:
            raise MemoryError
        if count <= room:
            source, target, vector, length = (values[:count].copy() for values in found)
            return (source, target, vector, length), left.astype(bool)
        room = count


def merged(
    numbers: NDArray[np.uint8],
    num_atoms: Ints,
    num_bonds: Ints,
    bonds: tuple[Ints, Ints, Floats, Floats],
    directions: Floats,
    tolerance: float,
    *,
    angles: int,
    itself: bool,
) -> tuple[NDArray[Any], ...] | None:
    """Return the fields of :class:`tlzoo.graphs.merge.Graphs`, or None where numpy is to make them.

    Args:
        numbers: Atomic numbers, ``(atoms,)``.
        num_atoms: Atoms of each crystal, ``(crystals,)``.
        num_bonds: Bonds of each crystal, ``(crystals,)``.
        bonds: Source, target, vector and length of each, by target.
        directions: Harmonics of the directions, ``(bonds, columns)``.
        tolerance: Lengths (Å) and cosines that differ by at most this are equal.
        angles: How many angles there are; 0 if none are wanted.
        itself: Whether a bond from an atom to its own image has an angle with itself.
    """
    functions = library()
    if functions is None or tolerance < FINEST or num_atoms.max(initial=0) >= ATOMS:
        return None
    atoms, edges, columns = len(numbers), len(bonds[0]), directions.shape[1]
    sizes = np.empty((len(num_atoms), 3), np.int64)
    number, atom_count, place = np.empty(atoms, np.uint8), np.empty(atoms, np.int64), np.empty(atoms, np.int64)
    source, target, bond_count = (np.empty(edges, np.int64) for _ in range(3))
    length, harmonics = np.empty(edges, np.float32), np.empty((edges, columns), np.float32)
    angle_source, angle_target, angle_count = (np.empty(angles, np.int64) for _ in range(3))
    cosine = np.empty(angles, np.float32)
    given = [
        np.ascontiguousarray(values, dtype)
        for values, dtype in (
            (num_atoms, np.int64), (num_bonds, np.int64), (numbers, np.uint8), (bonds[0], np.int64),
            (bonds[1], np.int64), (bonds[2], float), (bonds[3], float), (directions, float),
        )
    ]  # fmt: skip
    made = (
        sizes, number, atom_count, place, source, target, length, bond_count, harmonics,
        angle_source, angle_target, cosine, angle_count,
    )  # fmt: skip
    status = functions.merge(
        ctypes.c_int64(len(num_atoms)), *map(_pointer, given), ctypes.c_int64(columns), ctypes.c_double(tolerance),
        ctypes.c_int64(angles > 0), ctypes.c_int64(itself), *map(_pointer, made),
    )  # fmt: skip
    if status < 0:
        raise MemoryError
    if status:
        return None
    of_atoms, of_bonds, of_angles = (slice(size) for size in sizes.sum(0).tolist())
    return (
        *sizes.T, number[of_atoms], atom_count[of_atoms], source[of_bonds], target[of_bonds], length[of_bonds],
        bond_count[of_bonds], harmonics[of_bonds], angle_source[of_angles], angle_target[of_angles],
        cosine[of_angles], angle_count[of_angles], num_atoms, place,
    )  # fmt: skip


def _pointer(values: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)
