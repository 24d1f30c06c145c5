"""Batches of labelled crystals out of a store, as Lightning takes them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tlzoo.data.atom_targets import AtomTargets
from tlzoo.data.batches import EpochSampler, Shares
from tlzoo.data.oversampling import repeated
from tlzoo.descriptors.stores import Store
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.machine import distributed
from tlzoo.machine.runtime import shared_memory, usable_cores

logger = logging.getLogger(__name__)

# On a GPU, processes gather the next batches while it computes: so many at most, each for so many batches.
# They hand them over in shared memory; with little of it a training would die of a bus error.
WORKERS, FEWEST_BATCHES, SHARED_MEMORY = 6, 50, 1 << 30


@dataclass(frozen=True, eq=False)
class LabelledGraphs(Dataset[Batch]):
    """Crystals of a table as batches of graphs, or descriptors, with targets.

    Attributes:
        store: Graphs or descriptors of all crystals in use.
        positions: Where the crystals are in the store, ``(crystals,)``.
        rows: Where they are in the table, ``(crystals,)``.
        targets: Physical units, NaN where unknown, ``(crystals, targets)``.
        atoms: What a teacher says of the atoms of the store, if there is one.
    """

    store: Store
    positions: NDArray[np.int64]
    rows: NDArray[np.int64]
    targets: Tensor
    atoms: AtomTargets | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: NDArray[np.int64]) -> Batch:
        """Return the batch of the chosen crystals."""
        batch = self.store.batch(self.positions[chosen])
        batch[keys.TARGETS] = self.targets[chosen]
        batch[keys.ROW] = torch.from_numpy(self.rows[chosen])
        if self.atoms is not None:
            batch[keys.ATOM_TARGETS] = self.atoms.gathered(self.positions[chosen])
        return batch


@dataclass(frozen=True, eq=False, kw_only=True)
class Loader:
    """How crystals become batches, for a GPU or not.

    In the store are those ``rows`` of the table, ascending. The limits, and which part of the crystals of a
    shuffled epoch is to have each target, are those of :class:`tlzoo.data.module.CrystalDataModule`.
    """

    store: Store
    rows: NDArray[np.int64]
    batch_size: int
    max_rows: int | None
    oversample: float
    seed: int
    gpu: bool

    def batches(
        self,
        rows: NDArray[np.int64],
        values: NDArray[np.float32],
        *,
        shuffle: bool = False,
        whole: bool = False,
        atoms: AtomTargets | None = None,
    ) -> DataLoader[Batch]:
        """Return batches of crystals.

        Args:
            rows: Their rows in the table, ``(crystals,)``.
            values: Their targets in physical units, NaN where unknown, ``(crystals, targets)``.
            shuffle: In another order each epoch, fixed by the seed; crystals with rare labels several times.
            whole: In several processes each gets the whole batches, not its share of them.
            atoms: What a teacher says of the atoms of the store, to be learned.
        """
        positions = np.searchsorted(self.rows, rows)
        chosen = repeated(~np.isnan(values), self.oversample) if shuffle else np.arange(len(rows))
        sizes = self.store.num_rows[positions]
        batches = EpochSampler(
            chosen,
            batch_size=self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            sizes=sizes[chosen] if self.max_rows else None,
            budget=self.max_rows,
        )
        average = round(len(chosen) / max(1, len(batches)))
        if shuffle and batches.limited and average < self.batch_size:
            logger.info(
                "batches of %d crystals on average, not %d: data.max_rows is %d",
                average, self.batch_size, self.max_rows,
            )  # fmt: skip
        sampler: EpochSampler | Shares = batches
        if distributed.world() > 1 and not whole:
            sampler = Shares(batches, sizes, number=distributed.rank(), count=distributed.world())
        # A generator of its own: iterating must not draw from the one that drives dropout.
        return DataLoader(
            LabelledGraphs(self.store, positions, rows, torch.from_numpy(values), atoms),
            sampler=sampler,
            batch_size=None,
            generator=torch.Generator(),
            **(gathering(len(sampler)) if self.gpu else {}),
        )


def gathering(batches: int) -> dict[str, Any]:
    """Return how a data loader brings so many batches to a GPU; on a CPU they are there at once."""
    workers = min(WORKERS, usable_cores() - 1, batches // FEWEST_BATCHES)
    if shared_memory() < SHARED_MEMORY:
        workers = 0
    return {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": True}
