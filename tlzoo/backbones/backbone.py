"""What every backbone promises."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.descriptors.suitability import Options
from tlzoo.graphs.batch import Batch


class Layer(NamedTuple):
    """A layer of a backbone whose output can be read.

    Attributes:
        module: The module. Its output is that of the layer, or a tuple that begins with it.
        axis: What a row of the output belongs to.
        dim: Length of a row.
    """

    module: nn.Module
    axis: Literal["atoms", "bonds", "crystals"]
    dim: int


class Backbone(nn.Module, ABC):
    """Base class of networks that turn a batch of crystals into one embedding per crystal.

    Hyper-parameters are keyword-only arguments of plain types, kept as attributes of the same name: a
    backbone is described by its class and the arguments of its constructor.

    Attributes:
        graph: What the backbone reads of a crystal: options of a graph, or of descriptors. The data module
            asks for them, and checkpoints store them.
        out_dim: Length of an embedding.
        cpu_rows: Rows (angles, otherwise bonds, otherwise crystals) to compute at a time on a CPU.
        stackable: Whether its layers can compute several networks at once (:mod:`tlzoo.nn.stacked`).
        pretrained: Whether its weights come from an earlier training, near which fine-tuning may keep them.
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
        """Name the groups of layers that freezing strategies refer to, from input to output.

        Every parameter and buffer belongs to exactly one group.
        """

    @abstractmethod
    def layers(self) -> Mapping[str, Layer]:
        """Name the layers whose output can be read, from input to output."""

    def state_layers(self) -> Mapping[str, Layer]:
        """Name the layers of atoms whose statistics make up ``states``: more than the embedding tells."""
        return self.atom_layers()

    def atom_layers(self) -> Mapping[str, Layer]:
        """Name the layers of atoms, from input to output."""
        return {name: layer for name, layer in self.layers().items() if layer.axis == "atoms"}

    @property
    def fitted(self) -> bool:
        """Whether nothing needs to be fitted before training; see :meth:`fit`."""
        return True

    def fit(self, batches: Iterable[Batch]) -> None:
        """Fit the standardisation of the inputs to the training part.

        Called only while ``fitted`` is false: a trained backbone keeps what it was trained with.
        """
