"""The convolution of ALIGNN."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tlzoo.nn.edge_linear import biased, edge_linear, linear
from tlzoo.nn.edges import Edges
from tlzoo.nn.norm import Norm, norm_layer
from tlzoo.nn.rows import Rows
from tlzoo.nn.segment import arange, sum_rows


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
        y: Float[Tensor, "edges dim"],
        nodes: Rows,
        edges: Edges,
    ) -> tuple[Float[Tensor, "nodes dim"], Float[Tensor, "edges dim"]]:
        """Update nodes and edges; without ``update_edges`` the edges come back as they were."""
        m = edge_linear(
            y,
            self.edge_gate.weight,
            biased(linear(x, self.dst_gate, nodes), self.edge_gate.bias, nodes),
            linear(x, self.src_gate, nodes),
            edges,
        )
        total, gates = gated_sum(m, linear(x, self.dst_update, nodes), edges)
        message = total / (gates + 1e-6)
        x = x + F.silu(self.bn_nodes(linear(x, self.src_update, nodes) + message, nodes))
        if self.bn_edges is not None:
            y = y + F.silu(self.bn_edges(m, edges.rows))
        return x, y


def gated_sum(
    m: Float[Tensor, "edges dim"], message: Float[Tensor, "nodes dim"], edges: Edges
) -> tuple[Float[Tensor, "nodes dim"], Float[Tensor, "nodes dim"]]:
    r"""Return :math:`\sum_j \sigma(m_{ij}) \odot v_j` and :math:`\sum_j \sigma(m_{ij})` over all j → i."""
    result: tuple[Tensor, Tensor] = _GatedSum.apply(m, message, edges)  # type: ignore[no-untyped-call]
    return result


class _GatedSum(torch.autograd.Function):
    """Keeps its arguments alone; the gates are computed again for the derivative."""

    @staticmethod
    def forward(ctx: Any, m: Tensor, message: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:  # noqa: ANN401 (torch has no type)
        ctx.edges = edges
        ctx.save_for_backward(m, message)
        rows, start, count = arange(m), edges.by_target, edges.count.to(m.dtype)
        gate = m.sigmoid()
        gates = sum_rows(gate, rows, start, count)
        return sum_rows(gate.mul_(message.index_select(0, edges.source)), rows, start, count), gates

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dtotal: Tensor, dgates: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401 (torch has no type)
        m, message = ctx.saved_tensors
        edges: Edges = ctx.edges
        count = edges.count.to(m.dtype)
        gate = m.sigmoid()
        incoming = dtotal.index_select(0, edges.target)
        dmessage = sum_rows(gate * incoming, edges.order, edges.by_source, count.index_select(0, edges.order))
        dgate = incoming.mul_(message.index_select(0, edges.source))
        dgate.add_(dgates.index_select(0, edges.target)).mul_(count[:, None])
        return torch.ops.aten.sigmoid_backward.grad_input(dgate, gate, grad_input=dgate), dmessage, None
