"""The line graph: bonds that meet in an atom, as index arithmetic."""

from typing import NamedTuple

import torch
from torch import Tensor


class LineGraph(NamedTuple):
    """Pairs of bonds u→v and v→w, sorted by target. The angle is at v, between v→u and v→w.

    Attributes:
        source: Bond u→v, ``(angles,)`` int64.
        target: Bond v→w, ``(angles,)`` int64.
    """

    source: Tensor
    target: Tensor


def line_graph(edge_index: Tensor, num_atoms: int) -> LineGraph:
    """Return the line graph of a directed graph: for every bond v→w all bonds u→v, also those with u = w.

    The same as ``dgl.line_graph(backtracking=True)``, which ALIGNN (npj Comput. Mater. 7, 185 (2021)) is
    built on. Bonds into an atom are a contiguous block, so no search and no sorting is needed.

    Args:
        edge_index: Source and target of each bond, ``(2, bonds)`` int64, sorted by target.
        num_atoms: Number of atoms.

    >>> line_graph(torch.tensor([[1, 0], [0, 1]]), 2)
    LineGraph(source=tensor([1, 0]), target=tensor([0, 1]))
    """
    centre, end = edge_index[0], edge_index[1]
    into = torch.bincount(end, minlength=num_atoms)
    first = into.cumsum(0) - into
    angles = into[centre]
    done = angles.cumsum(0) - angles
    bonds = torch.arange(len(centre), device=edge_index.device)
    target = torch.repeat_interleave(bonds, angles)
    source = torch.arange(len(target), device=edge_index.device) + (first[centre] - done)[target]
    return LineGraph(source, target)
