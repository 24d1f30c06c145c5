"""The convolution of ALIGNN."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tlzoo.nn import passes
from tlzoo.nn.edge_linear import in_fp32, linear
from tlzoo.nn.edges import Edges
from tlzoo.nn.equal_rows import Equal
from tlzoo.nn.norm import Norm, activated, norm_layer
from tlzoo.nn.rows import Rows


class EdgeGatedConv(nn.Module):
    r"""Edge-gated graph convolution, eqs. 1 to 4 of Choudhary & DeCost (2021).

    .. math::
        m_{ij} &= W_\mathrm{src} x_j + W_\mathrm{dst} x_i + W_\mathrm{edge} y_{ij} \\
        h_i &= \frac{\sum_j \sigma(m_{ij}) \odot W_\mathrm{msg} x_j}{\sum_j \sigma(m_{ij}) + 10^{-6}} \\
        x_i' &= x_i + \mathrm{SiLU}\big(N(W_\mathrm{self} x_i + h_i)\big) \\
        y_{ij}' &= y_{ij} + \mathrm{SiLU}\big(N(m_{ij})\big)

    with j → i the edges into node i, each as often as it is counted. Nodes are atoms and edges bonds, or
    nodes are bonds and edges angles.
    The parts have the names of the authors' code: ``src_update`` is W_self, ``dst_update`` is W_msg.

    Args:
        dim: Length of the vectors of nodes and edges.
        norm: Batch (as published) or layer normalisation.
        update_edges: Whether :math:`y'` is wanted; without it there is no ``bn_edges``.

    References:
        npj Comput. Mater. 7, 185 (2021).
    """

    def __init__(self, *, dim: int, norm: Norm = "batch", update_edges: bool = True) -> None:
        super().__init__()
        self.src_gate = nn.Linear(dim, dim)
        self.dst_gate = nn.Linear(dim, dim)
        self.edge_gate = nn.Linear(dim, dim)
        self.src_update = nn.Linear(dim, dim)
        self.dst_update = nn.Linear(dim, dim)
        self.bn_nodes = norm_layer(norm, dim)
        self.bn_edges = norm_layer(norm, dim) if update_edges else None

    def forward(
        self,
        x: Float[Tensor, "nodes dim"],
        y: Float[Tensor, "values dim"],
        nodes: Rows,
        edges: Edges,
        equal: Equal | None = None,
    ) -> tuple[Float[Tensor, "nodes dim"], Float[Tensor, "edges dim"]]:
        """Update nodes and edges; without ``update_edges`` the edges come back as they were.

        Args:
            x: Vectors of the nodes.
            y: Vectors of the edges; of the different ones alone if ``equal`` says which those are.
            nodes: How many each node stands for.
            edges: The edges.
            equal: Which edges have equal vectors.
        """
        m = linear(y, self.edge_gate, edges.rows if equal is None else equal.rows)
        if equal is not None:
            m = equal.expand(m)
        if nodes.blocks is not None:
            # of several networks it is a view, which autograd does not let us overwrite
            m = m.clone()
        ends = joined(x, (self.src_update, self.dst_gate, self.src_gate, self.dst_update), nodes)
        total, m = _Gated.apply(m, ends, edges)  # type: ignore[no-untyped-call]
        x = activated(total, self.bn_nodes, nodes, x)
        if self.bn_edges is not None:
            y = activated(m, self.bn_edges, edges.rows, y if equal is None else equal.expand(y))
        return x, y


class _Gated(torch.autograd.Function):
    """Of the edges m alone is kept, in the place of e; gates are computed again for the derivative."""

    @staticmethod
    def forward(ctx: Any, edge: Tensor, ends: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:  # noqa: ANN401 (torch has no type)
        total, message, gates = passes.gated(edge, ends.detach(), edges)
        ctx.edges = edges
        ctx.set_materialize_grads(False)
        ctx.mark_dirty(edge)
        ctx.save_for_backward(edge, ends, message, gates)
        return total, edge

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dtotal: Tensor | None, dm: Tensor | None) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401 (torch has no type)
        m, ends, message, gates = ctx.saved_tensors
        dtotal = torch.zeros_like(message) if dtotal is None else dtotal.contiguous()
        return *passes.gated_derivative(m, ends, message, gates, ctx.edges, dtotal, dm), None


def joined(
    x: Float[Tensor, "rows in_dim"], layers: Sequence[nn.Linear], rows: Rows
) -> Float[Tensor, "rows dims"]:
    """Apply several linear layers to the same rows; results are next to each other."""
    if rows.blocks is not None:
        return torch.cat([linear(x, layer, rows) for layer in layers], dim=1)
    weight, bias = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
    return in_fp32(F.linear(x, weight, bias))
