"""Rows that stand for several equal ones, as batch statistics read them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.nn.row_blocks import Blocks


@dataclass(frozen=True, eq=False)
class Rows:
    """What each row of atoms, bonds or angles counts in a mean over the cells of a batch.

    Attributes:
        count: How many atoms, bonds or angles of the cells each stands for, ``(rows,)``.
        share: The same as a part of all of its network, ``(rows,)``; sums to 1.
        total: Number of all, a scalar; of each network, ``(networks,)``, if there are several.
        blocks: Which rows are whose, if there are several networks.
    """

    count: Float[Tensor, " rows"]
    share: Float[Tensor, " rows"]
    total: Float[Tensor, "*networks"]
    blocks: Blocks | None = None

    @cached_property
    def unbiased(self) -> Float[Tensor, "*networks 1"]:
        """The unbiased variance, which running statistics keep, as a multiple of the variance."""
        return (self.total / (self.total - 1).clamp(min=1.0))[..., None]

    @cached_property
    def starts(self) -> Int[Tensor, " networks_plus_1"]:
        """First row of each network, and the number of all; of one network nothing and all."""
        starts = (0, len(self.share)) if self.blocks is None else self.blocks.starts
        return torch.tensor(starts)

    @classmethod
    def of(cls, count: Float[Tensor, " rows"], blocks: Blocks | None = None) -> Rows:
        """Make shares of counts."""
        if blocks is None:
            total = count.sum()
            return cls(count, count / total, total)
        total = blocks.sums(count[:, None])
        share = (blocks.view(count[:, None]) / blocks.spread(total)).flatten()
        return cls(count, share, total[:, 0], blocks)

    @classmethod
    def atoms(cls, batch: Batch) -> Rows:
        """Return the atoms of a batch."""
        several = batch[keys.NETWORKS].inside(batch[keys.BATCH]) if keys.NETWORKS in batch else None
        return cls.of(batch[keys.ATOM_COUNT], several)


def crystals(batch: Batch) -> int | Blocks:
    """Return how many crystals a batch has; if several networks read it, which are whose."""
    found: int | Blocks = batch[keys.NETWORKS if keys.NETWORKS in batch else keys.NUM_CRYSTALS]
    return found
