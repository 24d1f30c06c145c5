"""The convolution of ALIGNN."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tlzoo.machine import distributed
from tlzoo.nn import passes
from tlzoo.nn.edge_linear import in_fp32, linear
from tlzoo.nn.edges import Edges
from tlzoo.nn.equal_rows import Equal
from tlzoo.nn.norm import BatchNorm, Norm, Statistics, activated, norm_layer
from tlzoo.nn.passes import EdgeVectors
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
        vectors = self._at_once(x, y, nodes, edges, equal)
        if vectors is not None and torch.is_grad_enabled():
            return self._trained(x, vectors, nodes, edges)
        if vectors is not None:
            return self._applied(x, vectors, edges)
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


    def _at_once(
        self, x: Tensor, y: Tensor, nodes: Rows, edges: Edges, equal: Equal | None
    ) -> EdgeVectors | None:
        """Return the vectors of the edges if the whole layer can be one operation; see :mod:`passes`.

        That is where it is used as it mostly is: one network in fp32, in one process, all norms with
        statistics of the batch if it is trained, or known ones if not.
        """
        norms = [norm for norm in (self.bn_nodes, self.bn_edges) if norm is not None]
        if (
            nodes.blocks is not None
            or not len(y)
            or not all(isinstance(norm, BatchNorm) and norm.live == torch.is_grad_enabled() for norm in norms)
            or torch.is_autocast_enabled(x.device.type)
            or (self.training and distributed.together() is not None)
        ):
            return None
        vectors = EdgeVectors(y.contiguous(), self.edge_gate.weight, equal.index if equal is not None else None)
        alike = x.dtype == y.dtype == nodes.share.dtype == edges.rows.share.dtype
        return vectors if alike and vectors.fits() else None

    def _trained(
        self, x: Tensor, vectors: EdgeVectors, nodes: Rows, edges: Edges
    ) -> tuple[Tensor, Tensor]:
        ends = (self.src_update, self.dst_gate, self.src_gate, self.dst_update)
        norms: list[Any] = [norm for norm in (self.bn_nodes, self.bn_edges) if norm is not None]
        weights = [each for name in ("weight", "bias") for layer in ends for each in (getattr(layer, name),)]
        weights += [self.edge_gate.bias, *(each for norm in norms for each in (norm.weight, norm.bias))]
        eps = self.bn_nodes.eps
        result: tuple[Tensor, ...] = _EdgeGatedConv.apply(
            x, vectors.y, vectors.weight, vectors.index, nodes, edges, eps, *weights
        )  # type: ignore[no-untyped-call]
        updated, *found = result
        y = found.pop(0) if self.bn_edges is not None else vectors.y
        BatchNorm.take_in(norms, found)
        return updated, y

    def _applied(self, x: Tensor, vectors: EdgeVectors, edges: Edges) -> tuple[Tensor, Tensor]:
        layers = (self.src_update, self.dst_gate, self.src_gate, self.dst_update)
        weight, bias = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
        dim = x.shape[1]
        bias[dim : 2 * dim] += self.edge_gate.bias
        ends = torch.addmm(bias, x, weight.t())
        of_nodes: Any = self.bn_nodes
        if self.bn_edges is None:
            (_, _, _, total), _ = passes.convolved(vectors, ends, edges, sums=False)
            y = vectors.y
        else:
            of_edges: Any = self.bn_edges
            total, y = passes.convolved_at_once(vectors, ends, edges, *of_edges.known())
        return passes.affine(total, x, *of_nodes.known(), silu=True), y


class _EdgeGatedConv(torch.autograd.Function):
    """The whole layer with batch statistics; of the edges m alone is kept, beside what it was computed of."""

    @staticmethod
    def forward(  # noqa: PLR0917 (autograd knows no keywords)
        ctx: Any,  # noqa: ANN401 (torch has no type)
        x: Tensor,
        y: Tensor,
        edge_weight: Tensor,
        index: Tensor | None,
        nodes: Rows,
        edges: Edges,
        eps: float,
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        dim = x.shape[1]
        weight, bias = torch.cat(weights[:4]), torch.cat(weights[4:8])
        of_edges, *of_norms = weights[8:]
        # of what an edge adds up: the part of its target has the bias of its own
        bias[dim : 2 * dim] += of_edges
        ends = torch.addmm(bias, x, weight.t())
        vectors = EdgeVectors(y, edge_weight, index)
        (m, message, gates, total), moments = passes.convolved(vectors, ends, edges, sums=len(of_norms) > 2)
        mean, variance = passes.moments(total, nodes.share)
        node_norm = Statistics.of(mean, variance, *of_norms[:2], eps)
        results = [passes.affine(total, x, *node_norm[:2], silu=True)]
        kept, found = [*node_norm], [mean, variance * nodes.unbiased]
        if moments is not None:
            edge_norm = Statistics.of(*moments, *of_norms[2:], eps)
            results.append(passes.affine(m, y, *edge_norm[:2], silu=True, index=index))
            kept, found = [*kept, *edge_norm], [*found, moments[0], moments[1] * edges.rows.unbiased]
        ctx.nodes, ctx.edges, ctx.index = nodes, edges, index
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*found)
        ctx.save_for_backward(x, y, edge_weight, weight, ends, m, message, gates, total, *kept)
        return *results, *found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dx: Tensor | None, *others: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        x, y, edge_weight, weight, ends, m, message, gates, total, *kept = ctx.saved_tensors
        dim, share = x.shape[1], ctx.nodes.share
        dx = torch.zeros_like(x) if dx is None else dx.contiguous()
        node_norm = Statistics(*kept[:4])
        by_norms: list[Tensor | None] = [*node_norm.sums(total, dx, silu=True)]
        constants = node_norm.through(*by_norms)
        dtotal = passes.affine_derivative(total, dx, *node_norm[:2], share, *constants, silu=True)
        following: list[Tensor | None] = [None] * 5
        if len(kept) > 4:
            by_norms += [None, None]
            if (dnext := others[0]) is not None:
                dnext, edge_norm = dnext.contiguous(), Statistics(*kept[4:])
                by_norms[2:] = edge_norm.sums(m, dnext, silu=True)
                following = [dnext, *edge_norm[:2], *edge_norm.through(*by_norms[2:])]
        vectors = EdgeVectors(y, edge_weight, ctx.index)
        dends, dy, dedge = passes.convolved_derivative(
            vectors, (m, message, gates), ends, ctx.edges, dtotal, following
        )
        dbias, dweight = dends.sum(0).split(dim), (dends.t() @ x).split(dim)  # type: ignore[no-untyped-call]
        dx = torch.addmm(dx, dends, weight)
        return dx, dy, dedge, *[None] * 4, *dweight, *dbias, dbias[1], *by_norms


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
