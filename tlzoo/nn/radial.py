"""Numbers as smooth one-hot vectors."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlzoo.errors import UserError


class Gaussians(nn.Module):
    r"""Expand a number on Gaussians with evenly spaced centres.

    .. math::
        e_k(x) = \exp\big(-\gamma (x - c_k)^2\big)

    Args:
        low: First centre, in the unit of x.
        high: Last centre, in the unit of x.
        size: Number of centres.
        gamma: 1 / width², in the inverse square of the unit of x. CGCNN: 1 / spacing²; ALIGNN: 1 / spacing.
    """

    centres: Tensor

    def __init__(self, *, low: float, high: float, size: int, gamma: float) -> None:
        super().__init__()
        if size < 2 or not high > low or not gamma > 0:
            raise UserError(
                f"Gaussians need high > low, size > 1 and gamma > 0, got {low=}, {high=}, {size=}, {gamma=}"
            )
        self.gamma = gamma
        # not stored with the weights: follows from the arguments
        self.register_buffer("centres", torch.linspace(low, high, size), persistent=False)

    def forward(self, x: Float[Tensor, " rows"]) -> Float[Tensor, "rows basis"]:
        """Expand; the result has the precision of x, also under autocast."""
        # far from its centre a Gaussian is 1e-16: of a smaller one the product with a gradient would be a
        # subnormal number, with which Intel's processors compute a hundred times as slowly
        return (x[:, None] - self.centres).square_().mul_(-self.gamma).clamp_(min=-36.0).exp_()
