"""Colour refinement: which atoms and bonds no message-passing network can tell apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.graphs.harmonics import invariants
from tlzoo.graphs.line_graph import LineGraph

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Colours = NDArray[np.uint64]

# Values are compared in units of this part of the tolerance.
FINENESS = 8

# A chain of values, each within the tolerance of the last, is cut after so many tolerances.
WIDEST = 10

# Above so many places (40 MB) values are sorted instead of entered into a table of places.
TABLE = 1 << 23

# An invariant is a mean over pairs of some twelve bonds; a change of one angle by the tolerance changes it by
# less. Atoms that are equal by symmetry differ by rounding alone.
FINER = 10

# An odd number without pattern, 2⁶⁴ over the golden ratio.
ODD = np.uint64(0x9E3779B97F4A7C15)


class Graph(NamedTuple):
    """What colour refinement needs to know of crystals.

    Attributes:
        start: Atoms that differ from the start have different numbers, ``(atoms,)``.
        source: Neighbour, ``(bonds,)``.
        target: Centre, ascending; every atom has a bond, ``(bonds,)``.
        lengths: Group of the length, ``(bonds,)``.
        lines: Angles; there may be none.
        cosines: Group of the cosine, ``(angles,)``.
        harmonics: Harmonics of the direction, ``(bonds, columns)``; there may be no columns.
    """

    start: Ints
    source: Ints
    target: Ints
    lengths: Ints
    lines: LineGraph
    cosines: Ints
    harmonics: Floats = np.empty((0, 0))


def refine(graph: Graph, tolerance: float = 0.0) -> tuple[Colours, Colours]:
    """Return colours of atoms and bonds: equal where the coarsest equitable partition has one class.

    Args:
        graph: The crystals.
        tolerance: Of lengths (Å) and cosines; what directions amount to is compared more finely.

    Returns:
        Colours of atoms, ``(atoms,)``, and of bonds, ``(bonds,)``. A bond's colour implies its target's.
    """
    source, target, lines = graph.source, graph.target, graph.lines
    length, cosine = colour(graph.lengths), colour(graph.cosines)
    first_bond, first_angle = _starts(target), _starts(lines.target)
    atoms = colour(graph.start)
    found = 0
    while (now := len(np.unique(atoms))) > found:
        found = now
        messages = atoms[source] * length
        shapes = _shapes(atoms, _mix(messages), graph, first_bond, tolerance / FINER)
        atoms = _mix(ODD * atoms + np.add.reduceat(messages, first_bond) + shapes)
    bonds = _mix(ODD * atoms[target] + atoms[source] * length)
    found = 0
    # atoms do not split unless bonds do
    while len(lines.target) and (now := len(np.unique(bonds))) > found:
        found = now
        angles = np.add.reduceat(bonds.take(lines.source) * cosine, first_angle)
        bonds = _mix(ODD * bonds + angles + _mix(ODD * atoms[target] + atoms[source]))
        shapes = _shapes(atoms, bonds, graph, first_bond, tolerance / FINER)
        atoms = _mix(ODD * atoms + np.add.reduceat(bonds, first_bond) + shapes)
    return atoms, bonds


def _shapes(atoms: Colours, bonds: Colours, graph: Graph, first_bond: Ints, tolerance: float) -> Colours:
    """Return a colour for what the directions of the bonds into each atom amount to, with random messages."""
    if not graph.harmonics.shape[1]:
        return np.zeros_like(atoms)
    message = (bonds >> np.uint64(11)) * 2.0**-53
    total = np.add.reduceat(message, first_bond)
    moments = np.stack(
        [np.add.reduceat(message * column, first_bond) / total for column in graph.harmonics.T], axis=1
    )
    kind = np.unique(atoms, return_inverse=True)[1]
    shapes = np.zeros_like(atoms)
    for values in invariants(moments).T:
        shapes = _mix(shapes + colour(groups(kind, values, tolerance)))
    return shapes


def groups(crystal: Ints, values: Floats, tolerance: float) -> Ints:
    """Return the group of each value: those of a crystal that follow each other within the tolerance.

    Groups are numbered by crystal, then by value.

    Args:
        crystal: Crystal of each value, ``(values,)``.
        values: Lengths (Å) or cosines, at least -1, ``(values,)``.
        tolerance: Largest step within a group, to an eighth; 0 puts each value into a group of its own.
    """
    if not tolerance or not len(values):
        return np.arange(len(values))
    place = ((values + 1) * (FINENESS / tolerance)).astype(np.int64)
    place += crystal * (int(place.max()) + FINENESS + 1)
    size = int(place.max()) + 1
    if size <= TABLE:
        there = np.zeros(size, dtype=bool)
        there[place] = True
        found = np.flatnonzero(there)
        table = np.empty(size, dtype=np.int32)
        table[found] = np.arange(len(found))
        row: NDArray[np.signedinteger[Any]] = table[place]
    else:
        found, row = np.unique(place, return_inverse=True)
    new = np.diff(found, prepend=-FINENESS - 1) > FINENESS
    start = np.maximum.accumulate(np.where(new, found, 0))
    new |= np.diff((found - start) // (WIDEST * FINENESS), prepend=0) > 0
    group: Ints = (np.cumsum(new) - 1)[row]
    return group


def colour(values: Ints) -> Colours:
    """Return a random number for each value, the same for the same value."""
    return _mix(values.astype(np.uint64) + ODD)


def _mix(colours: Colours) -> Colours:
    """Return well-mixed bits: the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    colours = (colours ^ (colours >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    colours = (colours ^ (colours >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return colours ^ (colours >> np.uint64(31))


def _starts(index: Ints) -> Ints:
    """Return where each block of equal indices starts."""
    return np.flatnonzero(np.diff(index, prepend=-1))
