"""Attention over the elements of a formula, weighted by how much of each there is."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tlzoo.nn.segment import segment_sum

# The negative slope of the authors' networks.
SLOPE = 0.01


class WeightedAttention(nn.Module):
    r"""Mean of messages over the members of each segment: eqs. 4 to 6 of Goodall & Lee (2020).

    A member j with input :math:`z_j` and amount :math:`w_j` has, in each of H heads, a score :math:`f(z_j)`
    and a message :math:`g(z_j)`, two networks of one hidden layer each. Of all members of a segment

    .. math::
        y = \frac{1}{H} \sum_h \sum_j a_{jh}\, g_h(z_j), \qquad
        a_{jh} = \frac{w_j^{p_h} \exp f_h(z_j)}{\sum_k w_k^{p_h} \exp f_h(z_k)}

    with learned powers :math:`p_h`, as in the authors' code; 1, with which they begin, is the paper's.

    What is computed is the same in fewer operations. The first layers of all heads are one matrix, applied by
    whoever calls: their sum is all that is needed of inputs that are pairs. The weights sum to one, so that
    the last layer follows the sum over the members, and the mean over the heads is part of its matrix. A
    bias of the scores would cancel.

    Args:
        dim: Length of the result.
        heads: Number of heads.
        hidden: Width of the hidden layer of each of the networks.

    References:
        Nat. Commun. 11, 6280 (2020).
    """

    def __init__(self, *, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.hidden = heads, hidden
        self.power = nn.Parameter(torch.ones(heads))
        bound = hidden**-0.5  # as of a linear layer
        self.score = nn.Parameter(torch.empty(heads, hidden).uniform_(-bound, bound))
        self.out = nn.Linear(heads * hidden, dim)

    @property
    def width(self) -> int:
        """Numbers that the first layers make of a member: those of the scores, then those of the messages."""
        return 2 * self.heads * self.hidden

    def forward(
        self,
        first: Float[Tensor, "members width"],
        amount: Float[Tensor, " members"],
        segment: Int[Tensor, " members"],
        start: Int[Tensor, " segments_plus_1"],
    ) -> Float[Tensor, "segments dim"]:
        """Attend.

        Args:
            first: What the first layers make of the members.
            amount: Fraction of the element of each member, positive.
            segment: Segment of each member, ascending, none without a member.
            start: First member of each segment, and the number of members.
        """
        score, message = F.leaky_relu(first, SLOPE).view(-1, 2, self.heads, self.hidden).unbind(1)
        logits = (score * self.score).sum(2).float() + amount.float().log()[:, None] * self.power
        highest = logits.new_zeros(len(start) - 1, self.heads).scatter_reduce(
            0, segment[:, None].expand_as(logits), logits.detach(), "amax", include_self=False
        )
        weight = (logits - highest[segment]).exp()
        weight = weight / segment_sum(weight, segment, start)[segment]
        mixed = (message * weight[:, :, None].to(message.dtype)).flatten(1)
        result: Tensor = self.out(segment_sum(mixed, segment, start))
        return result
