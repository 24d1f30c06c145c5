"""What every backbone promises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Data

from tlzoo.graphs.options import GraphOptions


class Backbone(nn.Module, ABC):
    """A network from a batch of crystals to one embedding per crystal.

    Hyper-parameters are keyword-only, of plain types, and kept as attributes of the same name, so that
    a backbone can be described by its class and its constructor's arguments.

    Attributes:
        graph: The graph this backbone reads; the data module asks for it, checkpoints carry it.
        out_dim: Length of an embedding.
    """

    graph: GraphOptions
    out_dim: int

    @abstractmethod
    def forward(self, batch: Data) -> Float[Tensor, "crystals dim"]:
        """Embed the crystals of a batch (fields: :mod:`tlzoo.keys`)."""

    @abstractmethod
    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """Name the parts that freezing strategies speak of, from input to output.

        Every parameter and buffer belongs to exactly one group.
        """
