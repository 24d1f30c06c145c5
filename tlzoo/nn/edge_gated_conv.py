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
from tlzoo.nn.norm import BatchNorm, LayerNorm, Norm, Statistics, activated, norm_layer
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
        if vectors is not None:
            x = x.contiguous()
            found = (self._trained if torch.is_grad_enabled() else self._applied)(x, vectors, nodes, edges)
            return found[0], y if self.bn_edges is None else found[1]
        m = linear(y, self.edge_gate, edges.rows if equal is None else equal.rows)
        if equal is not None:
            m = equal.expand(m)
        if nodes.blocks is not None:
            # of several networks it is a view, which autograd does not let us overwrite
            m = m.clone()
        total, m = _Gated.apply(m, joined(x, self._of_nodes, nodes), edges)  # type: ignore[no-untyped-call]
        x = activated(total, self.bn_nodes, nodes, x)
        if self.bn_edges is not None:
            y = activated(m, self.bn_edges, edges.rows, y if equal is None else equal.expand(y))
        return x, y

    @property
    def _of_nodes(self) -> tuple[nn.Linear, ...]:
        """What goes from each node: to itself, to the edges it is the target of, the source of, and along."""
        return self.src_update, self.dst_gate, self.src_gate, self.dst_update

    @property
    def _by_rows(self) -> bool:
        """Whether each row is normalised by itself."""
        return isinstance(self.bn_nodes, LayerNorm)

    @property
    def _norms(self) -> list[Any]:
        return [self.bn_nodes] if self.bn_edges is None else [self.bn_nodes, self.bn_edges]

    def _at_once(
        self, x: Tensor, y: Tensor, nodes: Rows, edges: Edges, equal: Equal | None
    ) -> EdgeVectors | None:
        """Return what the edges are computed of if functions in C can do the whole layer; else None.

        They can as it mostly is used: one network in fp32, in one process, with layer normalisation of rows
        that are not too wide, or all norms with statistics of the batch if it is trained, or with known ones
        if it is not.
        """
        live = torch.is_grad_enabled()
        if (
            nodes.blocks is not None
            or not len(y)
            or not (self._by_rows or all(norm.live == live for norm in self._norms))
            or torch.is_autocast_enabled(x.device.type)
            or (live and distributed.together() is not None)
            or (self._by_rows and not passes.rows_fit(x))
        ):
            return None
        vectors = EdgeVectors(y.contiguous(), self.edge_gate.weight, None if equal is None else equal.index)
        alike = x.dtype == y.dtype == nodes.share.dtype == edges.rows.share.dtype
        return vectors if alike and passes.at_once(x, *vectors[:2]) else None

    def _trained(self, x: Tensor, vectors: EdgeVectors, nodes: Rows, edges: Edges) -> tuple[Tensor, ...]:
        weights = [getattr(layer, name) for name in ("weight", "bias") for layer in self._of_nodes]
        weights += [self.edge_gate.bias, *(each for norm in self._norms for each in (norm.weight, norm.bias))]
        given = (x, *vectors, nodes, edges, self.bn_nodes.eps, *weights)
        count = len(self._norms)
        result: tuple[Tensor, ...]
        if self._by_rows:
            result = _OfRows.apply(*given)  # type: ignore[no-untyped-call]
        else:
            result = _OfBatch.apply(*given)  # type: ignore[no-untyped-call]
            BatchNorm.take_in(self._norms, result[count:], self._norms[0].momentum)
        return result[:count]

    def _applied(
        self,
        x: Tensor,
        vectors: EdgeVectors,
        nodes: Rows,  # noqa: ARG002 (as _trained)
        edges: Edges,
    ) -> tuple[Tensor, ...]:
        weight, bias = (
            torch.cat([getattr(layer, name) for layer in self._of_nodes]) for name in ("weight", "bias")
        )
        ends = _ends(x, weight, bias, self.edge_gate.bias)
        of_nodes, *of_edges = (
            (norm.weight, norm.bias) if self._by_rows else norm.known() for norm in self._norms
        )
        eps = self.bn_nodes.eps if self._by_rows else None
        if of_edges:
            (*_, total), y = passes.convolved_at_once(vectors, ends, edges, *of_edges[0], eps=eps)
        else:
            (*_, total), _ = passes.convolved(vectors, ends, edges, sums=False)
            y = vectors.y
        if eps is not None:
            return passes.normalised(total, x, *of_nodes, eps=eps), y
        return passes.affine(total, x, *of_nodes, silu=True), y


