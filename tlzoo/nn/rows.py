"""Rows that stand for several equal ones, as batch statistics read them."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """What each row of atoms, bonds or angles counts in a mean over the cells of a batch.

    Attributes:
        count: How many atoms, bonds or angles of the cells each stands for, ``(rows,)``.
        share: The same as a part of all, ``(rows,)``; sums to 1.
        total: Number of all, a scalar.
    """

    count: Float[Tensor, " rows"]
    share: Float[Tensor, " rows"]
    total: Float[Tensor, ""]

    @classmethod
    def of(cls, count: Float[Tensor, " rows"]) -> Rows:
        """Make shares of counts."""
        total = count.sum()
        return cls(count, count / total, total)
