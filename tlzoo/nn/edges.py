"""The edges of a graph, as the layers read them: bonds between atoms, or angles between bonds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlzoo.nn.row_blocks import Blocks
from tlzoo.nn.rows import Rows
from tlzoo.nn.sorting import order_of

# Of the edges that each thread would have if all had as many: how many the busiest may have, before crystals
# are dealt, and before one of them is shared between threads.
EVEN: Final = 1.02
UNEVEN: Final = 1.25


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges sorted by target; each may stand for several equal ones.

    Attributes:
        source: Node that an edge comes from, ``(edges,)``.
        target: Node that it goes to, ascending, ``(edges,)``.
        count: How many equal edges the target has, ``(edges,)``.
        rows: How many edges of the cells each stands for.
        nodes: How many nodes there are.
    """

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    count: Float[Tensor, " edges"]
    rows: Rows
    nodes: int

    @cached_property
    def each(self) -> Int[Tensor, " edges"]:
        """The number of each edge."""
        return torch.arange(len(self.target), device=self.target.device)

    @cached_property
    def by_target(self) -> Int[Tensor, " nodes_plus_1"]:
        """First edge into each node, and the number of edges."""
        return pointers(self.target, self.nodes)

    @cached_property
    def widest(self) -> int:
        """How many edges go into one node, at most."""
        return int(self.by_target.diff().max()) if self.nodes else 0

    @cached_property
    def borders(self) -> Int[Tensor, " borders"]:
        """Nodes with no edge between those before and the others: where crystals begin, and the end."""
        low, high = (end(self.source, self.target) + 1 for end in (torch.minimum, torch.maximum))
        begun, ended = (each.bincount(minlength=self.nodes + 1) for each in (low, high))
        return (begun - ended).cumsum(0).eq_(0).nonzero()[:, 0]

    def parts(self, number: int) -> tuple[list[int], bool]:
        """Return where parts of the nodes begin and end that have about as many edges each.

        They do so at borders, and True says so, if those are no further than a quarter of a part from where
        parts would be equal.
        """
        found = self._parts.get(number)
        if found is None:
            found = self._parts[number] = self._parted(number)
        return found

    def shares(self, number: int) -> tuple[list[list[tuple[int, int]]], bool]:
        """Return ranges of the nodes for each of so many threads, which have about as many edges each.

        These are whole crystals, and True says so, unless the crystals are too few or too different. Where
        :meth:`parts` are not equal enough, crystals are dealt, the largest first.
        """
        found = self._shares.get(number)
        if found is None:
            found = self._shares[number] = self._shared(number)
        return found

    @cached_property
    def _parts(self) -> dict[int, tuple[list[int], bool]]:
        return {}

    @cached_property
    def _shares(self) -> dict[int, tuple[list[list[tuple[int, int]]], bool]]:
        return {}

    def _shared(self, number: int) -> tuple[list[list[tuple[int, int]]], bool]:
        cuts, closed = self.parts(number)
        one_each = [[ends] for ends in pairwise(cuts)]
        equal = len(self.target) / number
        if closed and int(self.by_target[cuts].diff().max()) <= EVEN * equal:
            return one_each, True
        dealt: list[list[tuple[int, int]]] = [[] for _ in range(number)]
        loads = [0] * number
        edges = self.by_target[self.borders].diff().tolist()
        crystals = zip(pairwise(self.borders.tolist()), edges, strict=True)
        for ends, size in sorted(crystals, key=lambda crystal: -crystal[1]):
            least = loads.index(min(loads))
            loads[least] += size
            dealt[least].append(ends)
        whole = closed or max(loads) <= UNEVEN * equal
        return ([_joined(ranges) for ranges in dealt], True) if whole else (one_each, False)

    def _parted(self, number: int) -> tuple[list[int], bool]:
        if number == 1:
            return [0, self.nodes], True
        first, edges = self.by_target, len(self.target)
        inner = torch.arange(1, number) * edges // number
        free = torch.searchsorted(first, inner)
        before = torch.searchsorted(self.borders, free, right=True) - 1
        ends = self.borders[torch.stack([before, (before + 1).clamp(max=len(self.borders) - 1)])]
        off = (first[ends] - inner).abs()
        closed = bool((off.amin(0) * 4 * number <= edges).all())
        cuts = ends.gather(0, off.argmin(0, keepdim=True))[0] if closed else free
        return [0, *cuts.tolist(), self.nodes], closed

    @cached_property
    def order(self) -> Int[Tensor, " edges"]:
        """Edges sorted by source; those of one source always in the same order."""
        return order_of(self.source)

    @cached_property
    def by_source(self) -> Int[Tensor, " nodes_plus_1"]:
        """First edge out of each node in that order, and the number of edges."""
        return pointers(self.source.index_select(0, self.order), self.nodes)

    @cached_property
    def pairs(self) -> Int[Tensor, "edges 2"]:
        """The ends of each edge among rows of which two belong to each node, to its target, its source."""
        return torch.stack([2 * self.target, 2 * self.source + 1], dim=1)

    @classmethod
    def of(
        cls,
        index: Int[Tensor, "2 edges"],
        count: Float[Tensor, " edges"],
        node_count: Float[Tensor, " nodes"],
        nodes: Blocks | None = None,
    ) -> Edges:
        """Prepare edges for the layers of a batch.

        Args:
            index: Source and target of each edge, sorted by target.
            count: How many equal edges the target has.
            node_count: How many nodes of the cells each node stands for.
            nodes: Which nodes are whose, if there are several networks.
        """
        source, target = index
        blocks = nodes.inside(target) if nodes is not None else None
        rows = Rows.of(count * node_count.index_select(0, target), blocks)
        return cls(source, target, count, rows, len(node_count))


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in order, those next to each other as one.

    >>> _joined([(5, 7), (0, 2), (2, 3)])
    [(0, 3), (5, 7)]
    """
    found: list[tuple[int, int]] = []
    for begin, end in sorted(ranges):
        if found and found[-1][1] == begin:
            found[-1] = found[-1][0], end
        else:
            found.append((begin, end))
    return found


def pointers(index: Int[Tensor, " rows"], size: int) -> Int[Tensor, " size_plus_1"]:
    """Return where each segment begins, and the end, for an index in ascending order.

    >>> pointers(torch.tensor([0, 0, 2]), 3)
    tensor([0, 2, 2, 3])
    """
    steps = torch.arange(size + 1, device=index.device, dtype=index.dtype)
    return torch.searchsorted(index, steps)
