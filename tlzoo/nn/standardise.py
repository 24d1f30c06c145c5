"""Numbers in any units on one side, numbers of order one on the other."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from tlzoo.errors import UserError
from tlzoo.nn.scaler import Fitted

# A number that varies less than this part of its size has no variance but rounding.
CONSTANT = 1e-6
# A crystal unlike any of the training part is at most so many standard deviations away.
FARTHEST = 5.0


class Standardise(Fitted):
    r"""Scale each input to mean 0 and standard deviation 1, both fitted once on the training part.

    .. math::
        y = \mathrm{clip}\Big(\frac{x - \mu}{\sigma}, -5, 5\Big)

    An input that does not vary in the training part is 0 everywhere: nothing was learned about it. Both
    numbers are buffers, so they travel with the weights; a module that was loaded is fitted already.
    """

    scale: Tensor

    def __init__(self, *, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((dim,), float("nan")))
        self.register_buffer("scale", torch.full((dim,), float("nan")))

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[Tensor, "_ dim"]]) -> None:
        """Take mean and standard deviation from the training part, given in pieces.

        Raises:
            UserError: There are no crystals.
        """
        count, shift = 0, None
        total, squares = torch.zeros(1), torch.zeros(1)
        for batch in batches:
            values = batch.double().cpu()
            if not len(values):
                continue
            # about the first mean: a difference of squares would lose the digits
            shift = values.mean(0) if shift is None else shift
            count += len(values)
            total = total + (values - shift).sum(0)
            squares = squares + (values - shift).square().sum(0)
        if shift is None:
            raise UserError("the training part has no crystals to standardise descriptors with")
        mean = shift + total / count
        deviation = (squares / count - (total / count).square()).clamp(min=0).sqrt()
        varies = deviation > CONSTANT * mean.abs().clamp(min=CONSTANT)
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(varies, 1 / deviation, 0.0))
        self._fitted = True

    def forward(self, x: Float[Tensor, "crystals dim"]) -> Float[Tensor, "crystals dim"]:
        """Standardise.

        Raises:
            UserError: Nothing has been fitted.
        """
        if not self._fitted:
            raise UserError(
                "the descriptors' scaler has not been fitted: fit the backbone on the training part, "
                "or load a trained model"
            )
        return ((x - self.mean) * self.scale).clamp(-FARTHEST, FARTHEST)

    def extra_repr(self) -> str:
        """Say in ``print(model)`` how many inputs there are, and whether it is fitted."""
        return f"dim={len(self.mean)}, fitted={self.fitted}"
