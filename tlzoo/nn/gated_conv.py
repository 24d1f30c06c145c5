"""The convolution of CGCNN."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tlzoo.machine import distributed
from tlzoo.nn import compiled_conv as compiled
from tlzoo.nn import gate_parts as plain
from tlzoo.nn.edge_linear import biased, edge_linear, linear
from tlzoo.nn.edges import Edges
from tlzoo.nn.gate_parts import gate_backward
from tlzoo.nn.norm import BatchNorm, Norm, norm_layer
from tlzoo.nn.row_blocks import Blocks
from tlzoo.nn.rows import Rows
from tlzoo.nn.segment import arange, sum_rows


class GatedConv(nn.Module):
    r"""Gated sum over the bonds of each atom, eq. 5 of Xie & Grossman (2018) with the norms of their code.

    .. math::
        z_{ij} &= N_1\big(W_t h_i + W_s h_j + W_e e_{ij} + b\big) = [f_{ij}, c_{ij}] \\
        h_i' &= g\Big(h_i + N_2\big(\sum_j \sigma(f_{ij}) \odot g(c_{ij})\big)\Big)

    with g = softplus, j the neighbours of i, each as often as it is counted. The linear layer of the paper
    acts on the concatenation [h_i, h_j, e_ij]; here its three parts act on atoms, atoms and bonds: the same
    numbers, fewer operations.

    Args:
        dim: Length of an atom's vector.
        edge_dim: Length of a bond's vector.
        norm: Batch (as published) or layer normalisation.

    References:
        Phys. Rev. Lett. 120, 145301 (2018).
    """

    def __init__(self, *, dim: int, edge_dim: int, norm: Norm = "batch") -> None:
        super().__init__()
        self.target = nn.Linear(dim, 2 * dim, bias=False)
        self.source = nn.Linear(dim, 2 * dim, bias=False)
        self.edge = nn.Linear(edge_dim, 2 * dim)
        self.norm_gate = norm_layer(norm, 2 * dim)
        self.norm_sum = norm_layer(norm, dim)
        bound = (2 * dim + edge_dim) ** -0.5
        for parameter in (self.target.weight, self.source.weight, self.edge.weight, self.edge.bias):
            # as one linear layer of 2 dim + edge_dim inputs
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self,
        x: Float[Tensor, "atoms dim"],
        edge_attr: Float[Tensor, "bonds edge_dim"],
        atoms: Rows,
        bonds: Edges,
    ) -> Float[Tensor, "atoms dim"]:
        """Update the atoms."""
        if self._trains_whole(x):
            return self._whole(x, edge_attr, atoms, bonds)
        z = edge_linear(
            edge_attr,
            self.edge.weight,
            biased(linear(x, self.target, atoms), self.edge.bias, atoms),
            linear(x, self.source, atoms),
            bonds,
        )
        total = gate_sum(self.norm_gate(z, bonds.rows), bonds)
        return F.softplus(x + self.norm_sum(total, atoms))

    def _trains_whole(self, x: Tensor) -> bool:
        """Whether the layer is trained as it mostly is: all of it, with batch statistics, in one process."""
        return (
            torch.is_grad_enabled()
            and isinstance(self.norm_gate, BatchNorm)
            and isinstance(self.norm_sum, BatchNorm)
            and self.norm_gate.live
            and self.norm_sum.live
            and not torch.is_autocast_enabled(x.device.type)
            and distributed.together() is None
        )

    def _whole(self, x: Tensor, edge_attr: Tensor, atoms: Rows, bonds: Edges) -> Tensor:
        linears = (self.target.weight, self.source.weight, self.edge.weight, self.edge.bias)
        gate: Any = self.norm_gate
        total: Any = self.norm_sum
        weights = (*linears, gate.weight, gate.bias, total.weight, total.bias)
        result: Tensor = _GatedConv.apply(x, edge_attr, *weights, atoms, bonds, (gate, total))  # type: ignore[no-untyped-call]
        return result


class _GatedConv(torch.autograd.Function):
    """The whole layer as one operation, with batch statistics."""

    @staticmethod
    def forward(  # noqa: PLR0917 (autograd knows no keywords)
        ctx: Any,  # noqa: ANN401 (torch has no type)
        x: Tensor,
        edge_attr: Tensor,
        target: Tensor,
        source: Tensor,
        edge: Tensor,
        bias: Tensor,
        gate_weight: Tensor,
        gate_bias: Tensor,
        sum_weight: Tensor,
        sum_bias: Tensor,
        atoms: Rows,
        bonds: Edges,
        kept: tuple[BatchNorm, BatchNorm],
    ) -> Tensor:
        dim = x.shape[1]
        ends = torch.cat([target, source], dim=-2)
        # of each atom what goes to its bonds as their target, then as their source
        both = Blocks.linear(x, ends, None, atoms.blocks).view(-1, 2 * dim)
        z = Blocks.linear(edge_attr, edge, bias, bonds.rows.blocks)
        norms = (gate_weight, gate_bias, sum_weight, sum_bias)
        ctx.way = compiled if compiled.applies(z) else plain
        after, before, gates, core, total, statistics = ctx.way.forward(
            x, both, z, norms, atoms, bonds, kept[0].eps
        )
        ctx.atoms, ctx.bonds = atoms, bonds
        own = (gate_weight, sum_weight, z, gates, core, total, before, statistics)
        ctx.save_for_backward(x, edge_attr, ends, edge, *own)
        wide = 2 * dim
        mean, variance, _, sum_mean, sum_variance, _ = statistics.split([wide] * 3 + [dim] * 3, dim=-1)
        found = (mean, variance * bonds.rows.unbiased, sum_mean, sum_variance * atoms.unbiased)
        BatchNorm.take_in(kept, found, kept[0].momentum)
        return after  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 (torch has no type)
        x, edge_attr, ends, edge, *own = ctx.saved_tensors
        atoms: Rows = ctx.atoms
        bonds: Edges = ctx.bonds
        dim = x.shape[1]
        dx, dz, dboth, derivatives = ctx.way.backward(dy, own, atoms, bonds)
        blocks = bonds.rows.blocks
        dedge = Blocks.derivative(dz, edge_attr, blocks)
        dattr = Blocks.linear(dz, edge.mT, None, blocks) if ctx.needs_input_grad[1] else None
        dtarget, dsource = Blocks.derivative(dboth, x, atoms.blocks).split(2 * dim, dim=-2)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[0]:
            dx.add_(Blocks.linear(dboth, ends.mT, None, atoms.blocks))
        by_norms = derivatives.split([2 * dim] * 3 + [dim] * 2, dim=-1)
        gate_weight, gate_bias, bias, sum_weight, sum_bias = by_norms
        return (
            dx, dattr, dtarget, dsource, dedge, bias, gate_weight, gate_bias, sum_weight, sum_bias,
            None, None, None,
        )  # fmt: skip


def gate_sum(z: Float[Tensor, "bonds two_dim"], bonds: Edges) -> Float[Tensor, "atoms dim"]:
    r"""Return :math:`\sum_j \sigma(f_{ij}) \odot g(c_{ij})` over all bonds j → i, with z = [f, c].

    Without derivatives, z is overwritten.
    """
    if torch.is_grad_enabled():
        result: Tensor = _GateSum.apply(z, bonds)  # type: ignore[no-untyped-call]
        return result
    # the same operations on the same layout, so the same bits, in a third of the memory
    core = F.softplus(z.chunk(2, dim=1)[1])
    gated = core.mul_(z.sigmoid_().chunk(2, dim=1)[0])
    return sum_rows(gated, arange(gated), bonds.by_target, bonds.count.to(z.dtype))


class _GateSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, bonds: Edges) -> Tensor:  # noqa: ANN401 (torch has no type)
        core = F.softplus(z.chunk(2, dim=1)[1])
        gates = z.sigmoid()  # of the gate, and of the core the derivative of softplus
        ctx.bonds = bonds
        ctx.save_for_backward(gates, core)
        gate = gates.chunk(2, dim=1)[0]
        return sum_rows(gate * core, arange(z), bonds.by_target, bonds.count.to(z.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dtotal: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 (torch has no type)
        return gate_backward(dtotal, *ctx.saved_tensors, ctx.bonds), None  # type: ignore[call-arg]
