"""A multilayer perceptron on descriptors of composition and structure."""

from collections.abc import Iterable, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.backbones.backbone import Backbone, Layer
from tlzoo.descriptors.descriptor_chunk import names
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.nn.norm import Norm, norm_layer
from tlzoo.nn.rows import Rows
from tlzoo.nn.standardise import Standardise


class DescriptorMLP(Backbone):
    r"""Multilayer perceptron on 290 numbers of the composition and 62 of the structure.

    With the standardised descriptors :math:`h_0`, fitted on the training part alone,

    .. math::
        h_{k+1} = \mathrm{dropout}\big(\mathrm{SiLU}(N(W_k h_k + b_k))\big)

    The descriptors of the composition are those of Ju et al.; what a transfer reads off the layers of such
    a network is their method.

    Args:
        dim: Width of the layers and length of the embedding.
        depth: Number of layers.
        composition: Whether to use descriptors of the composition.
        structure: Whether to use descriptors of the structure.
        norm: ``batch`` or ``layer`` normalisation.
        dropout: Fraction of the values of each layer that are set to zero during training.

    Raises:
        UserError: An argument is out of range.

    References:
        Ju et al., Phys. Rev. Materials 5, 053801 (2021).
    """

    def __init__(
        self,
        *,
        dim: int = 128,
        depth: int = 3,
        composition: bool = True,
        structure: bool = True,
        norm: Norm = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim < 1 or depth < 1:
            raise UserError(f"dim and depth must be at least 1, got {dim=}, {depth=}")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.dim, self.depth, self.norm, self.dropout = dim, depth, norm, dropout
        self.composition, self.structure = composition, structure
        self.graph = DescriptorOptions(composition=composition, structure=structure)
        self.out_dim = dim
        size = len(names(self.graph))
        self.standardise = Standardise(dim=size)
        self.blocks = nn.ModuleList(
            Block(size if i == 0 else dim, dim, norm=norm, dropout=dropout) for i in range(depth)
        )

    def forward(self, batch: Batch) -> Float[Tensor, "crystals dim"]:
        """Embed the crystals of a batch."""
        x = self.standardise(batch[keys.DESCRIPTORS])
        rows = Rows.of(x.new_ones(len(x)))
        for block in self.blocks:
            x = block(x, rows)
        # mixed precision ends with the backbone, as pooling ends it in graph networks
        result: Tensor = x.to(batch[keys.DESCRIPTORS].dtype)
        return result

    @property
    def fitted(self) -> bool:
        """Whether the descriptors' mean and standard deviation are known."""
        return self.standardise.fitted

    def fit(self, batches: Iterable[Batch]) -> None:
        """Take mean and standard deviation of the descriptors from the training part."""
        self.standardise.fit(batch[keys.DESCRIPTORS] for batch in batches)

    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """Name the parts: ``layer.0``, with the standardisation, ``layer.1`` …."""
        groups: dict[str, Sequence[nn.Module]] = {
            f"layer.{i}": [block] for i, block in enumerate(self.blocks)
        }
        groups["layer.0"] = [self.standardise, self.blocks[0]]
        return groups

    def layers(self) -> Mapping[str, Layer]:
        """Name the layers: ``descriptors``, standardised, then ``layer.0`` …."""
        layers = {f"layer.{i}": Layer(block, "crystals", self.dim) for i, block in enumerate(self.blocks)}
        inputs = Layer(self.standardise, "crystals", len(self.standardise.mean))
        return {"descriptors": inputs, **layers}


class Block(nn.Module):
    """Linear layer, normalisation, SiLU, dropout."""

    def __init__(self, in_dim: int, out_dim: int, *, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.norm = norm_layer(norm, out_dim)
        self.activation = nn.SiLU()
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "crystals in_dim"], rows: Rows) -> Float[Tensor, "crystals out_dim"]:
        """Apply the layer."""
        result: Tensor = self.drop(self.activation(self.norm(self.linear(x), rows)))
        return result
