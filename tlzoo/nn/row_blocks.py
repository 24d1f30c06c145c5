"""Rows of several networks in one tensor, those of one network after those of another.

Networks of one shape so compute a step with as many operations as one of them. Whatever treats each row, or
each segment of rows, by itself knows nothing of it: gathers, sums, gates, products of features. What has
weights or looks at all rows is told by :class:`Blocks` which rows are whose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from tlzoo.nn.segment import sum_rows


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which rows belong to which network.

    Attributes:
        starts: First row of each network, and their number, ``networks + 1``.
        device: Where the rows are.
    """

    starts: tuple[int, ...]
    device: torch.device

    def to(self, device: torch.device) -> Blocks:
        """Return those of the same rows on a device."""
        return Blocks(self.starts, device)

    @classmethod
    def of(cls, sizes: Sequence[int], device: torch.device | None = None) -> Blocks:
        """Return those of so many rows of each network."""
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + size)
        return cls(tuple(starts), device or torch.device("cpu"))

    def inside(self, index: Int[Tensor, " rows"]) -> Blocks:
        """Return the blocks of rows that are each in one of these; ``index``, ascending, says in which."""
        starts = torch.searchsorted(index, torch.tensor(self.starts, device=self.device))
        return Blocks(tuple(starts.tolist()), self.device)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def size(self) -> int | None:
        """How many rows each network has; None if they differ."""
        sizes = {stop - start for start, stop in pairwise(self.starts)}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def slices(self) -> list[slice]:
        """The rows of each network."""
        return [slice(start, stop) for start, stop in pairwise(self.starts)]

    @cached_property
    def _pointers(self) -> Tensor:
        return torch.tensor(self.starts, device=self.device)

    @cached_property
    def network(self) -> Int[Tensor, " rows"]:
        """The network of each row."""
        networks = torch.arange(len(self), device=self.device)
        return networks.repeat_interleave(self._pointers.diff(), output_size=self.starts[-1])

    def view(self, rows: Tensor) -> Tensor:
        """Return rows so that :meth:`spread` fits: ``(networks, rows, …)`` where they are as many each."""
        return rows if self.size is None else rows.view(len(self), self.size, *rows.shape[1:])

    def spread(self, values: Float[Tensor, "networks dim"]) -> Tensor:
        """Return values of the networks for their rows, as :meth:`view` has these."""
        return values.index_select(0, self.network) if self.size is None else values[:, None]

    def sums(
        self, rows: Float[Tensor, "rows dim"], weight: Float[Tensor, " rows"] | None = None
    ) -> Float[Tensor, "networks dim"]:
        """Sum the rows of each network, times their weights."""
        if self.size is None:
            each = torch.arange(len(rows), device=self.device)
            return sum_rows(rows, each, self._pointers, weight)
        rows = self.view(rows)
        return rows.sum(1) if weight is None else torch.bmm(self.view(weight)[:, None], rows)[:, 0]

    def plus(
        self, rows: Float[Tensor, "rows dim"], values: Float[Tensor, "networks dim"]
    ) -> Float[Tensor, "rows dim"]:
        """Add to each row the values of its network."""
        return (self.view(rows) + self.spread(values)).view_as(rows)

    def add_products(
        self,
        total: Float[Tensor, "rows out"],
        rows: Float[Tensor, "rows dim"],
        weight: Float[Tensor, "networks dim out"],
    ) -> Float[Tensor, "rows out"]:
        """Add the product of its rows and its weight for each network; return the total."""
        if self.size is None:
            for x, w, y in zip(self.split(rows), weight.unbind(), self.split(total), strict=True):
                y.addmm_(x, w)
        else:
            self.view(total).baddbmm_(self.view(rows), weight)
        return total

    def products(
        self, rows: Float[Tensor, "rows dim"], weight: Float[Tensor, "networks dim out"]
    ) -> Float[Tensor, "rows out"]:
        """Return the product of its rows and its weight for each network."""
        if self.size is not None:
            return torch.bmm(self.view(rows), weight).flatten(0, 1)
        return self.linear(rows, weight.mT, None, self)

    @cached_property
    def sizes(self) -> list[int]:
        """How many rows each network has."""
        return [stop - start for start, stop in pairwise(self.starts)]

    def split(self, rows: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
        """Return the rows of each network: views, made in one operation."""
        return torch.split_with_sizes(rows, self.sizes, dim)

    @staticmethod
    def linear(
        rows: Float[Tensor, "rows dim"],
        weight: Float[Tensor, "*networks out dim"],
        bias: Float[Tensor, "*networks out"] | None,
        blocks: Blocks | None,
    ) -> Float[Tensor, "rows out"]:
        """Return a linear layer of each row, or that of its network if there are several."""
        if blocks is None:
            return F.linear(rows, weight, bias)
        found = rows.new_empty(len(rows), weight.shape[1])
        each = zip(blocks.split(rows), weight.mT.unbind(), blocks.split(found), strict=True)
        if bias is None:
            for x, w, y in each:
                torch.mm(x, w, out=y)
        else:
            for (x, w, y), b in zip(each, bias.unbind(), strict=True):
                torch.addmm(b, x, w, out=y)
        return found

    @staticmethod
    def derivative(
        left: Float[Tensor, "rows out"], right: Float[Tensor, "rows dim"], blocks: Blocks | None
    ) -> Float[Tensor, "*networks out dim"]:
        """Return the derivative by the weight of a linear layer, of each network if there are several."""
        return left.t() @ right if blocks is None else blocks.outer(left, right)

    def outer(
        self, left: Float[Tensor, "rows out"], right: Float[Tensor, "rows dim"]
    ) -> Float[Tensor, "networks out dim"]:
        """Return the product of transposed rows and rows for each network: the derivative by a weight."""
        if self.size is not None:
            return torch.bmm(self.view(left).transpose(1, 2), self.view(right))
        found = left.new_empty(len(self), left.shape[1], right.shape[1])
        each = zip(self.split(left.t(), 1), self.split(right), found.unbind(), strict=True)
        for x, y, product in each:
            torch.mm(x, y, out=product)
        return found
