"""One number per crystal."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from tlzoo.errors import UserError
from tlzoo.heads.head import Activation, Head, Loss, elementwise, full, masked_mean
from tlzoo.nn.scaler import Transform


class Regression(Head):
    """Predicts one target; columns: ``<target>``; metrics: ``mae``, ``rmse`` and ``r2``.

    Args:
        loss: ``l1``, ``mse``, or ``huber`` (linear beyond one standard deviation), in scaled space.
        hidden: Width of each hidden layer; empty for a linear head, as in ALIGNN.
        activation: Activation function.
        dropout: Fraction of the hidden values that are set to zero during training.
        transform: How targets are scaled.
        minimum: Smallest value that is physically possible, in the unit of the target: 0 for a band gap.
    """

    raw_is_scaled = True

    def __init__(
        self,
        *,
        loss: Loss = "l1",
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
        self.loss_ = checked(loss)

    def loss(
        self, raw: Float[Tensor, "crystals out"], targets: Float[Tensor, "crystals targets"]
    ) -> Float[Tensor, ""]:
        """Return the mean loss of the known targets."""
        return masked_mean(*self.losses(raw, targets)).sum()

    def losses(
        self, raw: Float[Tensor, "crystals out"], targets: Float[Tensor, "crystals targets"]
    ) -> tuple[Float[Tensor, "crystals targets"], Tensor]:
        """Return the loss of each crystal, and whether its target is known."""
        scaled, known = self._scaled(targets)
        return elementwise(self.loss_, full(raw), scaled), known

    def predict(self, raw: Float[Tensor, "crystals out"]) -> Float[Tensor, "crystals columns"]:
        """Return the prediction in the unit of the target."""
        return self._physical(full(raw))

    def columns(self, targets: Sequence[str]) -> list[str]:
        """Name the one column after the target."""
        return [self._one(targets)]


def checked(loss: Loss) -> Loss:
    """Return the name of a loss if it is one.

    Raises:
        UserError: It is none.
    """
    if loss not in {"l1", "mse", "huber"}:
        raise UserError(f"loss must be l1, mse or huber, got {loss!r}")
    return loss
