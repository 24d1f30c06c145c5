"""MomentNet: three-body information without a line graph."""

import dataclasses
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.backbones.convolutional import Convolutional
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.harmonics import HIGHEST
from tlzoo.nn import Pooling
from tlzoo.nn.edges import Edges
from tlzoo.nn.element_embedding import ElementEmbedding
from tlzoo.nn.moment_conv import Directions, MomentConv
from tlzoo.nn.norm import Norm
from tlzoo.nn.pooling import Pool
from tlzoo.nn.radial import Gaussians
from tlzoo.nn.rows import Rows, crystals

EDGE_DIM = 41  # 0, 0.2 … 8 Å, as CGCNN


class MomentNet(Convolutional):
    """Moments of messages over the directions of bonds, and their invariant products.

    Each layer sums the messages to an atom, weighted by the spherical harmonics of the bonds' directions, and
    hands on products of these moments that no rotation changes (:class:`tlzoo.nn.moment_conv.MomentConv`).
    These are the polynomials of moment tensor potentials and of the atomic cluster expansion, with as many
    channels as the atoms' vectors have and products within a channel alone, as in its tensor-reduced form;
    messages are products of a neighbour's vector and a function of the distance, as in PaiNN. The embedding
    is the pooled last state.

    Args:
        dim: Length of an atom's vector and of the embedding.
        depth: Number of convolutions.
        degree: Highest degree of the harmonics, 1 to 3.
        pooling: From atoms to crystals: ``mean``, ``sum``, ``max`` or ``attention``.
        norm: ``batch`` or ``layer`` normalisation.
        features: ``elements``: the 92 features of CGCNN; ``learned``: a free vector for each element.
        dropout: Fraction of the embedding that is set to zero during training.
        graph: Which neighbours count as bonds. Its degree is set to the one above.

    Raises:
        UserError: An argument is out of range.

    References:
        Shapeev, Multiscale Model. Simul. 14, 1153 (2016); Drautz, Phys. Rev. B 99, 014104 (2019); Darby et
        al., Phys. Rev. Lett. 131, 028001 (2023); Schütt, Unke & Gastegger, ICML (2021), arXiv:2102.03150.
    """

    def __init__(
        self,
        *,
        dim: int = 128,
        depth: int = 3,
        degree: int = 2,
        pooling: Pooling = "mean",
        norm: Norm = "batch",
        features: Literal["elements", "learned"] = "elements",
        dropout: float = 0.0,
        graph: GraphOptions = GraphOptions(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if dim < 1 or depth < 1:
            raise UserError(f"dim and depth must be at least 1, got {dim=}, {depth=}")
        if not 1 <= degree <= HIGHEST:
            raise UserError(f"degree must be from 1 to {HIGHEST}, got {degree}")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.dim, self.depth, self.degree, self.pooling, self.norm = dim, depth, degree, pooling, norm
        self.features, self.dropout = features, dropout
        self.graph: GraphOptions = dataclasses.replace(graph, degree=degree)
        self.out_dim = dim
        self.embed = ElementEmbedding(features=features, dim=dim)
        spacing = graph.cutoff / (EDGE_DIM - 1)
        self.basis = Gaussians(low=0.0, high=graph.cutoff, size=EDGE_DIM, gamma=spacing**-2)
        self.convs = nn.ModuleList(
            MomentConv(dim=dim, edge_dim=EDGE_DIM, degree=degree, norm=norm) for _ in range(depth)
        )
        self.pool = Pool(pooling, dim=dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Float[Tensor, "crystals dim"]:
        """Embed the crystals of a batch."""
        atoms = Rows.atoms(batch)
        x = self.embed(batch[keys.NUMBERS], atoms)
        bonds = Edges.of(batch[keys.EDGE_INDEX], batch[keys.BOND_COUNT], atoms.count, atoms.blocks)
        # moments of messages without order are as long as one message
        directions = Directions.of(bonds, batch[keys.BOND_HARMONICS], self.graph.neighbours**-0.5)
        length = batch[keys.BOND_LENGTH]
        edge_attr = self.basis(length) * envelope(length, self.graph.cutoff)[:, None]
        for conv in self.convs:
            x = conv(x, edge_attr, atoms, directions)
        pooled: Tensor = self.drop(self.pool(x, batch[keys.BATCH], atoms.count, crystals(batch)))
        return pooled


def envelope(length: Float[Tensor, " bonds"], cutoff: float) -> Float[Tensor, " bonds"]:
    """Return half a cosine from 1 at 0 to 0 at the cut-off (Å) and beyond."""
    return 0.5 * (1 + torch.cos(length.clamp(max=cutoff) * (math.pi / cutoff)))
