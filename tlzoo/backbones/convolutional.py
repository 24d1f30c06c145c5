"""What networks have in common that are an embedding of elements, some convolutions and a pooling."""

from collections.abc import Mapping, Sequence

from torch import nn

from tlzoo.backbones.backbone import Backbone, Layer
from tlzoo.nn import AnyPooling


class Convolutional(Backbone):
    """Elements become vectors, convolutions update them, and they are pooled.

    Attributes:
        dim: Length of an atom's vector.
        depth: Number of convolutions.
        pooling: From atoms to crystals.
        embed: From atomic numbers to vectors.
        basis: From bond lengths to numbers.
        convs: The convolutions.
        pool: From atoms to crystals.
        drop: Dropout of the embedding.
    """

    stackable = True
    dim: int
    depth: int
    pooling: AnyPooling
    embed: nn.Module
    basis: nn.Module
    convs: nn.ModuleList
    pool: nn.Module
    drop: nn.Module

    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """Name the parts: ``embed``, ``conv.0`` …, and ``pool`` if it has parameters."""
        groups: dict[str, Sequence[nn.Module]] = {"embed": [self.embed, self.basis]}
        groups.update({f"conv.{i}": [conv] for i, conv in enumerate(self.convs)})
        groups[f"conv.{self.depth - 1}"] = [self.convs[-1], self.drop]
        if self.pooling == "attention":
            groups["pool"] = [self.pool]
        return groups

    def layers(self) -> Mapping[str, Layer]:
        """Name the layers: ``embed``, then ``conv.0`` …."""
        convs = {f"conv.{i}": Layer(conv, "atoms", self.dim) for i, conv in enumerate(self.convs)}
        return {"embed": Layer(self.embed, "atoms", self.dim), **convs}
