"""The line graph: bonds that meet in an atom, as index arithmetic."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class LineGraph(NamedTuple):
    """Pairs of bonds u→v and v→w, sorted by target. The angle is at v, between v→u and v→w.

    Attributes:
        source: Bond u→v, ``(angles,)``.
        target: Bond v→w, ``(angles,)``.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]


def line_graph(source: NDArray[np.int64], target: NDArray[np.int64], num_atoms: int) -> LineGraph:
    """Return the line graph of a directed graph: for every bond v→w all bonds u→v, also those with u = w.

    The same as ``dgl.line_graph(backtracking=True)``, which ALIGNN (npj Comput. Mater. 7, 185 (2021)) is
    built on, but for the angle that a bond from an atom to its own image has with itself. Bonds into an atom
    are a contiguous block, so no search and no sorting is needed.

    Args:
        source: Source of each bond, ``(bonds,)``.
        target: Target of each bond, ascending, ``(bonds,)``.
        num_atoms: Number of atoms.

    >>> pairs = line_graph(np.array([1, 0]), np.array([0, 1]), 2)
    >>> pairs.source, pairs.target
    (array([1, 0]), array([0, 1]))
    """
    into = np.bincount(target, minlength=num_atoms)
    first = np.cumsum(into) - into
    count = into[source]
    shift = first[source] - (np.cumsum(count) - count)
    pairs = np.repeat(np.arange(len(source)), count)
    return LineGraph(np.arange(len(pairs)) + shift[pairs], pairs)
