"""Which crystals go together into a batch, epoch by epoch."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from tlzoo.errors import UserError
from tlzoo.graphs.parts import consecutive
from tlzoo.machine.distributed import balanced

Positions = NDArray[np.int64]

# Loads are rounded up to this many steps per factor of two: 4 % too large on average.
STEPS = 8


class EpochSampler(Sampler[Positions]):
    """Batches of positions; the order depends on the seed and the epoch alone.

    An interrupted and resumed run therefore sees the same batches as a straight one. The number of batches
    is the same in every epoch, because Lightning asks for it once. Use it as
    ``DataLoader(dataset, sampler=EpochSampler(...), batch_size=None)``.

    Where no ``batch_size`` crystals can exceed the budget it changes nothing. Else, when shuffling, crystals
    are dealt, the largest first, each to the batch with the least load (Graham 1969); the load of a crystal
    is the larger of ``size / budget`` and ``1 / batch_size``. Loads are rounded up to a few values, and
    crystals of the same load change places at random: so batches differ in every epoch, but not their
    number. A crystal larger than the budget gets a batch of its own.

    Args:
        positions: What the batches are made of, ``(crystals,)``: positions in the data set.
        batch_size: Crystals in a batch, at most (a last single crystal joins the batch before it).
        shuffle: Draw a new order each epoch (training); False keeps the order given.
        seed: Seed of the orders.
        sizes: Size of each crystal in what the budget counts, ``(crystals,)``.
        budget: Sum of sizes in a batch, at most; None for no such limit.

    Attributes:
        limited: Whether the budget makes batches smaller.

    References:
        R. L. Graham, SIAM J. Appl. Math. 17, 416 (1969).
    """

    def __init__(
        self,
        positions: Positions,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        sizes: NDArray[np.int64] | None = None,
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
        self.positions = np.asarray(positions, dtype=np.int64)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.limited = False
        if sizes is not None and budget is not None:
            # one more: a last single crystal joins the batch before it
            self.limited = int(np.sort(sizes)[-batch_size - 1 :].sum()) > budget
            if self.limited:
                self._loads = loads(sizes, batch_size, budget)
                self._batch_of_rank = dealt(np.sort(self._loads)[::-1])
                self._pieces = consecutive(sizes, most=batch_size, budget=budget)
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
        order = np.arange(len(self.positions))
        if not self.shuffle:
            return [order[piece] for piece in self._pieces] if self.limited else self._chunks(order)
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(order)
        if not self.limited:
            return self._chunks(order)
        ranked = order[np.argsort(-self._loads[order], kind="stable")]
        grouped = ranked[np.argsort(self._batch_of_rank, kind="stable")]
        batches = np.split(grouped, np.cumsum(np.bincount(self._batch_of_rank))[:-1])
        return [batches[i] for i in rng.permutation(len(batches))]

    def _chunks(self, order: Positions) -> list[Positions]:
        if not len(order):
            return []
        chunks = np.split(order, np.arange(self.batch_size, len(order), self.batch_size))
        if self.shuffle and len(chunks) > 1 and len(chunks[-1]) == 1 < self.batch_size:
            # batch normalisation over one crystal has no variance
            return [*chunks[:-2], np.concatenate(chunks[-2:])]
        return chunks


class Shares(Sampler[Positions]):
    """The share of one of several processes in each batch: crystals of about the same total size, or none.

    Sizes are those of all crystals of the data set, ``(crystals,)``; processes are numbered from 0.
    """

    def __init__(self, batches: EpochSampler, sizes: NDArray[np.int64], *, number: int, count: int) -> None:
        self.batches = batches
        self.sizes = sizes
        self.number = number
        self.count = count

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; Lightning calls this before each epoch."""
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of batches, the same for every process."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Positions]:
        """Yield positions, one int64 array a batch."""
        for members in self.batches:
            yield members[balanced(self.sizes[members], self.count)[self.number]]


def loads(sizes: NDArray[np.int64], batch_size: int, budget: int) -> NDArray[np.float64]:
    """Return the part of a batch that each crystal takes, rounded up, ``(crystals,)``; at most 1."""
    exact = np.clip(sizes / budget, 1 / batch_size, 1.0)
    rounded = np.exp2(np.ceil(np.log2(exact) * STEPS) / STEPS)
    return np.where(exact > 1 / batch_size, rounded, exact)


def dealt(ranked: NDArray[np.float64]) -> NDArray[np.int64]:
    """Deal loads to as few batches as this takes, each to the one with the least load.

    Args:
        ranked: Loads, at most 1 each, the largest first, ``(crystals,)``.

    Returns:
        The batch of each load, ``(crystals,)``; the loads of a batch sum to at most 1.
    """
    count = int(np.ceil(ranked.sum() - 1e-9))
    while True:
        heap = [(0.0, batch) for batch in range(count)]
        chosen = []
        for load in ranked.tolist():
            total, batch = heap[0]
            if total + load > 1 + 1e-9:
                break
            chosen.append(batch)
            heapq.heapreplace(heap, (total + load, batch))
        else:
            return np.array(chosen, dtype=np.int64)
        count += 1 + count // 200
