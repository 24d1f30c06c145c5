"""A mean and its uncertainty."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tlzoo.heads.head import Activation, Head, full, masked_mean
from tlzoo.nn.scaler import Transform

# Variance below which the likelihood of a perfect fit would grow without bound, in scaled space.
MIN_VARIANCE = 1e-6


class Gaussian(Head):
    r"""Predicts mean and variance of a normal distribution; columns: ``<target>`` and ``<target>_std``.

    The loss is the negative log-likelihood in scaled space (Nix & Weigend 1994,
    doi:10.1109/ICNN.1994.374138),

    .. math::
        L = \frac12 \Big( \log 2\pi\sigma^2 + \frac{(s - \mu)^2}{\sigma^2} \Big), \qquad
        \sigma^2 = \mathrm{softplus}(\mathrm{raw}_2) + 10^{-6}

    Under ``transform: log10`` the distribution is log-normal: the prediction is its median, and the standard
    deviation in physical units is the first-order :math:`y \ln(10)\, \sigma_{\log_{10} y}`.

    Metrics: ``mae``, ``rmse``, ``r2`` and ``coverage``: targets within one ``std`` (ideal: 0.683).

    Args:
        hidden: Width of each hidden layer; empty for a linear head.
        activation: Activation function.
        dropout: Fraction of the hidden values that are set to zero during training.
        transform: How targets are scaled.
        minimum: Smallest value that is physically possible, in the unit of the target: 0 for a band gap.
    """

    measured_by = "IntervalMetrics"

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (128,),
        activation: Activation = "softplus",
        dropout: float = 0.0,
        transform: Transform = "standard",
        minimum: float | None = None,
    ) -> None:
        super().__init__(
            hidden=hidden, activation=activation, dropout=dropout, transform=transform, minimum=[minimum]
        )
        self.minimum = minimum

    @property
    def tower_out(self) -> int:
        """Mean and raw variance."""
        return 2

    def loss(
        self, raw: Float[Tensor, "crystals out"], targets: Float[Tensor, "crystals targets"]
    ) -> Float[Tensor, ""]:
        """Return the mean negative log-likelihood of the known targets."""
        scaled, known = self._scaled(targets)
        mean, variance = _moments(raw)
        each = 0.5 * ((2 * math.pi * variance).log() + (scaled - mean).square() / variance)
        return masked_mean(each, known).sum()

    def predict(self, raw: Float[Tensor, "crystals out"]) -> Float[Tensor, "crystals columns"]:
        """Return mean (or median) and standard deviation in the unit of the target."""
        mean, variance = _moments(raw)
        value = self._physical(mean)
        std = variance.sqrt() * self.scaler.std
        if self.transform == "log10":
            std = value * math.log(10) * std
        return torch.cat([value, std], dim=1)

    def columns(self, targets: Sequence[str]) -> list[str]:
        """Name the columns."""
        target = self._one(targets)
        return [target, f"{target}_std"]


def _moments(raw: Tensor) -> tuple[Tensor, Tensor]:
    raw = full(raw)
    return raw[:, :1], F.softplus(raw[:, 1:]) + MIN_VARIANCE
