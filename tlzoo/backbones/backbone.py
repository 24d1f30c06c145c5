"""What every backbone promises."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.descriptors.suitability import Options
from tlzoo.graphs.batch import Batch


class Layer(NamedTuple):
    """A part of a backbone whose output can be read off.

    Attributes:
        module: The part. Its output is the layer's, or begins with it.
        axis: What the output has one row for.
        dim: Length of a row.
    """

    module: nn.Module
    axis: Literal["atoms", "bonds", "crystals"]
    dim: int


class Backbone(nn.Module, ABC):
    """A network from a batch of crystals to one embedding per crystal.

    Hyper-parameters are keyword-only, of plain types, and kept as attributes of the same name, so that
    a backbone can be described by its class and its constructor's arguments.

    Attributes:
        graph: What this backbone reads, a graph or descriptors; the data module asks for it, checkpoints
            carry it.
        out_dim: Length of an embedding.
        cpu_rows: Rows (angles, bonds without angles, or crystals) that a CPU computes at a time.
        stackable: Whether its layers compute several networks at once (:mod:`tlzoo.nn.stacked`).
        pretrained: Whether its weights have been learned before: a start that fine-tuning may stay near.
    """

    graph: Options
    out_dim: int
    cpu_rows: int = 50_000
    stackable = False
    pretrained = False

    @abstractmethod
    def forward(self, batch: Batch) -> Float[Tensor, "crystals dim"]:
        """Embed the crystals of a batch (fields: :mod:`tlzoo.graphs.keys`)."""

    @abstractmethod
    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """Name the parts that freezing strategies speak of, from input to output.

        Every parameter and buffer belongs to exactly one group.
        """

    @abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """Name the layers whose activations can be read off, from input to output."""

    def state_layers(self) -> Mapping[str, Layer]:
        """Name the layers of atoms whose statistics, together, say more of a crystal than the embedding."""
        return self.atom_layers()

    def atom_layers(self) -> Mapping[str, Layer]:
        """Name the layers of atoms, from input to output."""
        return {name: layer for name, layer in self.layers().items() if layer.axis == "atoms"}

    @property
    def fitted(self) -> bool:
        """Whether there is nothing to fit before training; see :meth:`fit`."""
        return True

    def fit(self, batches: Iterable[Batch]) -> None:
        """Take from the training part, and nothing else, what inputs are standardised with.

        A trained backbone keeps what it was trained with: this is only called where ``fitted`` is false.
        """
