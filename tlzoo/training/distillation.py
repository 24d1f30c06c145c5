"""A student that learns what a teacher says of atoms."""

from collections.abc import Sequence
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
from tlzoo.nn.outputs import outputs
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
    r"""Learns the teacher's numbers of each atom from those of the student, by a linear map.

    With the student's states h_a of the atoms of a crystal, the teacher's t_a, of d numbers, and n atoms,

    .. math::
        E = \frac{1}{n} \sum_a \sum_k c_k \, (W h_a + b - t_a)_k^2,
        \qquad c_k = \lambda_k^p \, \Big/ \sum_l \lambda_l^p,
        \qquad L = L_\mathrm{head} + w \langle E \rangle

    where the mean is over the crystals of a batch that the teacher has seen: each atom of a cell counts once,
    and crystals count equally. Of numbers of unit variance E is the part of it that is not explained. The map
    trains with the student and is no part of the model that is exported.

    :math:`\lambda_k` is the variance of a principal component before it was whitened, 1 of numbers that were
    not. With p = 0 all components count equally; with p = 1 each as much as it has in the teacher, so that
    many can be kept: the student then learns the teacher's own numbers, each standardised.

    Args:
        weight: Weight w of the teacher in the loss.
        layer: Layer of the student to compare, one of atoms, or several side by side; the last one by
            default.
        components: How many of the teacher's numbers to learn, the first ones; by default all.
        power: Power p of the variances, from 0 to 1.

    References:
        Hinton, Vinyals & Dean, arXiv:1503.02531; Romero et al. (FitNets), ICLR 2015, arXiv:1412.6550, for
        layers as targets.
    """

    counts: Tensor

    def __init__(
        self,
        *,
        weight: float = 1.0,
        layer: str | Sequence[str] | None = None,
        components: int | None = None,
        power: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < weight < float("inf"):
            raise UserError(f"the weight of the teacher must be positive, got {weight}")
        if not 0 <= power <= 1:
            raise UserError(f"the power of the variances must be from 0 to 1, got {power}")
        if components is not None and components < 1:
            raise UserError(f"the student must learn at least 1 component, got {components}")
        self.weight, self.components, self.power = weight, components, power
        self.layer = [layer] if isinstance(layer, str) else layer
        self.map: nn.Linear | None = None

    def bind(self, backbone: Backbone, variances: Float[Tensor, " numbers"]) -> None:
        """Make the map to the numbers of the teacher, once.

        Args:
            backbone: The student.
            variances: Of the teacher's numbers before whitening.

        Raises:
            UserError: The backbone has no such layer, or none of atoms; the teacher has fewer components.
        """
        width = sum(layer.dim for layer in self.of(backbone))
        if (self.components or 0) > len(variances):
            raise UserError(f"the teacher has {len(variances)} components, not {self.components}")
        variances = variances[: self.components]
        counts = variances**self.power
        self.register_buffer("counts", counts / counts.sum(), persistent=False)
        if self.map is None:
            self.map = nn.Linear(width, len(variances))

    def of(self, backbone: Backbone) -> list[Layer]:
        """Return the layers whose states are compared.

        Raises:
            UserError: The backbone has no such layer, or none of atoms.
        """
        there = backbone.atom_layers()
        if not there:
            raise UserError(f"{type(backbone).__name__} has no layer of atoms, which a teacher speaks of")
        wanted = self.layer or [list(there)[-1]]
        for name in wanted:
            if name not in there:
                raise UserError(no_such("layer of atoms", name, there))
        return [there[name] for name in wanted]

    def forward(self, backbone: Backbone, head: Head, batch: Batch) -> Float[Tensor, "crystals columns"]:
        """Return the raw output of a head; beside it the error, and whether the teacher knows the crystal."""
        layers = [layer.module for layer in self.of(backbone)]
        with outputs(layers) as states:
            raw = full(head(backbone(batch)))
        assert self.map is not None
        target, index = batch[keys.ATOM_TARGETS][:, : self.components], batch[keys.BATCH]
        known = ~target[:, :1].isnan()
        said = full(self.map(torch.cat([states[layer] for layer in layers], dim=1)))
        errors = torch.where(known, said - target.nan_to_num(), 0.0).square()
        count = batch[keys.ATOM_COUNT][:, None]
        columns = torch.cat(
            [(errors @ self.counts)[:, None], known.to(errors.dtype), torch.ones_like(count)], 1
        )
        sums = segment_sum(columns * count, index, pointers(index, batch[keys.NUM_CRYSTALS]))
        return torch.cat([raw, sums[:, :2] / sums[:, 2:]], dim=1)

    @staticmethod
    def parted(output: Tensor) -> tuple[Tensor, Part]:
        """Take what :meth:`forward` returned apart."""
        raw, error, known = output[:, :-2], output[:, -2:-1], output[:, -1:] > 0
        means, counts = masked_means(error, known)
        return raw, Part(means[0], counts[0])
