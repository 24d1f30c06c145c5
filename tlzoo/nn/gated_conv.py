"""The convolution of CGCNN."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tlzoo.nn.norm import Norm, norm_layer
from tlzoo.nn.segment import gather, segment_sum


class GatedConv(nn.Module):
    r"""Gated sum over the bonds of each atom, eq. 5 of Xie & Grossman (2018) with the norms of their code.

    .. math::
        z_{ij} &= N_1\big(W_t h_i + W_s h_j + W_e e_{ij} + b\big) = [f_{ij}, c_{ij}] \\
        h_i' &= g\Big(h_i + N_2\big(\sum_j \sigma(f_{ij}) \odot g(c_{ij})\big)\Big)

    with g = softplus, j the neighbours of i. The linear layer of the paper acts on the concatenation
    [h_i, h_j, e_ij]; here its three parts act on atoms, atoms and bonds: the same numbers, fewer operations.

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
        edge_index: Int[Tensor, "2 bonds"],
        start: Int[Tensor, " atoms_plus_1"],
        edge_attr: Float[Tensor, "bonds edge_dim"],
    ) -> Float[Tensor, "atoms dim"]:
        """Update the atoms; ``start`` are the pointers of the sorted row 1 of ``edge_index``."""
        source, target = edge_index
        z = self.edge(edge_attr) + gather(self.target(x), target, start) + gather(self.source(x), source)
        gate, core = self.norm_gate(z).chunk(2, dim=1)
        total = segment_sum(gate.sigmoid() * F.softplus(core), target, start)
        return F.softplus(x + self.norm_sum(total))
