"""Quantiles that never cross."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tlzoo.errors import UserError
from tlzoo.heads.head import Activation, Head, full, masked_mean
from tlzoo.nn.scaler import Transform

MEDIAN = 0.5


class Quantile(Head):
    r"""Predicts quantiles; columns: ``<target>`` (the median), then ``<target>_q5`` … (in per cent).

    The median is free; the others are reached by steps softplus(raw) up and down from it, and so never cross.
    The loss is the mean over the quantiles :math:`\tau` of the pinball loss (Koenker & Bassett 1978,
    doi:10.2307/1913643) in scaled space,

    .. math::
        L_\tau = \max\big(\tau (s - q_\tau), (\tau - 1)(s - q_\tau)\big)

    Metrics: ``mae``, ``rmse``, ``r2`` of the median and ``coverage``, the share of targets between the
    outermost quantiles; ideal is the difference of their levels, 0.9 for the default.

    Args:
        quantiles: Rising, between 0 and 1, with the median 0.5 among them.
        hidden: Width of each hidden layer; empty for a linear head.
        activation: Activation function.
        dropout: Fraction of the hidden values that are set to zero during training.
        transform: How targets are scaled.
        minimum: Smallest value that is physically possible, in the unit of the target: 0 for a band gap.
    """

    measured_by = "IntervalMetrics"
    level: Tensor

    def __init__(
        self,
        *,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
        hidden: Sequence[int] = (128,),
        activation: Activation = "softplus",
        dropout: float = 0.0,
        transform: Transform = "standard",
        minimum: float | None = None,
    ) -> None:
        rising = all(low < high for low, high in zip((0.0, *quantiles), (*quantiles, 1.0), strict=True))
        if not rising or MEDIAN not in quantiles or len(quantiles) < 2:
            raise UserError(
                "quantiles must rise, lie between 0 and 1, and be 0.5 and at least one more; "
                f"got {list(quantiles)}"
            )
        super().__init__(
            hidden=hidden, activation=activation, dropout=dropout, transform=transform, minimum=[minimum]
        )
        self.minimum = minimum
        self.quantiles = tuple(quantiles)
        self._median = self.quantiles.index(MEDIAN)
        last = len(quantiles) - 1
        # columns: the median, then the others
        self.measured_with = {"low": int(self._median > 0), "high": last if self._median < last else 0}
        # a hyper-parameter: stored with the constructor's arguments, not with the learnt numbers
        self.register_buffer("level", torch.tensor(self.quantiles), persistent=False)

    @property
    def tower_out(self) -> int:
        """The median and a step for every other quantile."""
        return len(self.quantiles)

    def loss(
        self, raw: Float[Tensor, "crystals out"], targets: Float[Tensor, "crystals targets"]
    ) -> Float[Tensor, ""]:
        """Return the mean pinball loss of the known targets."""
        scaled, known = self._scaled(targets)
        error = scaled - self._rising(raw)
        each = torch.maximum(self.level * error, (self.level - 1) * error)
        return masked_mean(each, known).mean()

    def predict(self, raw: Float[Tensor, "crystals out"]) -> Float[Tensor, "crystals columns"]:
        """Return the median, then the other quantiles, in the unit of the target."""
        values = self._physical(self._rising(raw))
        m = self._median
        return torch.cat([values[:, m : m + 1], values[:, :m], values[:, m + 1 :]], dim=1)

    def columns(self, targets: Sequence[str]) -> list[str]:
        """Name the columns."""
        target = self._one(targets)
        return [target, *(f"{target}_q{100 * level:g}" for level in self.quantiles if level != MEDIAN)]

    def _rising(self, raw: Float[Tensor, "crystals out"]) -> Float[Tensor, "crystals out"]:
        """Return the quantiles in scaled space, in rising order."""
        m = self._median
        raw = full(raw)
        median = raw[:, m : m + 1]
        above = median + F.softplus(raw[:, m + 1 :]).cumsum(dim=1)
        below = (median - F.softplus(raw[:, :m].flip(1)).cumsum(dim=1)).flip(1)
        return torch.cat([below, median, above], dim=1)
