"""One class out of two or more."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tlzoo.errors import UserError
from tlzoo.heads.head import Activation, Head, full, masked_mean


class Classification(Head):
    """Predicts the class of a crystal; labels are the numbers 0, 1 … ``classes - 1``, NaN where unknown.

    Columns for two classes: ``<target>_probability``, of class 1. For more: ``<target>_class``, the most
    probable one, then ``<target>_probability_0`` … of each class. The loss is the cross entropy, the
    metrics are those of :class:`~tlzoo.heads.metrics.ClassificationMetrics`.

    Args:
        classes: Number of classes.
        hidden: Width of each hidden layer; empty for a linear head.
        activation: Activation function.
        dropout: Fraction of the hidden values that are set to zero during training.
    """

    monitor = "loss"
    measured_by = "ClassificationMetrics"

    def __init__(
        self,
        *,
        classes: int = 2,
        hidden: Sequence[int] = (128,),
        activation: Activation = "softplus",
        dropout: float = 0.0,
    ) -> None:
        if classes < 2:
            raise UserError(f"classes must be at least 2, got {classes}")
        super().__init__(hidden=hidden, activation=activation, dropout=dropout, transform="none")
        self.classes = classes
        self.measured_with = {"classes": classes}

    @property
    def tower_out(self) -> int:
        """One logit for two classes, else one per class."""
        return 1 if self.classes == 2 else self.classes

    def check(self, targets: Float[Tensor, "crystals targets"], names: Sequence[str] = ()) -> None:
        """Make sure that labels are class numbers."""
        super().check(targets, names)
        labels = targets[~targets.isnan()]
        wrong = labels[(labels != labels.round()) | (labels < 0) | (labels >= self.classes)]
        if len(wrong):
            raise UserError(
                f"{len(wrong)} label(s) are no class number, for example {wrong[0]:g}; "
                f"with classes: {self.classes} labels are 0 to {self.classes - 1}, and empty where unknown"
            )

    def loss(
        self, raw: Float[Tensor, "crystals out"], targets: Float[Tensor, "crystals targets"]
    ) -> Float[Tensor, ""]:
        """Return the mean cross entropy of the known labels, in nats."""
        labels, known = self._scaled(targets)
        if self.classes == 2:
            each = F.binary_cross_entropy_with_logits(full(raw), labels, reduction="none")
        else:
            each = F.cross_entropy(full(raw), labels[:, 0].long(), reduction="none")[:, None]
        return masked_mean(each, known).sum()

    def predict(self, raw: Float[Tensor, "crystals out"]) -> Float[Tensor, "crystals columns"]:
        """Return the probability of class 1; of more than two, the best class and all probabilities."""
        if self.classes == 2:
            return full(raw).sigmoid()
        probability = full(raw).softmax(dim=1)
        return torch.cat([probability.argmax(dim=1, keepdim=True), probability], dim=1)

    def columns(self, targets: Sequence[str]) -> list[str]:
        """Name the columns."""
        target = self._one(targets)
        if self.classes == 2:
            return [f"{target}_probability"]
        return [f"{target}_class", *(f"{target}_probability_{i}" for i in range(self.classes))]
