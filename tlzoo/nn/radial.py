"""Numbers as smooth one-hot vectors."""

import math
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tlzoo.errors import UserError

FAR: Final = 2e-9  # of a Gaussian that is 1 at its centre


class Gaussians(nn.Module):
    r"""Expand a number on Gaussians with evenly spaced centres.

    .. math::
        e_k(x) = \exp\big(-\gamma (x - c_k)^2\big)

    Where it is less than 2e-9 it is zero.

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
        # less than FAR is lost when rows are summed, and is zero: else products with derivatives, and the
        # squares of those in AdamW, would be subnormal numbers, for which some processors take a hundred
        # times as long
        exponent = (x[:, None] - self.centres).square_().mul_(-self.gamma)
        return F.threshold(exponent, math.log(FAR), -math.inf).exp_()
