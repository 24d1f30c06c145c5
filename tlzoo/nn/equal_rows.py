"""Numbers of which many are equal: what is computed of each is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from tlzoo.nn.rows import Rows
from tlzoo.nn.segment import sum_rows
from tlzoo.nn.sorting import order_of


@dataclass(frozen=True, eq=False)
class Equal:
    """The different numbers of a batch, and where each is.

    Attributes:
        values: The different numbers, ``(values,)``.
        rows: How many edges of the cells each stands for.
        index: Which of them each row has, ``(rows,)``; None if they are the rows themselves.
        order: The rows sorted by value, ``(rows,)``.
        start: The first of each value in that order, and their number, ``(values + 1,)``.
    """

    values: Float[Tensor, " values"]
    rows: Rows
    index: Int[Tensor, " rows"] | None = None
    order: Int[Tensor, " rows"] | None = None
    start: Int[Tensor, " values_plus_1"] | None = None

    @classmethod
    def of(cls, numbers: Float[Tensor, " rows"], rows: Rows) -> Equal:
        """Find the different ones.

        On a GPU, which would have to tell the processor how many there are, and of several networks each row
        is by itself.
        """
        if numbers.is_cuda or rows.blocks is not None or not len(numbers):
            return cls(numbers, rows)
        # by their bits, which are in some order, too
        bits = numbers.float().view(torch.int32).long() & 0xFFFFFFFF
        order = order_of(bits)
        there = numbers.index_select(0, order)
        new = torch.ones(len(numbers), dtype=torch.bool)
        torch.ne(there[1:], there[:-1], out=new[1:])
        first = new.nonzero()[:, 0]
        index = torch.empty_like(order)
        index[order] = new.cumsum(0) - 1
        start = torch.cat([first, first.new_tensor([len(numbers)])])
        count = sum_rows(rows.count[:, None], order, start)[:, 0]
        return cls(there.index_select(0, first), Rows.of(count), index, order, start)

    def expand(self, x: Float[Tensor, "values dim"]) -> Float[Tensor, "rows dim"]:
        """Return for each row what was computed of its number."""
        if self.index is None:
            return x
        result: Tensor = _Expand.apply(x, self)  # type: ignore[no-untyped-call]
        return result


class _Expand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, equal: Equal) -> Tensor:  # noqa: ANN401 (torch has no type)
        ctx.equal = equal
        assert equal.index is not None
        return x.index_select(0, equal.index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 (torch has no type)
        assert ctx.equal.order is not None
        return sum_rows(gradient, ctx.equal.order, ctx.equal.start), None
