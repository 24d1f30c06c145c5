"""Convolutions with filters of the distance, as in SchNet (arXiv:1706.08566), as a plug-in of tlzoo."""

import torch
from torch import Tensor, nn

from tlzoo.backbones import Backbone
from tlzoo.backbones.backbone import Layer
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions


class Filter(nn.Module):
    """Add to each atom its neighbours, each multiplied with a learned function of its distance."""

    def __init__(self, dim: int, cutoff: float) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0, cutoff, 32), persistent=False)
        self.weight = nn.Sequential(nn.Linear(32, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.update = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, x: Tensor, batch) -> Tensor:
        (source, target), length = batch[keys.EDGE_INDEX], batch[keys.BOND_LENGTH]
        basis = torch.exp(-10 * (length[:, None] - self.centres).square())
        # equal bonds of an atom are one row with a count
        message = x.index_select(0, source) * self.weight(basis) * batch[keys.BOND_COUNT][:, None]
        return x + self.update(torch.zeros_like(x).index_add(0, target, message))


class FilterNet(Backbone):
    """From elements and distances to the mean over the atoms of a crystal.

    Args:
        dim: Length of an atom's vector and of the embedding.
        depth: Number of convolutions.
        cutoff: Radius in which the 12 nearest neighbours are bonds, in Å.
    """

    def __init__(self, *, dim: int = 64, depth: int = 3, cutoff: float = 6.0) -> None:
        super().__init__()
        self.dim, self.depth, self.cutoff = dim, depth, cutoff  # arguments are kept: they are stored
        self.graph, self.out_dim = GraphOptions(cutoff=cutoff), dim
        self.embed = nn.Embedding(119, dim)
        self.filters = nn.ModuleList(Filter(dim, cutoff) for _ in range(depth))

    def forward(self, batch) -> Tensor:
        x = self.embed(batch[keys.NUMBERS])
        for layer in self.filters:
            x = layer(x, batch)
        # equal atoms are one row with a count, too
        count, crystal = batch[keys.ATOM_COUNT][:, None], batch[keys.BATCH]
        total = x.new_zeros(batch[keys.NUM_CRYSTALS], self.dim).index_add(0, crystal, x * count)
        return total / x.new_zeros(len(total), 1).index_add(0, crystal, count)

    def groups(self) -> dict[str, list[nn.Module]]:
        return {"embed": [self.embed], **{f"filter.{i}": [f] for i, f in enumerate(self.filters)}}

    def layers(self) -> dict[str, Layer]:
        return {f"filter.{i}": Layer(f, "atoms", self.dim) for i, f in enumerate(self.filters)}
