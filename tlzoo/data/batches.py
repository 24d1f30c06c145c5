"""Which crystals go together into a batch, epoch by epoch."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from tlzoo.errors import UserError

Positions = NDArray[np.int64]


class EpochSampler(Sampler[Positions]):
    """Batches of positions; the order depends on the seed and the epoch alone.

    An interrupted and resumed run therefore sees the same batches as a straight one. The number of batches
    is the same in every epoch, because Lightning asks for it once. Use it as
    ``DataLoader(dataset, sampler=EpochSampler(...), batch_size=None)``.

    With a budget and shuffling, crystals are dealt in random order, each to the batch with the least load,
    where the load of a crystal is the larger of ``size / budget`` and ``1 / batch_size``. With K batches no
    load exceeds ``total / K`` plus the largest load (Graham 1966), which gives the K that keeps every batch
    within both limits.
    A crystal of more than half the budget gets a batch of its own.

    Args:
        positions: What the batches are made of, ``(crystals,)``: positions in the data set.
        batch_size: Crystals in a batch, at most (a last single crystal joins the batch before it).
        shuffle: Draw a new order each epoch (training); False keeps the order given.
        seed: Seed of the orders.
        sizes: Size of each crystal in what the budget counts (atoms, or bonds), ``(crystals,)``.
        drop_last: Leave out what does not fill a batch, unless nothing else is there.
        budget: Sum of sizes in a batch, at most; None for no such limit.

    References:
        R. L. Graham, Bell Syst. Tech. J. 45, 1563 (1966).
    """

    def __init__(
        self,
        positions: Positions,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        sizes: NDArray[np.int64] | None = None,
        drop_last: bool = False,
        budget: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        if budget is not None and budget < 1:
            raise UserError(f"the budget of a batch must be at least 1, got {budget}")
        if (budget is None) != (sizes is None):
            raise UserError(
                "a budget needs the sizes of the crystals, and sizes a budget; give both or neither"
            )
        if budget is not None and drop_last:
            raise UserError(
                "drop_last has no meaning with a budget: batches differ in size; give one of the two"
            )
        self.positions = np.asarray(positions, dtype=np.int64)
        self.sizes = np.ones_like(self.positions) if sizes is None else np.asarray(sizes, dtype=np.int64)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.budget = budget
        self.epoch = 0
        self._length = len(self._batches())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches, the same in every epoch."""
        return self._length

    def __iter__(self) -> Iterator[Positions]:
        """Yield positions, one int64 array a batch."""
        for members in self._batches():
            yield self.positions[members]

    def _batches(self) -> list[Positions]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = np.arange(len(self.positions))
        if self.shuffle:
            order = rng.permutation(order)
        if self.budget is None:
            return self._chunks(order)
        if self.shuffle:
            dealt = self._deal(order, self.budget)
            return [dealt[i] for i in rng.permutation(len(dealt))]
        return self._packed(order, self.budget)

    def _chunks(self, order: Positions) -> list[Positions]:
        chunks = (
            np.split(order, np.arange(self.batch_size, len(order), self.batch_size)) if len(order) else []
        )
        if len(chunks) < 2:
            return chunks
        if self.drop_last and len(chunks[-1]) < self.batch_size:
            return chunks[:-1]
        if self.shuffle and len(chunks[-1]) == 1 < self.batch_size:
            # batch normalisation over one crystal has no variance
            return [*chunks[:-2], np.concatenate(chunks[-2:])]
        return chunks

    def _packed(self, order: Positions, budget: int) -> list[Positions]:
        batches: list[list[int]] = []
        total = 0
        for position in order.tolist():
            size = int(self.sizes[position])
            if not batches or len(batches[-1]) == self.batch_size or total + size > budget:
                batches.append([])
                total = 0
            batches[-1].append(position)
            total += size
        return [np.array(batch, dtype=np.int64) for batch in batches]

    def _deal(self, order: Positions, budget: int) -> list[Positions]:
        loads = np.maximum(self.sizes / budget, 1 / self.batch_size)
        alone = loads > 0.5
        small = order[~alone[order]]
        batches: list[list[int]] = [[position] for position in order[alone[order]].tolist()]
        if len(small):
            # sums of the sorted loads: the count must not depend on the order
            total = float(np.sort(loads[small]).sum())
            needed = 1 if total <= 1 else int(np.ceil(total / (1 - loads[small].max()) - 1e-9))
            count = min(len(small), needed)
            bins: list[list[int]] = [[] for _ in range(count)]
            heap = [(0.0, i) for i in range(count)]
            for position in small.tolist():
                load, i = heapq.heappop(heap)
                bins[i].append(position)
                heapq.heappush(heap, (load + float(loads[position]), i))
            batches.extend(bins)
        return [np.array(batch, dtype=np.int64) for batch in batches]