class _OfBatch(torch.autograd.Function):
    """The whole layer with batch statistics; of the edges m alone is kept, beside what it was computed of."""

    @staticmethod
    def forward(
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
        vectors = EdgeVectors(y, edge_weight, index)
        weight, ends, of_norms = _begun(x, weights)
        (m, message, gates, total), moments = passes.convolved(vectors, ends, edges, sums=len(of_norms) > 2)
        mean, variance = passes.moments(total, nodes.share)
        node_norm = Statistics.of(mean, variance, of_norms[0], of_norms[1], eps)
        results = [passes.affine(total, x, *node_norm[:2], silu=True)]
        kept, found = [*node_norm], [mean, variance * nodes.unbiased]
        if moments is not None:
            edge_norm = Statistics.of(*moments, of_norms[2], of_norms[3], eps)
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
        share = ctx.nodes.share
        dx = torch.zeros_like(x) if dx is None else dx.contiguous()
        node_norm = Statistics(*kept[:4])
        by_nodes = node_norm.sums(total, dx, silu=True)
        constants = node_norm.through(*by_nodes)
        dtotal = passes.affine_derivative(total, dx, *node_norm[:2], share, *constants, silu=True)
        by_edges: tuple[Tensor | None, ...] = (None,) * (len(kept) // 2 - 2)
        following: list[Tensor | None] = [None] * 5
        if by_edges and others[0] is not None:
            dnext, edge_norm = others[0].contiguous(), Statistics(*kept[4:])
            by_edges = found = edge_norm.sums(m, dnext, silu=True)
            following = [dnext, *edge_norm[:2], *edge_norm.through(*found)]
        vectors = EdgeVectors(y, edge_weight, ctx.index)
        (dends, dy, dedge), _ = passes.convolved_derivative(
            vectors, (m, message, gates), ends, ctx.edges, dtotal, following
        )
        dx, by_layers = _ended(x, weight, dends, dx)
        return dx, dy, dedge, *[None] * 4, *by_layers, *by_nodes, *by_edges


class _OfRows(torch.autograd.Function):
    """The whole layer with layer normalisation, as :class:`_OfBatch`."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch has no type)
        x: Tensor,
        y: Tensor,
        edge_weight: Tensor,
        index: Tensor | None,
        nodes: Rows,  # noqa: ARG004 (as _OfBatch)
        edges: Edges,
        eps: float,
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        vectors = EdgeVectors(y, edge_weight, index)
        weight, ends, of_norms = _begun(x, weights)
        if of_norms[2:]:
            kept, y_next = passes.convolved_at_once(vectors, ends, edges, *of_norms[2:], eps=eps, keep=True)
            results = [y_next]
        else:
            (kept, _), results = passes.convolved(vectors, ends, edges, sums=False), []
        ctx.edges, ctx.index, ctx.eps = edges, index, eps
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, y, edge_weight, weight, ends, *kept, *of_norms)
        return passes.normalised(kept[3], x, *of_norms[:2], eps=eps), *results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dx: Tensor | None, *others: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        x, y, edge_weight, weight, ends, m, message, gates, total, *of_norms = ctx.saved_tensors
        dx = torch.zeros_like(x) if dx is None else dx.contiguous()
        dtotal, *by_nodes = passes.normalised_derivative(total, dx, *of_norms[:2], eps=ctx.eps)
        dnext = others[0] if others else None
        following = [None] * 5 if dnext is None else [dnext.contiguous(), *of_norms[2:], None, None]
        (dends, dy, dedge), by_edges = passes.convolved_derivative(
            EdgeVectors(y, edge_weight, ctx.index),
            (m, message, gates),
            ends,
            ctx.edges,
            dtotal,
            following,
            eps=None if dnext is None else ctx.eps,
        )
        dx, by_layers = _ended(x, weight, dends, dx)
        return dx, dy, dedge, *[None] * 4, *by_layers, *by_nodes, *(by_edges or [None] * len(others) * 2)


def _begun(x: Tensor, weights: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the weights of the nodes next to each other, what they give, and those of the norms."""
    weight, (of_edges, *of_norms) = torch.cat(weights[:4]), weights[8:]
    return weight, _ends(x, weight, torch.cat(weights[4:8]), of_edges), of_norms


def _ended(x: Tensor, weight: Tensor, dends: Tensor, dx: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return derivatives by x, ``dx`` among them, and by weights and biases in their order."""
    dim = x.shape[1]
    dbias, dweight = dends.sum(0).split(dim), passes.multiplied_transposed(dends, x).split(dim)  # type: ignore[no-untyped-call]
    return passes.multiplied(dends, weight, dx), (*dweight, *dbias, dbias[1].clone())


def _ends(x: Tensor, weight: Tensor, bias: Tensor, of_edges: Tensor) -> Tensor:
    """Return s, a, b and v of the nodes; a, which each edge gets once, has the bias of the edges in it."""
    bias[x.shape[1] : 2 * x.shape[1]] += of_edges
    return passes.multiplied(x, weight.t(), bias)


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
