"""The convolution of CGCNN."""

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
        z = edge_linear(
            edge_attr,
            self.edge.weight,
            biased(linear(x, self.target, atoms), self.edge.bias, atoms),
            linear(x, self.source, atoms),
            bonds,
        )
        total = gate_sum(self.norm_gate(z, bonds.rows), bonds)
        return F.softplus(x + self.norm_sum(total, atoms))


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
        gates, core = ctx.saved_tensors
        bonds: Edges = ctx.bonds
        gate, slope = gates.chunk(2, dim=1)
        dz = torch.empty_like(gates)
        dgate, dcore = dz.chunk(2, dim=1)
        incoming = dtotal.index_select(0, bonds.target).mul_(bonds.count.to(dtotal.dtype)[:, None])
        incoming.mul_(gate)
        torch.mul(incoming, slope, out=dcore)
        incoming.mul_(core)
        torch.addcmul(incoming, incoming, gate, value=-1.0, out=dgate)
        return dz, None
