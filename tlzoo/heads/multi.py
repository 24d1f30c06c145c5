"""Several properties at once, each with its own layers, labels known or not."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tlzoo.errors import UserError
from tlzoo.heads.base import Activation, Head, Loss, elementwise, full, masked_mean
from tlzoo.heads.metrics import RegressionMetrics
from tlzoo.heads.regression import checked
from tlzoo.nn.scaler import Transform


class MultiProperty(Head):
    r"""Predicts several targets, each through its own layers and scaler; columns: the names of the targets.

    With the scaled loss :math:`\ell`, weights :math:`w_p` and the crystals :math:`K_p` of a batch whose
    property p is known,

    .. math::
        L = \frac{\sum_p w_p \, \frac{1}{|K_p|} \sum_{i \in K_p} \ell(s_{ip}, \hat s_{ip})}{\sum_p w_p}

    over the properties with :math:`K_p` not empty; 0 if there is none.

    Args:
        targets: Names of the targets, in the order of the data's.
        weights: Weight of a target in the loss, by name; 1 where not given. A target of weight 0 is predicted
            but not learnt.
        loss: ``l1``, ``mse``, or ``huber`` (linear beyond one standard deviation), in scaled space.
        hidden: Width of each hidden layer; empty for a linear head.
        activation: Non-linearity.
        dropout: Probability with which a hidden value is dropped in training.
        transform: How targets are scaled.
    """

    monitor = "relative_mae"
    weight: Tensor

    def __init__(
        self,
        *,
        targets: Sequence[str],
        weights: dict[str, float] | None = None,
        loss: Loss = "l1",
        hidden: Sequence[int] = (128,),
        activation: Activation = "softplus",
        dropout: float = 0.0,
        transform: Transform = "standard",
    ) -> None:
        names = [targets] if isinstance(targets, str) else list(targets)
        if not names or len(set(names)) < len(names):
            raise UserError(f"targets must be at least one name, each given once; got {names}")
        super().__init__(
            hidden=hidden,
            activation=activation,
            dropout=dropout,
            transform=transform,
            num_targets=len(names),
            towers=len(names),
        )
        self.targets = tuple(names)
        self.weights = None if weights is None else dict(weights)
        self.loss_ = checked(loss)
        weights = weights or {}
        if unknown := sorted(set(weights) - set(names)):
            raise UserError(f"weights name {', '.join(unknown)}; the targets are: {', '.join(names)}")
        weight = torch.tensor([float(weights.get(name, 1.0)) for name in names])
        if not bool((weight.isfinite() & (weight >= 0)).all()) or float(weight.sum()) == 0:
            raise UserError(f"weights must be positive numbers or 0, not all 0; got {weights}")
        # a hyper-parameter: stored with the constructor's arguments, not with the learnt numbers
        self.register_buffer("weight", weight, persistent=False)

    def check(self, targets: Float[Tensor, "crystals targets"], names: Sequence[str] = ()) -> None:
        """Make sure that labels can be transformed."""
        super().check(targets, names or self.targets)

    def fit(self, targets: Float[Tensor, "crystals targets"], names: Sequence[str] = ()) -> None:
        """Fit a scaler for each target on the training part."""
        super().fit(targets, names or self.targets)

    def loss(
        self, raw: Float[Tensor, "crystals out"], targets: Float[Tensor, "crystals targets"]
    ) -> Float[Tensor, ""]:
        """Return the weighted mean over the properties of the mean loss of their known targets."""
        scaled, known = self._scaled(targets)
        each = masked_mean(elementwise(self.loss_, full(raw), scaled), known)
        total = (self.weight * known.any(dim=0)).sum()
        # properties without a label contribute 0 to the sum; without any, 0 / 1
        return (self.weight * each).sum() / torch.where(total > 0, total, 1.0)

    def predict(self, raw: Float[Tensor, "crystals out"]) -> Float[Tensor, "crystals columns"]:
        """Return the predictions in the units of the targets."""
        return self.scaler.inverse(full(raw))

    def columns(self, targets: Sequence[str]) -> list[str]:
        """Name the columns after the targets."""
        if tuple(targets) != self.targets:
            raise UserError(
                f"this head predicts {', '.join(self.targets)}; the data give {', '.join(targets)}. "
                "Name the same targets in the same order"
            )
        return list(targets)

    def metrics(self, targets: Sequence[str]) -> RegressionMetrics:
        """Return ``mae``, ``rmse``, ``r2`` of each target (``mae_<target>`` …) and ``relative_mae``.

        ``relative_mae`` is the monitor: targets of different units cannot be averaged otherwise.
        """
        return RegressionMetrics(self.columns(targets), relative=True)
