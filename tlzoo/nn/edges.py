"""The edges of a graph, as the layers read them: bonds between atoms, or angles between bonds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlzoo.nn.row_blocks import Blocks
from tlzoo.nn.rows import Rows
from tlzoo.nn.sorting import order_of


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


def pointers(index: Int[Tensor, " rows"], size: int) -> Int[Tensor, " size_plus_1"]:
    """Return where each segment begins, and the end, for an index in ascending order.

    >>> pointers(torch.tensor([0, 0, 2]), 3)
    tensor([0, 2, 2, 3])
    """
    steps = torch.arange(size + 1, device=index.device, dtype=index.dtype)
    return torch.searchsorted(index, steps)
