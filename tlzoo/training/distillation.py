"""A student that learns what a teacher says of atoms."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.backbones.backbone import Backbone, Layer
from tlzoo.errors import UserError, no_such
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.heads.head import Head, full, masked_means
from tlzoo.nn.edges import pointers
from tlzoo.nn.segment import segment_sum


class Part(NamedTuple):
    """What a batch says of how well a teacher is understood.

    Attributes:
        error: Mean over the crystals that the teacher has seen; 0 if there is none.
        crystals: How many these are.
    """

    error: Tensor
    crystals: Tensor


class Distillation(nn.Module):
    r"""Learns the teacher's numbers of each atom from those of a layer of the student, by a linear map.

    With the student's states h_a of the atoms of a crystal, the teacher's t_a, of d numbers, and n atoms,

    .. math::
        E = \frac{1}{n} \sum_a \frac{1}{d} \lVert W h_a + b - t_a \rVert^2,
        \qquad L = L_\mathrm{head} + w \langle E \rangle

    where the mean is over the crystals of a batch that the teacher has seen: each atom of a cell counts once,
    and crystals count equally. Of numbers of unit variance E is the part of it that is not explained. The map
    trains with the student and is no part of the model that is exported.

    Args:
        weight: Weight w of the teacher in the loss.
        layer: Layer of the student to compare, one of atoms; by default the last one.

    References:
        Hinton, Vinyals & Dean, arXiv:1503.02531; Romero et al. (FitNets), ICLR 2015, arXiv:1412.6550, for
        layers as targets.
    """

    def __init__(self, *, weight: float = 1.0, layer: str | None = None) -> None:
        super().__init__()
        if not 0 < weight < float("inf"):
            raise UserError(f"the weight of the teacher must be positive, got {weight}")
        self.weight, self.layer = weight, layer
        self.map: nn.Linear | None = None

    def bind(self, backbone: Backbone, dim: int) -> None:
        """Make the map from a layer to so many numbers of the teacher, once.

        Raises:
            UserError: The backbone has no such layer, or none of atoms.
        """
        width = self.of(backbone).dim
        if self.map is None:
            self.map = nn.Linear(width, dim)

    def of(self, backbone: Backbone) -> Layer:
        """Return the layer whose states are compared.

        Raises:
            UserError: The backbone has no such layer, or none of atoms.
        """
        there = backbone.atom_layers()
        if not there:
            raise UserError(f"{type(backbone).__name__} has no layer of atoms, which a teacher speaks of")
        if self.layer is not None and self.layer not in there:
            raise UserError(no_such("layer of atoms", self.layer, there))
        return there[self.layer or list(there)[-1]]

    def forward(self, backbone: Backbone, head: Head, batch: Batch) -> Float[Tensor, "crystals columns"]:
        """Return the raw output of a head; beside it the error, and whether the teacher knows the crystal."""
        states: list[Tensor] = []
        hook = self.of(backbone).module.register_forward_hook(
            lambda _, __, out: states.append(out[0] if isinstance(out, tuple) else out)
        )
        with hook:
            raw = full(head(backbone(batch)))
        assert self.map is not None
        target, index = batch[keys.ATOM_TARGETS], batch[keys.BATCH]
        known = ~target[:, :1].isnan()
        errors = torch.where(known, full(self.map(states[0])) - target.nan_to_num(), 0.0).square()
        count = batch[keys.ATOM_COUNT][:, None]
        columns = torch.cat(
            [errors.mean(dim=1, keepdim=True), known.to(errors.dtype), torch.ones_like(count)], 1
        )
        sums = segment_sum(columns * count, index, pointers(index, batch[keys.NUM_CRYSTALS]))
        return torch.cat([raw, sums[:, :2] / sums[:, 2:]], dim=1)

    @staticmethod
    def parted(output: Tensor) -> tuple[Tensor, Part]:
        """Take what :meth:`forward` returned apart."""
        raw, error, known = output[:, :-2], output[:, -2:-1], output[:, -1:] > 0
        means, counts = masked_means(error, known)
        return raw, Part(means[0], counts[0])
