"""Periodic neighbours: the k nearest of every atom within a cut-off, with complete shells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS
from tlzoo.errors import UserError
from tlzoo.graphs.options import GraphOptions

# The first search is in a sphere that holds this many times k atoms on average. Atoms that it leaves
# short of a complete shell send the whole crystal to the cut-off. 2 was the fastest of 1.5 to 6.
FIRST_SPHERE = 2.0

# Atoms closer than this, in Å, are one atom given twice. The shortest bond there is, in H2, has 0.74 Å.
CLOSEST = 0.1

# A cell with a smaller part of the volume of a box with the same edges is taken for a mistake.
FLATTEST = 1e-5


class Bonds(NamedTuple):
    """The bonds of one crystal, sorted by target, then by length.

    Attributes:
        source: Neighbour, ``(bonds,)``.
        target: Centre, ``(bonds,)``.
        vector: From source to target, periodic image included, ``(bonds, 3)``, Å.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    vector: NDArray[np.float64]


class _Pairs(NamedTuple):
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    shift: NDArray[np.int64]
    vector: NDArray[np.float64]
    length: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> _Pairs:
        return _Pairs(
            self.source[rows], self.target[rows], self.shift[rows], self.vector[rows], self.length[rows]
        )


def neighbours(
    lattice: NDArray[np.float64],
    frac_coords: NDArray[np.float64],
    options: GraphOptions,
    *,
    numbers: Sequence[int] | NDArray[np.uint8] | None = None,
) -> Bonds:
    """Return the bonds of a crystal, an image of the atom itself included.

    Atom j is a neighbour of i if its distance is within the cut-off and at most ``tie_tolerance`` beyond
    the k-th smallest distance of i. Fewer than k within the cut-off: all are kept. The cut-off has the
    same tolerance, so that a shell right on it is complete too.

    Args:
        lattice: Row vectors a, b, c, ``(3, 3)``, Å.
        frac_coords: Fractional coordinates, in the cell or not, ``(atoms, 3)``.
        options: Cut-off (Å), k, tolerance of ties (Å), symmetric or not.
        numbers: Atomic numbers, only for messages.

    Raises:
        UserError: The cell is flat or not finite, a coordinate is not finite, an atom has no neighbour or
            two atoms are in one place.
    """
    if not (np.isfinite(lattice).all() and np.isfinite(frac_coords).all()):
        raise UserError("a lattice vector or a fractional coordinate is not a finite number")
    volume = abs(float(np.linalg.det(lattice)))
    if volume <= FLATTEST * float(np.prod(np.linalg.norm(lattice, axis=1))):
        raise UserError(
            f"the cell is flat (volume {volume:.3g} Å³); the lattice must be three independent vectors, in Å"
        )
    atoms = len(frac_coords)
    points = frac_coords @ lattice

    radius = (FIRST_SPHERE * options.neighbours * volume / atoms * 3 / (4 * math.pi)) ** (1 / 3)
    farthest = options.cutoff + options.tie_tolerance
    pairs, complete = _nearest(points, lattice, min(radius, farthest), options)
    if not complete:
        pairs, _ = _nearest(points, lattice, farthest, options)
    if options.symmetric:
        pairs = _symmetric(pairs, atoms)
    _check(pairs, atoms, options, numbers)
    return Bonds(pairs.source, pairs.target, pairs.vector)


def _nearest(
    points: NDArray[np.float64], lattice: NDArray[np.float64], radius: float, options: GraphOptions
) -> tuple[_Pairs, bool]:
    """Return the nearest neighbours found in a sphere, and whether the whole cut-off would give the same."""
    pairs = _search(points, lattice, radius)
    pairs = pairs.take(np.lexsort((pairs.length, pairs.target)))
    count = np.bincount(pairs.target, minlength=len(points))
    enough = count >= options.neighbours
    farthest = options.cutoff + options.tie_tolerance
    limit = np.full(len(points), farthest)
    first = np.cumsum(count) - count
    limit[enough] = pairs.length[first[enough] + options.neighbours - 1] + options.tie_tolerance
    complete = radius >= farthest or bool((limit < radius).all())
    return pairs.take(pairs.length <= limit[pairs.target]), complete


def _search(points: NDArray[np.float64], lattice: NDArray[np.float64], radius: float) -> _Pairs:
    """Return all pairs at most a radius apart; ``shift`` is the cell of the target seen from the source."""
    from vesin import NeighborList

    # one thread: cells are small, and the order of pairs is then the same every time
    search = NeighborList(cutoff=radius, full_list=True, n_threads=1)
    pair, shift, vector, length = search.compute(
        points, lattice, periodic=True, quantities="PSDd", copy=False
    )
    pair = pair.astype(np.int64)
    return _Pairs(pair[:, 0], pair[:, 1], shift.astype(np.int64), vector.copy(), length.copy())


def _symmetric(pairs: _Pairs, atoms: int) -> _Pairs:
    """Add the reverse of every bond that lacks one."""
    reverse = _Pairs(pairs.target, pairs.source, -pairs.shift, -pairs.vector, pairs.length)
    span = 2 * int(np.abs(pairs.shift).max(initial=0)) + 1
    missing = ~np.isin(_code(reverse, atoms, span), _code(pairs, atoms, span))
    both = _Pairs(*(np.concatenate([a, b[missing]]) for a, b in zip(pairs, reverse, strict=True)))
    return both.take(np.lexsort((both.length, both.target)))


def _code(pairs: _Pairs, atoms: int, span: int) -> NDArray[np.int64]:
    """Return one whole number per bond, different for different bonds."""
    code = pairs.source * atoms + pairs.target
    for axis in range(3):
        code = code * span + pairs.shift[:, axis] + span // 2
    return code


def _check(
    pairs: _Pairs, atoms: int, options: GraphOptions, numbers: Sequence[int] | NDArray[np.uint8] | None
) -> None:
    def name(atom: int) -> str:
        return f"{atom + 1}" if numbers is None else f"{atom + 1} ({SYMBOLS[numbers[atom]]})"

    alone = np.flatnonzero(np.bincount(pairs.target, minlength=atoms) == 0)
    if len(alone) > 0:
        names = ", ".join(name(atom) for atom in alone[:5])
        more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
        raise UserError(
            f"{'atom' if len(alone) == 1 else 'atoms'} {names}{more} of {atoms}: "
            f"no neighbour within {options.cutoff:g} Å; raise the cutoff or leave this crystal out"
        )
    closest = int(pairs.length.argmin())
    if pairs.length[closest] < CLOSEST:
        raise UserError(
            f"atoms {name(pairs.target[closest])} and {name(pairs.source[closest])} of {atoms} are "
            f"{pairs.length[closest]:.3f} Å apart, less than {CLOSEST} Å; "
            "correct the structure or leave this crystal out"
        )
