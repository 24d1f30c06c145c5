"""The convolution of MomentNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tlzoo.nn.edge_linear import linear
from tlzoo.nn.edges import Edges
from tlzoo.nn.norm import Norm, norm_layer
from tlzoo.nn.rows import Rows
from tlzoo.nn.segment import sum_rows


@dataclass(frozen=True, eq=False)
class Directions:
    """Bonds with harmonics, twice: for sums over the bonds of an atom, and for what flows back.

    Attributes:
        bonds: The bonds.
        columns: Harmonics of degrees 0 to L, ``(L + 1)²``.
        rows: Bond of each item; items are sorted by target, then by harmonic, ``(bonds · columns,)``.
        starts: First item of each harmonic of each atom, and their number, ``(atoms · columns + 1,)``.
        weights: Harmonics in that order, ``(bonds · columns,)``.
        back: Row of the moments for each harmonic of each bond, ``(bonds · columns,)``.
        back_starts: First of these of each bond, and their number, ``(bonds + 1,)``.
        back_weights: Harmonics in that order, ``(bonds · columns,)``.
    """

    bonds: Edges
    columns: int
    rows: Int[Tensor, " items"]
    starts: Int[Tensor, " moments_plus_1"]
    weights: Float[Tensor, " items"]
    back: Int[Tensor, " items"]
    back_starts: Int[Tensor, " bonds_plus_1"]
    back_weights: Float[Tensor, " items"]

    @classmethod
    def of(cls, bonds: Edges, harmonics: Float[Tensor, "bonds harmonics"], scale: float) -> Directions:
        """Prepare bonds for the layers of a batch.

        Args:
            bonds: The bonds.
            harmonics: Harmonics of degrees 1 to L, added over equal bonds.
            scale: All harmonics are multiplied by this.
        """
        values = torch.cat([bonds.count[:, None].to(harmonics.dtype), harmonics], dim=1) * scale
        count, columns = values.shape
        column = torch.arange(columns, device=values.device)
        first = bonds.by_target[:-1]
        into = bonds.by_target.diff()
        starts = (first * columns)[:, None] + into[:, None] * column
        bond = torch.arange(count, device=values.device)
        place = starts.index_select(0, bonds.target) + (bond - first.index_select(0, bonds.target))[:, None]
        rows, weights = torch.empty_like(place.flatten()), torch.empty_like(values.flatten())
        rows[place.flatten()] = bond[:, None].expand_as(place).flatten()
        weights[place.flatten()] = values.flatten()
        end = starts.new_full((1,), count * columns)
        return cls(
            bonds=bonds,
            columns=columns,
            rows=rows,
            starts=torch.cat([starts.flatten(), end]),
            weights=weights,
            back=((bonds.target * columns)[:, None] + column).flatten(),
            back_starts=torch.arange(count + 1, device=values.device) * columns,
            back_weights=values.flatten(),
        )


class MomentConv(nn.Module):
    r"""Moments of the messages to an atom, their products that no rotation changes, and a small network.

    .. math::
        m_{ij} &= (W_r e_{ij}) \odot (W_s h_j) \\
        A_{i,lm} &= \sum_j m_{ij} Y_{lm}(\hat r_{ij}) \\
        B_i &= \Big[A_{i,0},\; \frac{|A_{i,l}|^2}{n_i},\; \frac{A_{i,1} A_{i,2} A_{i,1}}{n_i^2}\Big],
        \qquad n_i = \Big(1 + \sum_{l \geq 1} |A_{i,l}|^2\Big)^{1/2} \\
        h_i' &= h_i + W_o\, \mathrm{SiLU}\big(N(W_t h_i + W_B B_i)\big)

    channel by channel, with j the neighbours of i, each as often as it is counted. :math:`|A_l|^2` is a sum
    over pairs of neighbours of messages times the Legendre polynomial :math:`P_l` of the cosine between them:
    it sees angles at the cost of a sum over bonds. The triple product is there from degree 2 on.

    Args:
        dim: Length of an atom's vector.
        edge_dim: Length of a bond's vector.
        degree: Highest degree l.
        norm: Batch or layer normalisation.
    """

    def __init__(self, *, dim: int, edge_dim: int, degree: int, norm: Norm = "batch") -> None:
        super().__init__()
        self.degree = degree
        self.source = nn.Linear(dim, dim, bias=False)
        self.radial = nn.Linear(edge_dim, dim, bias=False)
        self.target = nn.Linear(dim, dim, bias=False)
        self.moments = nn.Linear((1 + degree + (degree > 1)) * dim, dim, bias=False)
        self.norm = norm_layer(norm, dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "atoms dim"],
        edge_attr: Float[Tensor, "bonds edge_dim"],
        atoms: Rows,
        directions: Directions,
    ) -> Float[Tensor, "atoms dim"]:
        """Update the atoms."""
        messages = linear(edge_attr, self.radial, directions.bonds.rows)
        moments = invariants(sum_moments(messages, linear(x, self.source, atoms), directions), self.degree)
        update = linear(x, self.target, atoms) + linear(moments, self.moments, atoms)
        return x + linear(F.silu(self.norm(update, atoms)), self.out, atoms)


def invariants(
    moments: Float[Tensor, "atoms columns dim"], degree: int
) -> Float[Tensor, "atoms invariants_dim"]:
    """Return the products of moments that no rotation changes, one kind after another."""
    squares = moments.square()
    powers = [squares[:, each**2 : (each + 1) ** 2].sum(1) for each in range(1, degree + 1)]
    scale = (1 + torch.stack(powers).sum(0)).rsqrt()
    found = [moments[:, 0], *(power * scale for power in powers)]
    if degree > 1:
        x, y, z = moments[:, 1:4].unbind(1)
        xy, yz, zz, xz, xx_yy = moments[:, 4:9].unbind(1)
        x2, y2, z2 = squares[:, 1:4].unbind(1)
        mixed = 3**0.5 * (x * y * xy + y * z * yz + x * z * xz + (x2 - y2) * (0.5 * xx_yy))
        found.append((mixed + (z2 - 0.5 * (x2 + y2)) * zz) * scale.square())
    return torch.cat(found, dim=1)


def sum_moments(
    radial: Float[Tensor, "bonds dim"], source: Float[Tensor, "atoms dim"], directions: Directions
) -> Float[Tensor, "atoms columns dim"]:
    """Return the moments of ``radial * source[j]`` over the bonds j → i."""
    result: Tensor = _SumMoments.apply(radial, source, directions)  # type: ignore[no-untyped-call]
    return result


class _SumMoments(torch.autograd.Function):
    """Keeps its arguments alone."""

    @staticmethod
    def forward(ctx: Any, radial: Tensor, source: Tensor, directions: Directions) -> Tensor:  # noqa: ANN401 (torch has no type)
        ctx.directions = directions
        ctx.save_for_backward(radial, source)
        message = source.index_select(0, directions.bonds.source).mul_(radial)
        weights = directions.weights.to(message.dtype)
        moments = sum_rows(message, directions.rows, directions.starts, weights)
        return moments.view(len(source), directions.columns, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dmoments: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401 (torch has no type)
        radial, source = ctx.saved_tensors
        directions: Directions = ctx.directions
        bonds = directions.bonds
        weights = directions.back_weights.to(dmoments.dtype)
        flat = dmoments.reshape(-1, dmoments.shape[2])
        dmessage = sum_rows(flat, directions.back, directions.back_starts, weights)
        dsource = sum_rows(dmessage * radial, bonds.order, bonds.by_source)
        return dmessage.mul_(source.index_select(0, bonds.source)), dsource, None
