"""CGCNN: crystal graph convolutional neural network."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.backbones.convolutional import Convolutional
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.nn import Pooling
from tlzoo.nn.edges import Edges
from tlzoo.nn.element_embedding import ElementEmbedding
from tlzoo.nn.gated_conv import GatedConv
from tlzoo.nn.norm import Norm
from tlzoo.nn.pooling import Pool
from tlzoo.nn.radial import Gaussians
from tlzoo.nn.rows import Rows, crystals

EDGE_DIM = 41  # 0, 0.2 … 8 Å


class CGCNN(Convolutional):
    """Crystal graph convolutional neural network of Xie & Grossman (2018).

    Element features, gated convolutions over neighbours with Gaussians of the distance (0 … 8 Å, step
    and width 0.2 Å), pooling. The embedding is the pooled vector itself; the softplus and the layers that
    follow in the authors' code are the head's.

    Args:
        dim: Length of an atom's vector and of the embedding.
        depth: Number of convolutions.
        pooling: From atoms to crystals: ``mean`` (as published), ``sum``, ``max`` or ``attention``.
        norm: ``batch`` (as published) or ``layer`` normalisation.
        features: ``elements``: the 92 published features; ``learned``: a free vector for each element.
        dropout: Fraction of the embedding that is set to zero during training.
        graph: Which neighbours count as bonds.

    Raises:
        UserError: An argument is out of range.

    References:
        Phys. Rev. Lett. 120, 145301 (2018).
    """

    def __init__(
        self,
        *,
        dim: int = 64,
        depth: int = 3,
        pooling: Pooling = "mean",
        norm: Norm = "batch",
        features: Literal["elements", "learned"] = "elements",
        dropout: float = 0.0,
        graph: GraphOptions = GraphOptions(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if dim < 1 or depth < 1:
            raise UserError(f"dim and depth must be at least 1, got {dim=}, {depth=}")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.dim, self.depth, self.pooling, self.norm = dim, depth, pooling, norm
        self.features, self.dropout, self.graph = features, dropout, graph
        self.out_dim = dim
        self.embed = ElementEmbedding(features=features, dim=dim)
        self.basis = Gaussians(low=0.0, high=8.0, size=EDGE_DIM, gamma=0.2**-2)
        self.convs = nn.ModuleList(GatedConv(dim=dim, edge_dim=EDGE_DIM, norm=norm) for _ in range(depth))
        self.pool = Pool(pooling, dim=dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Float[Tensor, "crystals dim"]:
        """Embed the crystals of a batch."""
        atoms = Rows.atoms(batch)
        x = self.embed(batch[keys.NUMBERS], atoms)
        bonds = Edges.of(batch[keys.EDGE_INDEX], batch[keys.BOND_COUNT], atoms.count, atoms.blocks)
        edge_attr = self.basis(batch[keys.BOND_LENGTH])
        for conv in self.convs:
            x = conv(x, edge_attr, atoms, bonds)
        pooled: Tensor = self.drop(self.pool(x, batch[keys.BATCH], atoms.count, crystals(batch)))
        return pooled
