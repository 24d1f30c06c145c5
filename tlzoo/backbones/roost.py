"""Roost: representation learning from stoichiometry."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlzoo.backbones.backbone import Backbone, Layer
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.nn.edges import pointers
from tlzoo.nn.element_embedding import ElementEmbedding
from tlzoo.nn.segment import segment_sum
from tlzoo.nn.weighted_attention import WeightedAttention


class Roost(Backbone):
    r"""Representation learning from stoichiometry of Goodall & Lee (2020): it reads the formula alone.

    The elements of the reduced formula are the nodes of a complete graph with loops. With the fraction
    :math:`w_i` of the atoms that are of element i, and its features :math:`x_i`,

    .. math::
        h_i^0 = [W x_i, w_i], \qquad
        h_i^{t+1} = h_i^t + \frac{1}{H} \sum_h \sum_j a_{ijh}^t\, g_h^t([h_i^t, h_j^t])

    with the weights :math:`a` of :class:`~tlzoo.nn.weighted_attention.WeightedAttention`; one more of these,
    over :math:`h_i^T`, pools the elements. As published but for the features of the elements: 92 facts of
    CGCNN instead of numbers learned from texts. The residual network that follows is the head's.

    Crystals of one composition have one embedding; multiples of a formula, and the order of its elements,
    change nothing.

    Args:
        dim: Length of an element's vector and of the embedding, at least 2.
        depth: Number of updates.
        heads: Heads of attention.
        hidden: Width of the hidden layer of each network of scores and messages (published: 256).
        features: ``elements``: 92 facts of each; ``learned``: a free vector for each element.
        dropout: Part of the embedding set to zero in training.

    Raises:
        UserError: An argument is out of range.

    References:
        Nat. Commun. 11, 6280 (2020).
    """

    def __init__(
        self,
        *,
        dim: int = 64,
        depth: int = 3,
        heads: int = 3,
        hidden: int = 128,
        features: Literal["elements", "learned"] = "elements",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim < 2:
            raise UserError(f"dim must be at least 2, one number of which is the fraction, got {dim}")
        if depth < 1 or heads < 1 or hidden < 1:
            raise UserError(f"depth, heads and hidden must be at least 1, got {depth=}, {heads=}, {hidden=}")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.dim, self.depth, self.heads, self.hidden = dim, depth, heads, hidden
        self.features, self.dropout = features, dropout
        self.graph = FormulaOptions()
        self.out_dim = dim
        self.embed = ElementEmbedding(features=features, dim=dim - 1)
        self.updates = nn.ModuleList(Update(dim=dim, heads=heads, hidden=hidden) for _ in range(depth))
        self.pool = Attended(dim=dim, heads=heads, hidden=hidden)
        self.drop = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Float[Tensor, "crystals dim"]:
        """Embed the formulas of a batch, whose rows of atoms are the elements of each."""
        count, crystal = batch[keys.ATOM_COUNT], batch[keys.BATCH]
        elements = Elements(count, crystal, batch[keys.NUM_CRYSTALS])
        x = torch.cat([self.embed(batch[keys.NUMBERS]), elements.fraction[:, None]], dim=1)
        for update in self.updates:
            x = update(x, elements)
        # mixed precision ends with the backbone, as pooling ends it in graph networks
        pooled: Tensor = self.drop(self.pool(x, elements).to(count.dtype))
        return pooled

    def groups(self) -> Mapping[str, Sequence[nn.Module]]:
        """Name the parts: ``embed``, ``update.0`` …, ``pool``."""
        updates = {f"update.{i}": [update] for i, update in enumerate(self.updates)}
        return {"embed": [self.embed], **updates, "pool": [self.pool, self.drop]}

    def layers(self) -> Mapping[str, Layer]:
        """Name the layers: ``update.0`` …; their rows are elements."""
        return {f"update.{i}": Layer(update, "atoms", self.dim) for i, update in enumerate(self.updates)}


class Elements:
    """The elements of the formulas of a batch, and all pairs of those of one formula.

    Attributes:
        fraction: Part of the atoms of its formula, ``(elements,)``.
        crystal: Crystal of each element, ascending, ``(elements,)``.
        start: First element of each crystal, and the number of elements, ``(crystals + 1,)``.
        centre: First element of each pair, ascending, ``(pairs,)``.
        other: Second element of each pair, ``(pairs,)``.
        pairs: First pair of each element, and the number of pairs, ``(elements + 1,)``.
    """

    def __init__(
        self, count: Float[Tensor, " elements"], crystal: Int[Tensor, " elements"], num_crystals: int
    ) -> None:
        self.crystal, self.start = crystal, pointers(crystal, num_crystals)
        total = segment_sum(count[:, None], crystal, self.start)[:, 0]
        self.fraction = count / total[crystal]
        sizes = self.start.diff()[crystal]
        self.pairs = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        self.centre = torch.repeat_interleave(sizes)
        first = self.start[crystal] - self.pairs[:-1]
        self.other = torch.arange(len(self.centre), device=count.device) + first[self.centre]


class Update(nn.Module):
    """Each element attends to all elements of its formula, itself included."""

    def __init__(self, *, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = WeightedAttention(dim=dim, heads=heads, hidden=hidden)
        # the first layers, split by what they read: a matrix a pair is the sum of one an element each
        self.centre = nn.Linear(dim, self.attention.width)
        self.other = nn.Linear(dim, self.attention.width, bias=False)

    def forward(self, x: Float[Tensor, "elements dim"], elements: Elements) -> Float[Tensor, "elements dim"]:
        """Update the vectors of elements."""
        first = self.centre(x).index_select(0, elements.centre)
        first = first + self.other(x).index_select(0, elements.other)
        amount = elements.fraction.index_select(0, elements.other)
        result: Tensor = x + self.attention(first, amount, elements.centre, elements.pairs)
        return result


class Attended(nn.Module):
    """One vector per formula from those of its elements."""

    def __init__(self, *, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = WeightedAttention(dim=dim, heads=heads, hidden=hidden)
        self.first = nn.Linear(dim, self.attention.width)

    def forward(self, x: Float[Tensor, "elements dim"], elements: Elements) -> Float[Tensor, "crystals dim"]:
        """Pool."""
        result: Tensor = self.attention(self.first(x), elements.fraction, elements.crystal, elements.start)
        return result
