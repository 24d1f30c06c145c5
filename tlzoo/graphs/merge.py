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

With directions, an atom also sees the moments of its bonds: sums over bonds of a message times the harmonics
of the direction. Only numbers that no rotation changes are passed on: products of two moments of a degree,
and :math:`A_1 A_2 A_1`. These are polynomials in the messages, and messages may be any function of the colour
of a bond. Two polynomials that agree at a random point agree everywhere, but for points of measure zero
(Schwartz 1980, Zippel 1979). So the colours of atoms are split by the value of these polynomials for random
messages, drawn from the bond's colour, anew in each round.

Colours are 64-bit hashes, and a multiset is the sum of the hashes of its members modulo 2⁶⁴: two different
colours among a million are taken for equal with a probability below 10⁻⁷.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.graphs import compiled_graphs
from tlzoo.graphs.colours import Colours, Floats, Graph, Ints, colour, groups, refine
from tlzoo.graphs.harmonics import harmonics
from tlzoo.graphs.line_graph import LineGraph, line_graph
from tlzoo.graphs.neighbours import Bonds, Cells, mask

# Angles at a time, for the processor's caches; the table of cosines makes a crystal cost some more.
BLOCK = 1 << 18
PER_CRYSTAL = 1 << 13


class Graphs(NamedTuple):
    """Graphs of crystals, concatenated; see :class:`tlzoo.graphs.graph_store.GraphStore`.

    Indices are counted within their crystal. Without angles their arrays are empty and ``num_angles`` is 0.
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
    harmonics: NDArray[np.float32]
    angle_source: Ints
    angle_target: Ints
    cosine: NDArray[np.float32]
    angle_count: Ints
    num_sites: Ints
    place: Ints


def merge(
    cells: Cells, bonds: Bonds, tolerance: float, *, angles: bool, degree: int = 0, itself: bool = True
) -> Graphs:
    """Return the quotient graphs of crystals.

    Atoms are in the order of the first of each class, bonds by target and length, angles by target and
    source. Lengths and cosines are means over all of the crystal that are equal within the tolerance.

    Args:
        cells: Crystals; every atom has a bond.
        bonds: All their bonds.
        tolerance: Lengths (Å) and cosines that differ by at most this are equal; 0 merges nothing.
        angles: Whether to make the line graph too.
        degree: Highest degree of the harmonics of directions; 0 for none.
        itself: Whether a bond from an atom to its own image has an angle with itself.
    """
    atoms = np.concatenate([[0], np.cumsum(cells.num_atoms)])
    firsts = np.searchsorted(bonds.target, atoms)
    edges, done = [0, len(atoms) - 1], np.zeros_like(firsts)
    if angles:
        per_atom = np.bincount(bonds.target, minlength=len(cells.numbers))
        done = np.concatenate([[0], np.cumsum(per_atom[bonds.source])])[firsts]
        most = BLOCK if compiled_graphs.library() is None else compiled_graphs.BLOCK
        block = (done + PER_CRYSTAL * np.arange(len(atoms))) // most
        edges = [0, *np.flatnonzero(np.diff(block[1:])) + 1, len(atoms) - 1]
    parts = []
    for start, stop in pairwise(edges):
        of_atoms, of_bonds = slice(atoms[start], atoms[stop]), slice(firsts[start], firsts[stop])
        some = bonds.keep(of_bonds)
        some = some._replace(source=some.source - atoms[start], target=some.target - atoms[start])
        numbers, num_atoms = cells.numbers[of_atoms], cells.num_atoms[start:stop]
        directions = harmonics(some.vector / some.length[:, None], degree)
        found = compiled_graphs.merged(
            numbers,
            num_atoms,
            np.diff(firsts[start : stop + 1]),
            some,
            directions,
            tolerance,
            angles=int(done[stop] - done[start]),
            itself=itself,
        )
        if found is None:
            made = _merge(numbers, num_atoms, some, directions, tolerance, angles=angles, itself=itself)
        else:
            made = Graphs(*found)
        parts.append(made)
    if len(parts) == 1:
        return parts[0]
    return Graphs(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _merge(
    numbers: NDArray[np.uint8],
    num_atoms: Ints,
    bonds: Bonds,
    directions: Floats,
    tolerance: float,
    *,
    angles: bool,
    itself: bool,
) -> Graphs:
    crystal = np.repeat(np.arange(len(num_atoms)), num_atoms)
    of_bond = crystal[bonds.target]
    none = np.empty(0, dtype=np.int64)
    lines, cosine = LineGraph(none, none), np.empty(0)
    if angles:
        lines = line_graph(bonds.source, bonds.target, len(numbers))
        if not itself:
            other = lines.source != lines.target
            lines = LineGraph(lines.source[other], lines.target[other])
        cosine = _cosines(bonds, lines)
    lengths = groups(of_bond, bonds.length, tolerance)
    cosines = groups(of_bond[lines.target], cosine, tolerance)
    if tolerance:
        start = numbers + (crystal << 8)
        graph = Graph(start, bonds.source, bonds.target, lengths, lines, cosines, directions)
        colours = refine(graph, tolerance)
    else:
        colours = colour(np.arange(len(numbers))), colour(np.arange(len(of_bond)))

    atom = _classes(colours[0])
    of_first = np.flatnonzero(mask(atom.first, len(numbers))[bonds.target])
    bond = _classes(colours[1][of_first])
    first = of_first[bond.first]
    source, target = atom.row[bonds.source[first]], atom.row[bonds.target[first]]
    row = bond.find(colours[1]) if angles else none
    angle = _angles(lines, cosines, row, first, source, target)
    of_bond = of_bond[first]
    of_angle = of_bond[angle.target]
    sizes: list[Ints] = [
        np.bincount(of, minlength=len(num_atoms)) for of in (crystal[atom.first], of_bond, of_angle)
    ]
    first_atom, first_bond = (np.cumsum(size) - size for size in sizes[:2])
    return Graphs(
        num_atoms=sizes[0],
        num_bonds=sizes[1],
        num_angles=sizes[2],
        numbers=numbers[atom.first],
        atom_count=atom.size,
        source=source - first_atom[of_bond],
        target=target - first_atom[of_bond],
        length=_means(bonds.length, lengths)[lengths[first]].astype(np.float32),
        bond_count=bond.size,
        harmonics=_sums(directions[of_first], bond).astype(np.float32),
        angle_source=angle.source - first_bond[of_angle],
        angle_target=angle.target - first_bond[of_angle],
        cosine=_means(cosine, cosines)[angle.cosine].astype(np.float32),
        angle_count=angle.size,
        num_sites=num_atoms,
        place=atom.row - first_atom[crystal],
    )


def _cosines(bonds: Bonds, lines: LineGraph) -> Floats:
    """Return the cosine of each angle, at the atom where bond u→v ends and bond v→w starts."""
    cosine = np.zeros(len(lines.source))
    for component in bonds.vector.T / bonds.length:  # three times faster than rows of three
        cosine -= component.take(lines.source) * component.take(lines.target)
    return np.clip(cosine, -1, 1, out=cosine)


class _Classes(NamedTuple):
    """Classes of equal colour, in the order of their first members.

    Attributes:
        first: First member, ascending, ``(classes,)``.
        size: Number of members, ``(classes,)``.
        row: Class of each member, ``(members,)``.
        colours: Colours, ascending, ``(classes,)``.
        rank: Class of each of these, ``(classes,)``.
    """

    first: Ints
    size: Ints
    row: Ints
    colours: Colours
    rank: Ints

    def find(self, colours: Colours) -> Ints:
        """Return the class of each colour; all of them are there."""
        return self.rank[np.searchsorted(self.colours, colours)]


def _classes(colours: Colours) -> _Classes:
    found, first, row, size = np.unique(colours, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return _Classes(first[order], size[order], rank[row], found, rank)


class _Angles(NamedTuple):
    """Different angles of classes of bonds: two classes of bonds, the group of the cosine, how many."""

    source: Ints
    target: Ints
    cosine: Ints
    size: Ints


def _angles(lines: LineGraph, cosines: Ints, row: Ints, first: Ints, source: Ints, target: Ints) -> _Angles:
    """Return the different angles of the first bond of each class, sorted by target, source and cosine.

    Args:
        lines: All angles.
        cosines: Group of each cosine, ``(angles,)``.
        row: Class of each bond, ``(bonds,)``.
        first: First bond of each class, ``(classes,)``.
        source: Class of the source of each class of bonds, ``(classes,)``.
        target: Class of the target, ascending, ``(classes,)``.
    """
    if not len(lines.target):
        return _Angles(lines.source, lines.target, cosines, cosines)
    chosen = np.flatnonzero(mask(first, len(row))[lines.target])
    of = row[lines.target[chosen]]
    # counted among the bonds into an atom, so that the key below fits into 64 bits
    place = row[lines.source[chosen]] - np.searchsorted(target, source)[of]
    places, kinds = (int(values.max(initial=0)).bit_length() for values in (place, cosines))
    key, size = np.unique(((of << places | place) << kinds) | cosines[chosen], return_counts=True)
    of = key >> (places + kinds)
    place = (key >> kinds) & ((1 << places) - 1)
    return _Angles(place + np.searchsorted(target, source)[of], of, key & ((1 << kinds) - 1), size)


def _sums(values: Floats, classes: _Classes) -> Floats:
    """Return the sum of the members of each class, ``(classes, columns)``."""
    sums = np.zeros((len(classes.size), values.shape[1]))
    for column, of in zip(values.T, sums.T, strict=True):
        of[:] = np.bincount(classes.row, column, minlength=len(sums))
    return sums


def _means(values: Floats, group: Ints) -> Floats:
    """Return the mean of each group."""
    means: Floats = np.bincount(group, values) / np.bincount(group)
    return means
