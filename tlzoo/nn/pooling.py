"""From atoms to crystals."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tlzoo.errors import UserError
from tlzoo.nn import Pooling
from tlzoo.nn.edges import pointers
from tlzoo.nn.segment import arange, segment_sum, sum_rows

# Below this, a square root of a variance or a squared norm has no useful slope; in units of activations.
SMALLEST = 1e-12


class Pool(nn.Module):
    r"""One vector per crystal from those of its atoms, in fp32.

    ``mean``, ``sum`` and ``max`` over all atoms of the cell, or ``attention``:

    .. math::
        h = \sum_i \frac{\exp(w \cdot h_i)}{\sum_j \exp(w \cdot h_j)} h_i

    All but ``sum`` are intensive: a supercell has the same embedding.

    Args:
        pooling: Which of the four.
        dim: Length of the vectors (of use to ``attention``).
    """

    def __init__(self, pooling: Pooling = "mean", *, dim: int) -> None:
        super().__init__()
        if pooling not in {"mean", "sum", "max", "attention"}:
            raise UserError(f"pooling must be 'mean', 'sum', 'max' or 'attention', got {pooling!r}")
        self.pooling = pooling
        # no bias: softmax would cancel it
        self.score = nn.Linear(dim, 1, bias=False) if pooling == "attention" else None

    def forward(
        self,
        x: Float[Tensor, "atoms dim"],
        batch: Int[Tensor, " atoms"],
        count: Float[Tensor, " atoms"],
        num_crystals: int,
    ) -> Float[Tensor, "crystals dim"]:
        """Pool; ``batch`` is the crystal of each atom, ascending, ``count`` how many atoms it stands for."""
        x = x.float() if x.dtype in {torch.bfloat16, torch.float16} else x
        if self.pooling == "max":
            return largest(x, batch, num_crystals)
        start = pointers(batch, num_crystals)
        if self.pooling == "mean" and torch.is_grad_enabled():
            result: Tensor = _Mean.apply(x, batch, count.to(x.dtype), start)  # type: ignore[no-untyped-call]
            return result
        weight = count.to(x.dtype)[:, None]
        if self.score is not None:
            with torch.autocast(x.device.type, enabled=False):
                weight = weight * highest_is_one(self.score(x), batch, num_crystals)
        total = segment_sum(x * weight, batch, start)
        return total if self.pooling == "sum" else total / segment_sum(weight, batch, start)

    def weights(
        self,
        x: Float[Tensor, "atoms dim"],
        batch: Int[Tensor, " atoms"],
        count: Float[Tensor, " atoms"],
        num_crystals: int,
    ) -> Float[Tensor, "atoms 1"]:
        """Return what an atom weighs in the vector of its crystal; arguments as of :meth:`forward`.

        ``max`` has no such weights.
        """
        one = torch.ones_like(count)[:, None].to(x.dtype)
        if self.pooling == "sum":
            return one
        weight = one if self.score is None else highest_is_one(self.score(x), batch, num_crystals)
        total = segment_sum(weight * count[:, None], batch, pointers(batch, num_crystals))
        return weight / total[batch]


class _Mean(torch.autograd.Function):
    """The mean in training, with half of the operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, batch: Tensor, count: Tensor, start: Tensor) -> Tensor:  # noqa: ANN401 (torch has no type)
        each, weight = arange(x), count[:, None]
        atoms = sum_rows(weight, each, start)
        ctx.save_for_backward(batch, weight, atoms)
        return sum_rows(x, each, start, count).div_(atoms)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401 (torch has no type)
        batch, weight, atoms = ctx.saved_tensors
        return (dy / atoms).index_select(0, batch).mul_(weight), None, None, None


def statistics(
    x: Float[Tensor, "atoms dim"],
    batch: Int[Tensor, " atoms"],
    count: Float[Tensor, " atoms"],
    num_crystals: int,
) -> Float[Tensor, "crystals three_dim"]:
    """Return mean, standard deviation and maximum over the atoms of each crystal, one after the other.

    Arguments as of :meth:`Pool.forward`.
    """
    start = pointers(batch, num_crystals)
    weight = count.to(x.dtype)[:, None]
    atoms = segment_sum(weight, batch, start)
    mean = segment_sum(x * weight, batch, start) / atoms
    variance = segment_sum((x - mean[batch]).square() * weight, batch, start) / atoms
    deviation = (variance + SMALLEST).sqrt() - SMALLEST**0.5
    return torch.cat([mean, deviation, largest(x, batch, num_crystals)], dim=1)


def largest(
    x: Float[Tensor, "atoms dim"], batch: Int[Tensor, " atoms"], num_crystals: int
) -> Float[Tensor, "crystals dim"]:
    """Return the maximum over the atoms of each crystal."""
    empty = x.new_zeros((num_crystals, x.shape[1]))
    return empty.scatter_reduce(0, batch[:, None].expand_as(x), x, "amax", include_self=False)


def highest_is_one(
    score: Float[Tensor, "atoms 1"], batch: Int[Tensor, " atoms"], num_crystals: int
) -> Float[Tensor, "atoms 1"]:
    """Return exp of the scores, divided by the largest of each crystal: softmax but for its denominator."""
    highest = score.new_zeros(num_crystals)
    highest = highest.scatter_reduce(0, batch, score.detach()[:, 0], "amax", include_self=False)
    return (score - highest[batch, None]).exp()
