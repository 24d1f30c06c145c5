"""A linear layer on edges and their two nodes, without the concatenation."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tlzoo.nn.edges import Edges
from tlzoo.nn.rows import Rows
from tlzoo.nn.segment import arange, sum_rows


def edge_linear(
    y: Float[Tensor, "edges edge_dim"],
    weight: Float[Tensor, "*networks dim edge_dim"],
    to_target: Float[Tensor, "nodes dim"],
    to_source: Float[Tensor, "nodes dim"],
    edges: Edges,
) -> Float[Tensor, "edges dim"]:
    r"""Return :math:`W y_{ij} + t_i + s_j` for all edges j → i.

    With t and s linear in the nodes this is a linear layer on the concatenation of a node, its neighbour and
    their edge; but what belongs to nodes is computed once per node, and nothing of the size of the
    concatenation exists.

    Under autocast the product is in its precision. On a CPU the result is in fp32: there a product in bf16
    takes half the time, but sums and activations in bf16 take longer than in fp32.

    Args:
        y: Vectors of the edges.
        weight: W, or those of several networks.
        to_target: t, added to all edges into a node.
        to_source: s, added to all edges out of a node.
        edges: The edges.
    """
    device = y.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    result: Tensor = _EdgeLinear.apply(y, weight, to_target, to_source, edges, low)  # type: ignore[no-untyped-call]
    return result


def linear(
    x: Float[Tensor, "rows in_dim"], layer: torch.nn.Linear, rows: Rows | None = None
) -> Float[Tensor, "rows dim"]:
    """Apply a linear layer; under autocast on a CPU the product is in bf16 and the result in fp32.

    Of several networks each has its rows: the layer is a :class:`~tlzoo.nn.stacked.StackedLinear`.
    """
    blocks = rows.blocks if rows is not None else None
    result: Tensor = layer(x) if blocks is None else layer(x, blocks)
    return in_fp32(result)


def in_fp32(x: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
    """Return what autocast computed in bf16 as fp32, on a CPU; on a GPU as it is."""
    return x.float() if x.dtype == torch.bfloat16 and x.device.type == "cpu" else x


def biased(
    x: Float[Tensor, "rows dim"], bias: Float[Tensor, "*networks dim"], rows: Rows
) -> Float[Tensor, "rows dim"]:
    """Add to each row the bias of its network."""
    return x + bias if rows.blocks is None else rows.blocks.plus(x, bias)


class _EdgeLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch has no type)
        y: Tensor,
        weight: Tensor,
        to_target: Tensor,
        to_source: Tensor,
        edges: Edges,
        low: torch.dtype | None,
    ) -> Tensor:
        low = low or y.dtype
        y, weight = y.to(low), weight.to(low)
        ctx.edges, ctx.low = edges, low
        ctx.save_for_backward(y, weight)
        m = _gather_sum(to_target, to_source, edges)
        if blocks := edges.rows.blocks:
            return blocks.add_products(m, y, weight.transpose(1, 2))
        if m.dtype == low:
            return m.addmm_(y, weight.t())
        return m.add_(y @ weight.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dm: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        y, weight = ctx.saved_tensors
        edges: Edges = ctx.edges
        dm = dm.contiguous()
        low = dm.to(ctx.low)
        blocks = edges.rows.blocks
        dy = dweight = None
        if ctx.needs_input_grad[0]:
            dy = low @ weight if blocks is None else blocks.products(low, weight)
        if ctx.needs_input_grad[1]:
            dweight = low.t() @ y if blocks is None else blocks.outer(low, y)
        to_target = sum_rows(dm, arange(dm), edges.by_target) if ctx.needs_input_grad[2] else None
        to_source = sum_rows(dm, edges.order, edges.by_source) if ctx.needs_input_grad[3] else None
        return dy, dweight, to_target, to_source, None, None


def _gather_sum(to_target: Tensor, to_source: Tensor, edges: Edges) -> Tensor:
    """Return ``to_target[edges.target] + to_source[edges.source]``, in one pass."""
    both = torch.cat([to_target, to_source])
    rows = torch.stack([edges.target, edges.source + len(to_target)], dim=1)
    return F.embedding_bag(rows, both, mode="sum")
