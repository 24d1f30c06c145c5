r"""Atoms, bonds and angles that no network can tell apart, stored once with a count.

A message-passing network starts from the element of each atom, the length of each bond and the cosine of
each angle, and updates a node with a function of itself and of the multiset of what its edges bring. Nodes
that have equal values and whose edges bring equal multisets therefore keep equal vectors in every layer.
The coarsest partition with that property (the coarsest equitable partition) is what colour refinement finds
(Weisfeiler & Leman 1968): colours are split by the multiset of the neighbours' colours until nothing splits.
The quotient, one node per colour with the number of equal edges into it, gives the same vectors as the
graph itself (Grohe, Kersting, Mladenov & Selman, "Dimension reduction via colour refinement", ESA 2014), and
the number of equal nodes gives the same sums, means and batch statistics over a crystal. A supercell has
the quotient of its primitive cell, with larger counts of atoms.

With angles, the bonds are nodes too: their colours are split by the colours of their two atoms and by the
multiset of (colour of u→v, cosine) over all bonds into their source atom v; the colours of atoms by
the multiset of the colours of the bonds into them.

Colours are 64-bit hashes, and a multiset is the sum of the hashes of its members modulo 2⁶⁴; two different
ones of a chunk of a million bonds are taken for equal with a probability of about 10⁻⁷.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.graphs.line_graph import LineGraph, line_graph

# Values that follow each other within the tolerance can wander off; a group spans at most this many.
WIDEST = 10

# Angles at a time: as many as fit into the caches of a processor.
BLOCK = 1 << 18

# Lengths and cosines are compared in units of this part of the tolerance.
FINENESS = 16

MIX = np.uint64(0x9E3779B97F4A7C15)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Colours = NDArray[np.uint64]


class Cells(NamedTuple):
    """Crystals and all their bonds, concatenated; atoms are counted over all crystals.

    Attributes:
        numbers: Atomic numbers, ``(atoms,)`` uint8.
        num_atoms: Atoms of each crystal, ``(crystals,)``.
        num_bonds: Bonds of each crystal, ``(crystals,)``.
        source: Neighbour, ``(bonds,)``.
        target: Centre, ascending; every atom has a bond, ``(bonds,)``.
        vector: From source to target, ``(bonds, 3)``, Å.
    """

    numbers: NDArray[np.uint8]
    num_atoms: Ints
    num_bonds: Ints
    source: Ints
    target: Ints
    vector: Floats


class Graphs(NamedTuple):
    """Graphs of consecutive crystals, concatenated; see :class:`tlzoo.graphs.store.GraphStore`.

    Indices are counted within their crystal. Without angles the last four are None and ``num_angles`` is 0.
    """

    num_atoms: Ints
    num_bonds: Ints
    num_angles: Ints
    numbers: NDArray[np.uint8]
    atom_count: Ints
    source: Ints
    target: Ints
    length: NDArray[np.float32]
    bond_count: Ints
    angle_source: Ints
    angle_target: Ints
    cosine: NDArray[np.float32]
    angle_count: Ints


def merge(cells: Cells, tolerance: float, *, angles: bool) -> Graphs:
    """Return the quotient graphs of crystals.

    Args:
        cells: Crystals with all their bonds, sorted by target, then by length.
        tolerance: Lengths (Å) and cosines that differ by at most this are equal; 0 merges nothing.
        angles: Whether to make the line graph too.
    """
    work = cells.num_bonds
    if angles:
        into = np.bincount(cells.target, minlength=len(cells.numbers))
        work = _sums(into[cells.source], cells.num_bonds)
    block = (np.cumsum(work) - work) // BLOCK
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(work)]
    parts = [_merge(part, tolerance, angles=angles) for part in _blocks(cells, edges)]
    return Graphs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _blocks(cells: Cells, edges: list[int]) -> list[Cells]:
    """Return the crystals between the edges, each with atoms counted from 0."""
    atoms = np.concatenate([[0], np.cumsum(cells.num_atoms)])
    bonds = np.concatenate([[0], np.cumsum(cells.num_bonds)])
    blocks = []
    for start, stop in pairwise(edges):
        of_atoms, of_bonds = slice(atoms[start], atoms[stop]), slice(bonds[start], bonds[stop])
        blocks.append(
            Cells(
                cells.numbers[of_atoms],
                cells.num_atoms[start:stop],
                cells.num_bonds[start:stop],
                cells.source[of_bonds] - atoms[start],
                cells.target[of_bonds] - atoms[start],
                cells.vector[of_bonds],
            )
        )
    return blocks


def _merge(cells: Cells, tolerance: float, *, angles: bool) -> Graphs:
    crystals = np.arange(len(cells.num_atoms))
    crystal_of_atom = np.repeat(crystals, cells.num_atoms)
    crystal_of_bond = np.repeat(crystals, cells.num_bonds)
    length = np.sqrt(np.einsum("ij,ij->i", cells.vector, cells.vector))
    lengths = _groups(crystal_of_bond, length, tolerance)
    if angles:
        lines = line_graph(cells.source, cells.target, len(cells.numbers))
        cosine = _cosines(cells.vector / length[:, None], lines)
        cosines = _groups(crystal_of_bond[lines.target], cosine, tolerance)
    else:
        none = np.empty(0, dtype=np.int64)
        lines, cosine, cosines = LineGraph(none, none), np.empty(0), none
    if tolerance:
        start = cells.numbers + (crystal_of_atom << 8)
        atoms, bonds = _refine(start, cells, lengths, lines, cosines)
    else:
        atoms, bonds = _colour(np.arange(len(cells.numbers))), _colour(np.arange(len(length)))

    atom = _classes(atoms)
    bond = _classes(bonds)
    is_first = np.zeros(len(atoms), dtype=bool)
    is_first[atom.first] = True
    bonds_of_first = bond.row[is_first[cells.target]]
    is_first = np.zeros(len(bonds), dtype=bool)
    is_first[bond.first] = True
    chosen = np.flatnonzero(is_first[lines.target])
    angle_source, angle_target = lines.source[chosen], lines.target[chosen]
    angle = _classes(MIX * bonds[angle_target] + bonds[angle_source] * _colour(cosines[chosen]))
    angle_source, angle_target = bond.row[angle_source[angle.first]], bond.row[angle_target[angle.first]]

    of_atom, of_bond = crystal_of_atom[atom.first], crystal_of_bond[bond.first]
    num_atoms = np.bincount(of_atom, minlength=len(crystals))
    num_bonds = np.bincount(of_bond, minlength=len(crystals))
    first_atom = (np.cumsum(num_atoms) - num_atoms)[of_bond]
    of_angle = of_bond[angle_target]
    first_bond = (np.cumsum(num_bonds) - num_bonds)[of_angle]
    return Graphs(
        num_atoms=num_atoms,
        num_bonds=num_bonds,
        num_angles=np.bincount(of_angle, minlength=len(crystals)),
        numbers=cells.numbers[atom.first],
        atom_count=atom.size,
        source=atom.row[cells.source[bond.first]] - first_atom,
        target=atom.row[cells.target[bond.first]] - first_atom,
        length=_means(length, lengths)[lengths[bond.first]].astype(np.float32),
        bond_count=np.bincount(bonds_of_first, minlength=len(bond.first)),
        angle_source=angle_source - first_bond,
        angle_target=angle_target - first_bond,
        cosine=_means(cosine, cosines)[cosines[chosen[angle.first]]].astype(np.float32),
        angle_count=angle.size,
    )


def _refine(
    start: Ints, cells: Cells, lengths: Ints, lines: LineGraph, cosines: Ints
) -> tuple[Colours, Colours]:
    """Return the colours of atoms and bonds of the coarsest equitable partition.

    Args:
        start: What tells atoms apart from the start, ``(atoms,)``.
        cells: Crystals with all their bonds.
        lengths: Group of each length, ``(bonds,)``.
        lines: Angles; there may be none.
        cosines: Group of each cosine, ``(angles,)``.
    """
    source, target = cells.source, cells.target
    length, cosine = _colour(lengths), _colour(cosines)
    atoms = _colour(start)
    found = 0
    while (now := _distinct(atoms)) > found:
        found = now
        atoms = _mix(MIX * atoms + _sums_by(atoms[source] * length, target))
    bonds = _mix(MIX * atoms[target] + atoms[source] * length)
    if len(lines.target) == 0:
        return atoms, bonds
    found = 0
    while (now := _distinct(atoms) + _distinct(bonds)) > found:
        found = now
        angles = _sums_by(bonds[lines.source] * cosine, lines.target)
        bonds = _mix(MIX * bonds + angles + _mix(MIX * atoms[target] + atoms[source]))
        atoms = _mix(MIX * atoms + _sums_by(bonds, target))
    return atoms, bonds


class Classes(NamedTuple):
    """Rows of equal colour, in the order of their first members.

    Attributes:
        first: First member, ascending, ``(classes,)``.
        size: Number of members, ``(classes,)``.
        row: Class of each, ``(colours,)``.
    """

    first: Ints
    size: Ints
    row: Ints


def _classes(colours: Colours) -> Classes:
    _, first, row, size = np.unique(colours, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Classes(first[order], size[order], rank[row])


def _distinct(colours: Colours) -> int:
    return len(np.unique(colours))


def _groups(crystal: Ints, values: Floats, tolerance: float) -> Ints:
    """Return the group of each value: those of a crystal that follow each other within the tolerance.

    A group that spans more than ``WIDEST`` tolerances is cut into pieces of that width.

    Args:
        crystal: Crystal of each value, ``(values,)``.
        values: Lengths or cosines, at least -1, ``(values,)``.
        tolerance: Largest difference between neighbours; 0 puts each value into a group of its own.
    """
    if not tolerance:
        return np.arange(len(values))
    place = ((values + (1 + tolerance)) * (FINENESS / tolerance)).astype(np.int64)
    place += crystal * (int(place.max(initial=0)) + FINENESS + 1)
    found, row = np.unique(place, return_inverse=True)
    new = np.diff(found, prepend=-FINENESS - 1) > FINENESS
    start = np.maximum.accumulate(np.where(new, found, 0))
    piece = (found - start) // (WIDEST * FINENESS)
    new |= np.diff(piece, prepend=0) > 0
    return (np.cumsum(new) - 1)[row]


def _means(values: Floats, groups: Ints) -> Floats:
    """Return the mean of each group."""
    return np.bincount(groups, values) / np.bincount(groups)


def _cosines(unit: Floats, lines: LineGraph) -> Floats:
    """Return the cosine of each angle, at the atom where bond u→v ends and bond v→w starts."""
    cosine: Floats = np.einsum("ij,ij->i", unit[lines.source], unit[lines.target])
    return np.clip(-cosine, -1, 1, out=cosine)


def _sums(values: NDArray[np.int64], counts: Ints) -> Ints:
    """Return the sums of blocks of consecutive values, one block of so many for each count (none is 0)."""
    return np.add.reduceat(values, np.cumsum(counts) - counts)


def _sums_by(values: Colours, index: Ints) -> Colours:
    """Return the sums, modulo 2⁶⁴, of the values of each index, which is ascending and leaves out none."""
    return np.add.reduceat(values, np.flatnonzero(np.diff(index, prepend=-1)))


def _colour(values: Ints) -> Colours:
    """Return a random number for each value, the same for the same value."""
    return _mix(values.astype(np.uint64) + MIX)


def _mix(colours: Colours) -> Colours:
    """Return well-mixed bits: the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    colours = (colours ^ (colours >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    colours = (colours ^ (colours >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return colours ^ (colours >> np.uint64(31))
