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
# Angles at a time, to bound the memory, of which what is not written is not taken.
BLOCK: Final = 1 << 21
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
    counts = np.ascontiguousarray(num_atoms, np.int64)
    # nothing checks shapes but this
    shapes = ((len(counts), 3, 3), (int(counts.sum()), 3), (len(counts),))
    given = [
        np.ascontiguousarray(values, float).reshape(shape)
        for values, shape in zip((lattice, frac_coords, radius), shapes, strict=True)
    ]
    limits = (
        ctypes.c_int64(neighbours),
        ctypes.c_double(tie),
        ctypes.c_double(farthest),
        ctypes.c_int64(symmetric),
        ctypes.c_double(MOST),
    )
    while True:
        source, target = np.empty((2, room), np.int64)
        vector, length = np.empty((room, 3)), np.empty(room)
        found = 0
        if functions is not None and room:
            pointers = _pointers(counts, *given), _pointers(left, source, target, vector, length)
            found = functions.neighbours(
                ctypes.c_int64(len(lattice)), *pointers[0], *limits, ctypes.c_int64(room), *pointers[1]
            )
        if found < 0:
            raise MemoryError
        if found <= room:
            kept = source[:found].copy(), target[:found].copy(), vector[:found].copy(), length[:found].copy()
            return kept, left.astype(bool)
        room = found


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
        num_atoms: Atoms of each crystal, ``(crystals,)`` int64.
        num_bonds: Bonds of each crystal, ``(crystals,)`` int64.
        bonds: Source, target, vector and length of each, by target.
        directions: Harmonics of the directions, ``(bonds, columns)``.
        tolerance: Lengths (Å) and cosines that differ by at most this are equal.
        angles: How many angles there are; 0 if none are wanted.
        itself: Whether a bond from an atom to its own image has an angle with itself.
    """
    functions = library()
    if functions is None or tolerance < FINEST or num_atoms.max(initial=0) >= ATOMS:
        return None
    sizes = np.empty((len(num_atoms), 3), np.int64)
    number, (atom_count, place) = np.empty_like(numbers), np.empty((2, len(numbers)), np.int32)
    source, target, bond_count = np.empty((3, len(directions)), np.int32)
    length, harmonics = np.empty(len(directions), np.float32), np.empty(directions.shape, np.float32)
    angle_source, angle_target, angle_count = np.empty((3, angles), np.int32)
    cosine = np.empty(angles, np.float32)
    given = [np.ascontiguousarray(each) for each in (num_atoms, num_bonds, numbers, *bonds, directions)]
    status = functions.merge(
        ctypes.c_int64(len(num_atoms)),
        *_pointers(*given),
        ctypes.c_int64(directions.shape[1]),
        ctypes.c_double(tolerance),
        ctypes.c_int64(angles > 0),
        ctypes.c_int64(itself),
        *_pointers(sizes, number, atom_count, place, source, target, length, bond_count, harmonics),
        *_pointers(angle_source, angle_target, cosine, angle_count),
    )
    if status < 0:
        raise MemoryError
    if status:
        return None
    atoms, edges, pairs = (slice(size) for size in sizes.sum(0).tolist())
    of_bonds = (each[edges] for each in (source, target, length, bond_count, harmonics))
    of_angles = (each[pairs] for each in (angle_source, angle_target, cosine, angle_count))
    return (*sizes.T, number[atoms], atom_count[atoms], *of_bonds, *of_angles, num_atoms, place)


def _pointers(*arrays: NDArray[Any]) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]
