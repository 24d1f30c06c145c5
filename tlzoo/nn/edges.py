"""The edges of a graph, as the layers read them: bonds between atoms, or angles between bonds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlzoo.nn.row_blocks import Blocks
from tlzoo.nn.rows import Rows


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges sorted by target; each may stand for several equal ones.

    Attributes:
        source: Node that an edge comes from, ``(edges,)``.
        target: Node that it goes to, ascending, ``(edges,)``.
        count: How many equal edges the target has, ``(edges,)``.
        by_target: First edge into each node, and the number of edges, ``(nodes + 1,)``.
        by_source: The same for the edges in the order ``order``.
        order: Edges sorted by source, ``(edges,)``.
        rows: How many edges of the cells each stands for.
    """

    source: Int[Tensor, " edges"]
    target: Int[Tensor, " edges"]
    count: Float[Tensor, " edges"]
    by_target: Int[Tensor, " nodes_plus_1"]
    by_source: Int[Tensor, " nodes_plus_1"]
    order: Int[Tensor, " edges"]
    rows: Rows

    @cached_property
    def each(self) -> Int[Tensor, " edges"]:
        """The number of each edge."""
        return torch.arange(len(self.target), device=self.target.device)

    @cached_property
    def pairs(self) -> Int[Tensor, "edges 2"]:
        """The two ends of each edge among rows of which two belong to each node: to its target, its source."""
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
        # stable: sums over the edges of a source are always in the same order
        sources, order = source.sort(stable=True)
        size = len(node_count)
        blocks = nodes.inside(target) if nodes is not None else None
        rows = Rows.of(count * node_count.index_select(0, target), blocks)
        return cls(source, target, count, pointers(target, size), pointers(sources, size), order, rows)


def pointers(index: Int[Tensor, " rows"], size: int) -> Int[Tensor, " size_plus_1"]:
    """Return where each segment begins, and the end, for an index in ascending order.

    >>> pointers(torch.tensor([0, 0, 2]), 3)
    tensor([0, 2, 2, 3])
    """
    steps = torch.arange(size + 1, device=index.device, dtype=index.dtype)
    return torch.searchsorted(index, steps)
