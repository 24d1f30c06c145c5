"""The convolution of ALIGNN."""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tlzoo.nn.norm import Norm, norm_layer
from tlzoo.nn.segment import gather, segment_sum


class EdgeGatedConv(nn.Module):
    r"""Edge-gated graph convolution, eqs. 1 to 4 of Choudhary & DeCost (2021).

    .. math::
        m_{ij} &= W_\mathrm{src} x_j + W_\mathrm{dst} x_i + W_\mathrm{edge} y_{ij} \\
        h_i &= \frac{\sum_j \sigma(m_{ij}) \odot W_\mathrm{msg} x_j}{\sum_j \sigma(m_{ij}) + 10^{-6}} \\
        x_i' &= x_i + \mathrm{SiLU}\big(N(W_\mathrm{self} x_i + h_i)\big) \\
        y_{ij}' &= y_{ij} + \mathrm{SiLU}\big(N(m_{ij})\big)

    with j → i the edges into node i. Nodes are atoms and edges bonds, or nodes are bonds and edges angles.
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
        source: Int[Tensor, " edges"],
        target: Int[Tensor, " edges"],
        start: Int[Tensor, " nodes_plus_1"],
    ) -> tuple[Float[Tensor, "nodes dim"], Float[Tensor, "edges dim"]]:
        """Update nodes and edges; ``target`` is ascending and ``start`` are its pointers.

        Without ``update_edges`` the edges come back as they were.
        """
        m = self.edge_gate(y) + gather(self.dst_gate(x), target, start) + gather(self.src_gate(x), source)
        gate = m.sigmoid()
        total = segment_sum(gate * gather(self.dst_update(x), source), target, start)
        message = total / (segment_sum(gate, target, start) + 1e-6)
        x = x + F.silu(self.bn_nodes(self.src_update(x) + message))
        if self.bn_edges is not None:
            y = y + F.silu(self.bn_edges(m))
        return x, y
