"""A gated convolution with batch statistics, between its matrix products: what torch does of it, by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tlzoo.nn.edges import Edges
from tlzoo.nn.norm import normalised, normalised_backward
from tlzoo.nn.rows import Rows
from tlzoo.nn.segment import sum_rows


def forward(
    x: Tensor, both: Tensor, z: Tensor, norms: Sequence[Tensor], atoms: Rows, bonds: Edges, eps: float
) -> tuple[Tensor, ...]:
    """Go from the products to the updated atoms, without a derivative; ``z`` loses its mean.

    Args:
        x: The atoms, ``(atoms, dim)``.
        both: What goes from each atom to bonds as their target and as their source, ``(2 atoms, 2 dim)``.
        z: What goes from the vector of each bond to it, ``(bonds, 2 dim)``.
        norms: Weight and bias of the norm of the gates, ``(*networks, 2 dim)``, and of that of the sums.
        atoms: The atoms.
        bonds: The bonds.
        eps: Of both norms.

    Returns:
        The atoms after and before the last activation, the gates, the cores, the sums less their mean; and
        mean, variance and inverse standard deviation of the gates and the sums, ``(*networks, 9 dim)``.
    """
    dim = x.shape[1]
    gate_weight, gate_bias, sum_weight, sum_bias = norms
    z.add_(F.embedding_bag(bonds.pairs, both, mode="sum"))
    gates, *of_gates = normalised(z, gate_weight, gate_bias, bonds.rows, eps)
    # of a half as it lies, softplus takes twice as long
    core = F.softplus(gates[:, dim:].contiguous())
    gates.sigmoid_()  # of the gate, and of the core the derivative of softplus
    total = sum_rows(gates[:, :dim] * core, bonds.each, bonds.by_target, bonds.count.to(z.dtype))
    before, *of_sums = normalised(total, sum_weight, sum_bias, atoms, eps)
    before.add_(x)
    return F.softplus(before), before, gates, core, total, torch.cat([*of_gates, *of_sums], dim=-1)


def backward(
    dy: Tensor, saved: Sequence[Tensor], atoms: Rows, bonds: Edges
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return derivatives.

    Args:
        dy: That by the result.
        saved: Weights of the norms, ``z``, and what :func:`forward` returned but for the result.
        atoms: The atoms.
        bonds: The bonds.

    Returns:
        Those by ``x``, ``z`` and ``both``, as ``(atoms, 4 dim)``; and by weight and bias of the norm of the
        gates, the bias of the bonds, weight and bias of the norm of the sums, ``(*networks, 8 dim)``.
    """
    gate_weight, sum_weight, z, gates, core, total, before, statistics = saved
    dim = before.shape[1]
    gate_inverse, sum_inverse = statistics[..., 4 * dim : 6 * dim], statistics[..., 8 * dim :]
    dx = before.sigmoid().mul_(dy)
    dtotal = dx.clone()
    by_sums = normalised_backward(dtotal, total, sum_weight, sum_inverse, atoms)
    dz = gate_backward(dtotal, gates, core, bonds)
    by_gates = normalised_backward(dz, z, gate_weight, gate_inverse, bonds.rows)
    dbias = dz.sum(0) if bonds.rows.blocks is None else bonds.rows.blocks.sums(dz)
    to_target = sum_rows(dz, bonds.each, bonds.by_target)
    dboth = torch.cat([to_target, sum_rows(dz, bonds.order, bonds.by_source)], dim=1)
    return dx, dz, dboth, torch.cat([*by_gates, dbias, *by_sums], dim=-1)


def gate_backward(dtotal: Tensor, gates: Tensor, core: Tensor, bonds: Edges) -> Tensor:
    """Return the derivative by what gates and cores were computed of, from that by the sums."""
    gate, slope = gates.chunk(2, dim=1)
    dz = torch.empty_like(gates)
    dgate, dcore = dz.chunk(2, dim=1)
    incoming = dtotal.index_select(0, bonds.target).mul_(bonds.count.to(dtotal.dtype)[:, None])
    incoming.mul_(gate)
    torch.mul(incoming, slope, out=dcore)
    incoming.mul_(core)
    torch.addcmul(incoming, incoming, gate, value=-1.0, out=dgate)
    return dz
