"""Periodic neighbours: the k nearest of every atom within a cut-off, with complete shells."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS, formulas_alone
from tlzoo.errors import UserError
from tlzoo.graphs import compiled_graphs
from tlzoo.graphs.graph_options import GraphOptions

if TYPE_CHECKING:
    from vesin import NeighborList

# The first search is in a sphere that holds this many times k atoms on average. Atoms that it leaves
# short of a complete shell send the whole crystal to the cut-off. 2 was the fastest of 1.5 to 6.
FIRST_SPHERE = 2.0

# Atoms closer than this, in Å, are one atom given twice. The shortest bond there is, in H2, has 0.74 Å.
CLOSEST = 0.1

# A cell with a smaller part of the volume of a box with the same edges is taken for a mistake.
FLATTEST = 1e-5

# What is said of a crystal of which the formula alone is known.
NO_STRUCTURE = (
    "a formula without a structure: bring the structure, or take what reads formulas: the checkpoint "
    "roost-fe-bg, the network Roost, the descriptors of the composition"
)


class Cells(NamedTuple):
    """Crystals, concatenated.

    Attributes:
        lattice: Row vectors a, b, c, ``(crystals, 3, 3)``, Å.
        num_atoms: Atoms of each, ``(crystals,)``.
        numbers: Atomic numbers, ``(atoms,)`` uint8.
        frac_coords: Fractional coordinates, in the cell or not, ``(atoms, 3)``.
    """

    lattice: NDArray[np.float64]
    num_atoms: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    frac_coords: NDArray[np.float64]

    def keep(self, rows: NDArray[np.bool_]) -> Cells:
        """Return some of the crystals."""
        atoms = np.repeat(rows, self.num_atoms)
        return Cells(self.lattice[rows], self.num_atoms[rows], self.numbers[atoms], self.frac_coords[atoms])


class Bonds(NamedTuple):
    """Bonds of crystals, sorted by target, then by length. Atoms are counted over all crystals.

    Attributes:
        source: Neighbour, ``(bonds,)``.
        target: Centre, ``(bonds,)``.
        vector: From source to target, periodic image included, ``(bonds, 3)``, Å.
        length: Its length, ``(bonds,)``, Å.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    vector: NDArray[np.float64]
    length: NDArray[np.float64]

    def keep(self, rows: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Bonds:
        """Return some of the bonds."""
        return Bonds(self.source[rows], self.target[rows], self.vector[rows], self.length[rows])


def neighbours(
    lattice: NDArray[np.float64],
    frac_coords: NDArray[np.float64],
    options: GraphOptions,
    *,
    numbers: Sequence[int] | NDArray[np.uint8] | None = None,
) -> Bonds:
    """Return the bonds of one crystal; see :func:`all_neighbours`.

    Args:
        lattice: Row vectors a, b, c, ``(3, 3)``, Å.
        frac_coords: Fractional coordinates, in the cell or not, ``(atoms, 3)``.
        options: Cut-off (Å), k, tolerance of ties (Å), symmetric or not.
        numbers: Atomic numbers, only for messages.

    Raises:
        UserError: The cell is flat or not finite, a coordinate is not finite, an atom has no neighbour or
            two atoms are in one place.
    """
    atoms = len(frac_coords)
    known = np.asarray([0] * atoms if numbers is None else numbers, dtype=np.uint8)
    cells = Cells(np.asarray(lattice)[None], np.array([atoms]), known, np.asarray(frac_coords))
    _, bonds, problems = all_neighbours(cells, options)
    if problems:
        raise UserError(problems[0])
    return bonds


def all_neighbours(cells: Cells, options: GraphOptions) -> tuple[Cells, Bonds, dict[int, str]]:
    """Return the bonds of many crystals, an image of the atom itself included.

    Atom j is a neighbour of i if its distance is within the cut-off and at most ``tie_tolerance`` beyond
    the k-th smallest distance of i. Fewer than k within the cut-off: all are kept. The cut-off has the
    same tolerance, so that a shell right on it is complete too.

    Returns:
        The crystals that have a graph, their bonds, and what is wrong with the others, by row: the cell is
        flat or not finite, a coordinate is not finite, an atom has no neighbour, two are in one place.
    """
    return checked(cells, options.cutoff, lambda usable: _bonds(usable, options))


def all_within(cells: Cells, span: float, cutoff: float) -> tuple[Cells, Bonds, dict[int, str]]:
    """Return all pairs of atoms of many crystals that are close, images included; in no order.

    Close is relative: within ``span`` cube roots of the volume per atom, so that an atom has as many such
    neighbours in a dense crystal as in an open one. Of a crystal with an atom that has none, and of those
    where that is farther, all within the cut-off are returned.

    Args:
        cells: Crystals.
        span: How far to look, in cube roots of the volume per atom.
        cutoff: No farther than this, in Å.

    Returns:
        As :func:`all_neighbours`.
    """

    def search(usable: Cells) -> Bonds:
        rows = np.arange(len(usable.lattice))
        volume = np.abs(np.linalg.det(usable.lattice)) / usable.num_atoms
        radius = np.minimum(span * volume ** (1 / 3), cutoff)
        pairs = _search(usable, rows, radius)
        row = np.repeat(rows, usable.num_atoms)
        alone = np.bincount(pairs.target, minlength=len(row)) == 0
        if not alone.any():
            return pairs
        again = np.unique(row[alone])
        pairs = pairs.keep(~np.isin(row[pairs.target], again))
        more = _search(usable, again, np.full(len(rows), cutoff))
        return Bonds(*(np.concatenate(both) for both in zip(pairs, more, strict=True)))

    return checked(cells, cutoff, search)


def all_nearer(cells: Cells, radius: NDArray[np.float64]) -> Bonds:
    """Return all pairs of atoms at most a radius apart, in Å, ``(crystals,)``; images included, in no order.

    Crystals are left out that make no sense, or of which the radius is 0 or not a number.
    """
    looked_at = radius > 0
    looked_at[[row for row, _ in _unusable(cells)]] = False
    pairs = _search(cells.keep(looked_at), np.arange(looked_at.sum()), radius[looked_at])
    place = np.flatnonzero(np.repeat(looked_at, cells.num_atoms))
    return pairs._replace(source=place[pairs.source], target=place[pairs.target])


def checked(
    cells: Cells, cutoff: float, search: Callable[[Cells], Bonds]
) -> tuple[Cells, Bonds, dict[int, str]]:
    """Search those crystals that make sense; leave out those where something is wrong with what is found."""
    problems = dict(_unusable(cells))
    rows = np.delete(np.arange(len(cells.lattice)), list(problems))
    cells = cells.keep(mask(rows, len(cells.lattice)))
    bonds = search(cells)
    wrong = dict(_unconnected(cells, bonds, cutoff))
    if wrong:
        problems |= {int(rows[row]): text for row, text in wrong.items()}
        good = ~mask(np.array(list(wrong)), len(rows))
        of_good = np.repeat(good, cells.num_atoms)
        bonds = bonds.keep(of_good[bonds.target])
        place = np.cumsum(of_good) - 1
        bonds = bonds._replace(source=place[bonds.source], target=place[bonds.target])
        cells = cells.keep(good)
    return cells, bonds, dict(sorted(problems.items()))


def _unusable(cells: Cells) -> Iterator[tuple[int, str]]:
    """Yield the rows whose numbers make no crystal, with the reason."""
    first = np.cumsum(cells.num_atoms) - cells.num_atoms
    formula = formulas_alone(cells.lattice, cells.num_atoms, cells.frac_coords)
    finite = np.isfinite(cells.lattice).all(axis=(1, 2))
    finite &= np.logical_and.reduceat(np.isfinite(cells.frac_coords).all(axis=1), first)
    lattice = np.where(finite[:, None, None], cells.lattice, 0)
    volume = np.abs(np.linalg.det(lattice))
    flat = volume <= FLATTEST * np.prod(np.linalg.norm(lattice, axis=2), axis=1)
    for row in np.flatnonzero(flat).tolist():
        text = "a lattice vector or a fractional coordinate is not a finite number"
        if finite[row]:
            text = f"the cell is flat (volume {volume[row]:.3g} Å³); "
            text += "the lattice must be three independent vectors, in Å"
        if formula[row]:
            text = NO_STRUCTURE
        yield row, text


def _bonds(cells: Cells, options: GraphOptions) -> Bonds:
    """Return the bonds of crystals that make sense."""
    farthest = options.cutoff + options.tie_tolerance
    volume = np.abs(np.linalg.det(cells.lattice))
    sphere = FIRST_SPHERE * options.neighbours * volume / cells.num_atoms
    radius = np.minimum((sphere * 3 / (4 * math.pi)) ** (1 / 3), farthest)
    found, left = compiled_graphs.pairs(
        cells.lattice,
        cells.num_atoms,
        cells.frac_coords % 1,
        radius,
        neighbours=options.neighbours,
        tie=options.tie_tolerance,
        farthest=farthest,
        symmetric=options.symmetric,
    )
    parts = [Bonds(*found)]
    if left.any():
        bonds, complete = _nearest(cells, np.flatnonzero(left), radius, options)
        parts.append(bonds.keep(np.repeat(complete, cells.num_atoms)[bonds.target]))
        if not complete.all():
            rows = np.flatnonzero(~complete)
            parts.append(_nearest(cells, rows, np.full(len(radius), farthest), options)[0])
    return _by_target(parts)


def _by_target(parts: Sequence[Bonds]) -> Bonds:
    """Return bonds of different crystals, each sorted, as one."""
    if len(parts) == 1:
        return parts[0]
    bonds = Bonds(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    return bonds.keep(np.argsort(bonds.target, kind="stable"))


def _nearest(
    cells: Cells, rows: NDArray[np.int64], radius: NDArray[np.float64], options: GraphOptions
) -> tuple[Bonds, NDArray[np.bool_]]:
    """Return the neighbours within a radius (Å, per crystal), and where the cut-off would give the same.

    Of some crystals alone, ``rows``, ascending; of the others there is nothing to find.
    """
    pairs = _in_boxes(cells, rows, radius)
    pairs = pairs.keep(np.lexsort((pairs.length, pairs.target)))
    count = np.bincount(pairs.target, minlength=len(cells.numbers))
    first = np.cumsum(count) - count
    enough = count >= options.neighbours
    farthest = options.cutoff + options.tie_tolerance
    limit = np.full(len(count), farthest)
    limit[enough] = pairs.length[first[enough] + options.neighbours - 1] + options.tie_tolerance
    first = np.cumsum(cells.num_atoms) - cells.num_atoms
    complete = (radius >= farthest) | (np.maximum.reduceat(limit, first) < radius)
    complete |= ~mask(rows, len(radius))
    within = limit[pairs.target]
    if options.symmetric:
        # the reverse of a bond is a bond if the other atom has it so near
        within = np.maximum(within, limit[pairs.source])
    return pairs.keep(pairs.length <= within), complete


def _search(cells: Cells, rows: NDArray[np.int64], radius: NDArray[np.float64]) -> Bonds:
    """Return all pairs of some crystals at most a radius apart."""
    some = cells.keep(mask(rows, len(radius)))
    found, left = compiled_graphs.pairs(some.lattice, some.num_atoms, some.frac_coords % 1, radius[rows])
    if left.all():
        return _in_boxes(cells, rows, radius)
    place = np.flatnonzero(np.repeat(mask(rows, len(radius)), cells.num_atoms))
    pairs = Bonds(place[found[0]], place[found[1]], *found[2:])
    if left.any():
        both = (pairs, _in_boxes(cells, rows[left], radius))
        pairs = Bonds(*(np.concatenate(values) for values in zip(*both, strict=True)))
    return pairs


def _in_boxes(cells: Cells, rows: NDArray[np.int64], radius: NDArray[np.float64]) -> Bonds:
    """Do so by the search of vesin, crystal after crystal."""
    first = np.cumsum(cells.num_atoms) - cells.num_atoms
    lattice = np.repeat(cells.lattice, cells.num_atoms, axis=0)
    # in the cell, for less rounding
    points = np.einsum("ai,aij->aj", cells.frac_coords % 1, lattice)
    parts = [(np.empty((0, 2), dtype=np.uint64), np.empty((0, 3)), np.empty(0))]
    for row in rows:
        of_row = points[first[row] : first[row] + cells.num_atoms[row]]
        # one thread: cells are small, and the order of pairs is then the same every time
        search = neighbour_list()(cutoff=radius[row], full_list=True, n_threads=1)
        parts.append(search.compute(of_row, cells.lattice[row], periodic=True, quantities="PDd"))
    pair, vector, length = (np.concatenate(values) for values in zip(*parts, strict=True))
    atoms = pair.astype(np.int64)
    atoms += np.repeat(first[rows], [len(part[2]) for part in parts[1:]])[:, None]
    return Bonds(atoms[:, 0], atoms[:, 1], vector, length)


@cache
def neighbour_list() -> type[NeighborList]:
    """Return the search of vesin, which imports torch if it can: seconds and 200 MB, of no use here."""
    without = "torch" not in sys.modules
    if without:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from vesin import NeighborList
    finally:
        if without:
            del sys.modules["torch"]
            # whoever else imports vesin is to get one that knows torch
            for name in [name for name in sys.modules if name.split(".")[0] == "vesin"]:
                del sys.modules[name]
    search: type[NeighborList] = NeighborList
    return search


def _unconnected(cells: Cells, bonds: Bonds, cutoff: float) -> Iterator[tuple[int, str]]:
    """Yield the rows with an atom without neighbours or two atoms in one place, with the reason."""
    row = np.repeat(np.arange(len(cells.lattice)), cells.num_atoms)
    first = np.cumsum(cells.num_atoms) - cells.num_atoms

    def name(atom: int) -> str:
        number = f"{atom - first[row[atom]] + 1}"
        return f"{number} ({SYMBOLS[cells.numbers[atom]]})" if cells.numbers[atom] else number

    alone = np.flatnonzero(np.bincount(bonds.target, minlength=len(row)) == 0)
    lonely = np.unique(row[alone])
    for found in lonely:
        there = alone[row[alone] == found]
        names = ", ".join(name(atom) for atom in there[:5])
        more = f" and {len(there) - 5} more" if len(there) > 5 else ""
        text = f"{'atom' if len(there) == 1 else 'atoms'} {names}{more} of {cells.num_atoms[found]}: "
        text += f"no neighbour within {cutoff:g} Å; raise the cutoff or leave this crystal out"
        yield int(found), text
    close = np.flatnonzero(bonds.length < CLOSEST)
    for found in np.setdiff1d(row[bonds.target[close]], lonely):
        there = close[row[bonds.target[close]] == found]
        closest = there[bonds.length[there].argmin()]
        text = f"atoms {name(bonds.target[closest])} and {name(bonds.source[closest])} of "
        text += f"{cells.num_atoms[found]} are {bonds.length[closest]:.3f} Å apart, less than {CLOSEST} Å; "
        yield int(found), f"{text}correct the structure or leave this crystal out"


def mask(rows: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Return which of so many things are among the rows, ``(size,)``."""
    there = np.zeros(size, dtype=bool)
    there[rows] = True
    return there
