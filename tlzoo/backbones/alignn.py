"""ALIGNN: atomistic line graph neural network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.backbones.backbone import Backbone, Layer
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.nn import Pooling
from tlzoo.nn.edge_gated_conv import EdgeGatedConv
from tlzoo.nn.edge_linear import linear
from tlzoo.nn.edges import Edges
from tlzoo.nn.element_embedding import ElementEmbedding
from tlzoo.nn.equal_rows import Equal
from tlzoo.nn.norm import BatchNorm, LayerNorm, Norm, activated, norm_layer
from tlzoo.nn.pooling import Pool
from tlzoo.nn.radial import Gaussians
from tlzoo.nn.rows import Rows, crystals

RADIAL, ANGULAR, HIDDEN = 80, 40, 64


class ALIGNN(Backbone):
    """Atomistic line graph neural network of Choudhary & DeCost (2021).

    Each of the first layers updates atoms and bonds on the crystal graph, then bonds and angles on its
    line graph; the others update atoms and bonds only. Distances are expanded on 80 Gaussians (0 … 8 Å),
    cosines of angles on 40. Angles are between any two bonds of an atom, a bond and itself included.

    Nothing reads the edges after the last layer on either graph, so there they are not updated and have
    no normalisation: weights of the authors' package fit but for these.

    Args:
        dim: Length of the vectors and of the embedding.
        alignn_layers: Number of layers on both graphs, of bonds and of angles.
        gcn_layers: Number of further layers on the graph of bonds.
        pooling: From atoms to crystals: ``mean`` (as published), ``sum``, ``max`` or ``attention``.
        norm: ``batch`` (as published) or ``layer`` normalisation.
        features: ``elements``: the 92 published features; ``learned``: a free vector for each element.
        dropout: Fraction of the embedding that is set to zero during training.
        graph: Which neighbours count as bonds; the reverse of each bond is added, as published.

    Raises:
        UserError: An argument is out of range.

    References:
        npj Comput. Mater. 7, 185 (2021).
    """

    stackable = True

    def __init__(
        self,
        *,
        dim: int = 256,
        alignn_layers: int = 4,
        gcn_layers: int = 4,
        pooling: Pooling = "mean",
        norm: Norm = "batch",
        features: Literal["elements", "learned"] = "elements",
        dropout: float = 0.0,
        graph: GraphOptions = GraphOptions(symmetric=True, angles=True),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if dim < 1 or alignn_layers < 0 or gcn_layers < 1:
            raise UserError(
                "dim and gcn_layers must be at least 1 and alignn_layers not negative, "
                f"got {dim=}, {alignn_layers=}, {gcn_layers=}"
            )
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.dim, self.alignn_layers, self.gcn_layers, self.pooling = dim, alignn_layers, gcn_layers, pooling
        self.norm, self.features, self.dropout = norm, features, dropout
        self.graph = replace(graph, angles=alignn_layers > 0)
        self.out_dim = dim
        self.atoms = Embedding(ElementEmbedding(features=features, dim=dim), norm_layer(norm, dim), nn.SiLU())
        self.bonds = Embedding(
            Gaussians(low=0.0, high=8.0, size=RADIAL, gamma=(RADIAL - 1) / 8.0),
            *_mlp(RADIAL, HIDDEN, norm),
            *_mlp(HIDDEN, dim, norm),
        )
        self.angles = Embedding()
        if alignn_layers:
            self.angles.append(Gaussians(low=-1.0, high=1.0, size=ANGULAR, gamma=(ANGULAR - 1) / 2.0))
            self.angles.extend([*_mlp(ANGULAR, HIDDEN, norm), *_mlp(HIDDEN, dim, norm)])
        self.twobody = nn.ModuleList(EdgeGatedConv(dim=dim, norm=norm) for _ in range(alignn_layers))
        self.threebody = nn.ModuleList(
            EdgeGatedConv(dim=dim, norm=norm, update_edges=i < alignn_layers - 1)
            for i in range(alignn_layers)
        )
        self.gcn = nn.ModuleList(
            EdgeGatedConv(dim=dim, norm=norm, update_edges=i < gcn_layers - 1) for i in range(gcn_layers)
        )
        self.pool = Pool(pooling, dim=dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Float[Tensor, "crystals dim"]:
        """Embed the crystals of a batch."""
        atoms = Rows.atoms(batch)
        bonds = Edges.of(batch[keys.EDGE_INDEX], batch[keys.BOND_COUNT], atoms.count, atoms.blocks)
        x = self.atoms(batch[keys.NUMBERS], atoms)
        lengths = Equal.of(batch[keys.BOND_LENGTH], bonds.rows)
        y = lengths.expand(self.bonds(lengths.values, lengths.rows))
        cosines = None
        if self.alignn_layers:
            angles = Edges.of(
                batch[keys.ANGLE_INDEX], batch[keys.ANGLE_COUNT], bonds.rows.count, bonds.rows.blocks
            )
            cosines = Equal.of(batch[keys.ANGLE_COSINE], angles.rows)
            z = self.angles(cosines.values, cosines.rows)
        for twobody, threebody in zip(self.twobody, self.threebody, strict=True):
            x, y = twobody(x, y, atoms, bonds)
            y, z = threebody(y, z, bonds.rows, angles, cosines)
            cosines = None
        for conv in self.gcn:
            x, y = conv(x, y, atoms, bonds)
        pooled: Tensor = self.drop(self.pool(x, batch[keys.BATCH], atoms.count, crystals(batch)))
        return pooled

    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """Name the parts: ``embed``, ``alignn.0.twobody``, ``alignn.0.threebody`` …, ``gcn.0`` …, ``pool``.

        ``pool`` is there only if it has parameters (attention).
        """
        groups: dict[str, Sequence[nn.Module]] = {"embed": [self.atoms, self.bonds, self.angles]}
        for i, (twobody, threebody) in enumerate(zip(self.twobody, self.threebody, strict=True)):
            groups[f"alignn.{i}.twobody"] = [twobody]
            groups[f"alignn.{i}.threebody"] = [threebody]
        groups.update({f"gcn.{i}": [conv] for i, conv in enumerate(self.gcn)})
        groups[f"gcn.{self.gcn_layers - 1}"] = [self.gcn[-1], self.drop]
        if self.pooling == "attention":
            groups["pool"] = [self.pool]
        return groups

    def layers(self) -> Mapping[str, Layer]:
        """Name the layers as their groups; ``alignn.0.threebody`` … are of bonds, the others of atoms."""
        layers = {"embed": Layer(self.atoms, "atoms", self.dim)}
        for i, (twobody, threebody) in enumerate(zip(self.twobody, self.threebody, strict=True)):
            layers[f"alignn.{i}.twobody"] = Layer(twobody, "atoms", self.dim)
            layers[f"alignn.{i}.threebody"] = Layer(threebody, "bonds", self.dim)
        return {**layers, **{f"gcn.{i}": Layer(conv, "atoms", self.dim) for i, conv in enumerate(self.gcn)}}


class Embedding(nn.Sequential):
    """Layers one after another; those that normalise or have weights are told what each row stands for.

    Each normalisation has an activation after it, and does its work, too.
    """

    def forward(self, x: Tensor, rows: Rows) -> Float[Tensor, "rows dim"]:  # type: ignore[override]
        """Apply the layers."""
        for layer in self:
            if isinstance(layer, (BatchNorm, LayerNorm)):
                x = activated(x, layer, rows)
            elif isinstance(layer, ElementEmbedding):
                x = layer(x, rows)
            elif isinstance(layer, nn.Linear):
                x = linear(x, layer, rows)
            elif not isinstance(layer, nn.SiLU):
                x = layer(x)
        return x


def _mlp(in_dim: int, out_dim: int, norm: Norm) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Linear(in_dim, out_dim), norm_layer(norm, out_dim), nn.SiLU()
