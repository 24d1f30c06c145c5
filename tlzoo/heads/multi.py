"""Several properties at once, each with its own layers, labels known or not."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.errors import UserError
from tlzoo.heads.head import Activation, Head, Loss, elementwise, full, masked_means
from tlzoo.heads.regression import checked
from tlzoo.nn.scaler import Transform

Weighting: TypeAlias = Literal["fixed", "uncertainty"]


class Noise(nn.Module):
    """The learnt noise of each target: the logarithm of its scale, in standard deviations of the target."""

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(targets))

    def forward(self, losses: Float[Tensor, " targets"]) -> Float[Tensor, " targets"]:
        """Return the negative log-likelihood of losses, but for constants."""
        return losses * torch.exp(-self.log_scale) + self.log_scale


class MultiProperty(Head):
    r"""Predicts several targets, each through its own layers and scaler; columns: the names of the targets.

    With the scaled loss :math:`\ell`, weights :math:`w_p` and the crystals :math:`K_p` of a batch whose
    property p is known,

    .. math::
        L = \frac{\sum_p w_p \, \frac{1}{|K_p|} \sum_{i \in K_p} \ell(s_{ip}, \hat s_{ip})}{\sum_p w_p}

    over the properties with :math:`K_p` not empty; 0 if there is none. So a property with few labels counts
    as much as one with many, in the batches that have it.

    With ``weighting="uncertainty"`` the mean loss :math:`L_p` of a property becomes
    :math:`e^{-s_p} L_p + s_p` with a learnt :math:`s_p`: the negative log-likelihood of errors with
    a Laplace distribution of scale :math:`e^{s_p}` (``l1``) or, but for a factor, a normal one of variance
    :math:`e^{s_p}` (``mse``). A property that is predicted well then counts more than a noisy one.

    Metrics: ``mae``, ``rmse``, ``r2`` of each target (``mae_<target>`` …) and ``relative_mae``, which is the
    monitor: targets of different units cannot be averaged otherwise.

    Args:
        targets: Names of the targets, in the order of the data's.
        weights: Weight of each target in the loss, by name; 1 if not given. A target with weight 0 is
            predicted, but not trained.
        weighting: ``fixed`` uses these weights alone, ``uncertainty`` also a noise level that is learned for
            each target.
        loss: ``l1``, ``mse``, or ``huber`` (linear beyond one standard deviation), in scaled space.
        hidden: Width of each hidden layer; empty for a linear head.
        activation: Activation function.
        dropout: Fraction of the hidden values that are set to zero during training.
        transform: How targets are scaled: one for all, or by name; ``standard`` if not given.
        minimum: Smallest value that is physically possible, by name, in the unit of the target; smaller
            values are never predicted.

    References:
        Kendall, Gal & Cipolla, CVPR 2018, for the weighting by uncertainty.
    """

    monitor = "relative_mae"
    raw_is_scaled = True
    weight: Tensor

    def __init__(
        self,
        *,
        targets: Sequence[str],
        weights: dict[str, float] | None = None,
        weighting: Weighting = "fixed",
        loss: Loss = "l1",
        hidden: Sequence[int] = (128,),
        activation: Activation = "softplus",
        dropout: float = 0.0,
        transform: Transform | dict[str, Transform] = "standard",
        minimum: dict[str, float] | None = None,
    ) -> None:
        names = [targets] if isinstance(targets, str) else list(targets)
        if not names or len(set(names)) < len(names):
            raise UserError(f"targets must be at least one name, each given once; got {names}")
        by_name = dict.fromkeys(names, transform) if isinstance(transform, str) else dict(transform)
        for argument, values in {"weights": weights, "minimum": minimum, "transform": by_name}.items():
            if unknown := sorted(set(values or {}) - set(names)):
                raise UserError(f"{argument} name {', '.join(unknown)}; the targets are: {', '.join(names)}")
        super().__init__(
            hidden=hidden,
            activation=activation,
            dropout=dropout,
            transform=[by_name.get(name, "standard") for name in names],
            num_targets=len(names),
            towers=len(names),
            minimum=[(minimum or {}).get(name) for name in names],
        )
        self.transform = transform if isinstance(transform, str) else by_name
        self.minimum = None if minimum is None else dict(minimum)
        self.targets = tuple(names)
        self.measured_with = {"relative": True}
        self.weights = None if weights is None else dict(weights)
        self.loss_ = checked(loss)
        if weighting not in ("fixed", "uncertainty"):
            raise UserError(f"weighting must be fixed or uncertainty, got {weighting!r}")
        self.weighting = weighting
        self.noise = Noise(len(names)) if weighting == "uncertainty" else None
        weights = weights or {}
        weight = torch.tensor([float(weights.get(name, 1.0)) for name in names])
        if not bool((weight.isfinite() & (weight >= 0)).all()) or float(weight.sum()) == 0:
            raise UserError(f"weights must be positive numbers or 0, not all 0; got {weights}")
        # a hyper-parameter: stored with the constructor's arguments, not with the learnt numbers
        self.register_buffer("weight", weight, persistent=False)

    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """Name the parts that freezing strategies speak of; the noise, if learnt, is ``head.noise``."""
        return {**super().groups(), **({} if self.noise is None else {"head.noise": [self.noise]})}

    def limits(self, least: Sequence[float | None]) -> dict[str, float] | None:
        """Return the smallest values by name; None if there are none."""
        by_name = zip(self.targets, least, strict=True)
        return {name: value for name, value in by_name if value is not None} or None

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
        each, labels = masked_means(elementwise(self.loss_, full(raw), scaled), known)
        if self.noise is not None:
            each = self.noise(each)
        weight = self.weight * (labels > 0)
        total = weight.sum()
        # without any label, 0 / 1
        return (weight * each).sum() / torch.where(total > 0, total, 1.0)

    def predict(self, raw: Float[Tensor, "crystals out"]) -> Float[Tensor, "crystals columns"]:
        """Return the predictions in the units of the targets."""
        return self._physical(full(raw))

    def columns(self, targets: Sequence[str]) -> list[str]:
        """Name the columns after the targets."""
        if tuple(targets) != self.targets:
            raise UserError(
                f"this head predicts {', '.join(self.targets)}; the data give {', '.join(targets)}. "
                "Name the same targets in the same order"
            )
        return list(targets)
