"""The only LightningDataModule: a source, a split, targets and the graph store."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.batches import EpochSampler, Shares
from tlzoo.data.duplicates import duplicate_groups
from tlzoo.data.known_elements import check_elements
from tlzoo.data.oversampling import repeated
from tlzoo.data.pseudo_labels import read_pseudo_labels, with_unlabelled
from tlzoo.data.sources import read
from tlzoo.data.splits import Random, Split, Splitter
from tlzoo.descriptors.stores import Options, Store, open_store
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.machine import distributed
from tlzoo.machine.runtime import shared_memory, usable_cores

logger = logging.getLogger(__name__)

# Training ALIGNN as published, 256 wide with 4 + 4 layers, takes up to 30 kB a row: 3 GB of a laptop's 8.
# Other networks take less.
MAX_ROWS = 100_000

# On a GPU, processes gather the next batches while it computes: so many at most, each for so many batches.
# They hand them over in shared memory; with little of it a training would die of a bus error.
WORKERS, FEWEST_BATCHES, SHARED_MEMORY = 6, 50, 1 << 30

SHUFFLED = "a control: labels of the training and validation part are shuffled, those of the test part not"


@dataclass(frozen=True, eq=False)
class LabelledGraphs(Dataset[Batch]):
    """One part of a split as batches of graphs, or descriptors, with targets.

    Attributes:
        store: Graphs or descriptors of all crystals in use.
        positions: Where the crystals of this part are in the store, ``(crystals,)``.
        rows: Where they are in the table, ``(crystals,)``.
        targets: Physical units, NaN where unknown, ``(crystals, targets)``.
    """

    store: Store
    positions: NDArray[np.int64]
    rows: NDArray[np.int64]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: NDArray[np.int64]) -> Batch:
        """Return the batch of the chosen crystals of this part."""
        batch = self.store.batch(self.positions[chosen])
        batch[keys.TARGETS] = self.targets[chosen]
        batch[keys.ROW] = torch.from_numpy(self.rows[chosen])
        return batch


class CrystalDataModule(pl.LightningDataModule):
    """Crystals with labels, split and batched for the model that asks.

    Args:
        source: A named data set, or a path to a folder, zip archive, table, extxyz file or ASE database.
        targets: Columns to learn; the data set's own target if it has only one.
        split: How to divide the crystals; 80/10/10 at random by default.
        batch_size: Crystals per training batch; where several processes train, each computes its share of it.
        max_rows: Rows in a batch, at most, so that large cells do not exhaust the memory: of angles where the
            network reads them (ALIGNN), else of bonds; equal ones are one row. None for no limit.
        oversample: Part of the training crystals that is to have each target: in an epoch, crystals with a
            rarer one come several times (:func:`tlzoo.data.oversampling.repeated`). 0 for each once.
        units: Units of the targets, where the source does not know them.
        id_column: Column of the ids, where the source does not find it.
        structure_column: Column of the structures, where the source does not find it.
        exclude: Ids of crystals to leave out, for example those that `tlzoo data check` finds fault with.
        leave_out: Columns of other data, by their name or path: crystals of a composition that has a value
            there are left out, so that a property that is later learned from few crystals meets them unseen.
        pseudo_labels: A file of labels for training crystals that have none, as `tlzoo predict MODEL DATA -o
            FILE` writes it: training learns what a model says of them, beside the known labels (Lee 2013;
            Hinton, Vinyals & Dean 2015). Validation, test and all metrics have known labels alone.
        shuffle_labels: A seed, for controls: training crystals exchange their labels at random, and so do
            validation crystals. What such a network is good for owes nothing to the labels.
        cache_dir: Folder of the graph cache; ``$TLZOO_CACHE`` or the user's cache by default.
    """

    def __init__(
        self,
        source: str,
        targets: Sequence[str] | None = None,
        split: Splitter | None = None,
        *,
        batch_size: int = 64,
        max_rows: int | None = MAX_ROWS,
        oversample: float = 0.0,
        units: Mapping[str, str] | None = None,
        id_column: str | None = None,
        structure_column: str | None = None,
        exclude: Sequence[str] | None = None,
        leave_out: Mapping[str, str] | None = None,
        pseudo_labels: str | None = None,
        shuffle_labels: int | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        if shuffle_labels is not None and shuffle_labels < 0:
            raise UserError(f"shuffle_labels must be a seed, 0 or more, got {shuffle_labels}")
        if shuffle_labels is not None and pseudo_labels is not None:
            raise UserError("shuffle_labels and pseudo_labels exclude each other; give one of them")
        self.source = source
        self.splitter = split or Random()
        self.batch_size = batch_size
        self.max_rows = max_rows
        self.oversample = oversample
        self.cache_dir = Path(cache_dir) if cache_dir else None
        self.exclude = list(exclude or ())
        self.leave_out = dict(leave_out or {})
        self.pseudo_labels = pseudo_labels
        self.shuffle_labels = shuffle_labels
        self.seed = torch.initial_seed() % 2**32
        self._targets = list(targets) if targets else None
        self._read_options: dict[str, Any] = {
            "units": units,
            "id_column": id_column,
            "structure_column": structure_column,
        }
        self._crystals: Crystals | None = None
        self._taken_out: frozenset[str] = frozenset()
        self._split: Split | None = None
        self._store: Store | None = None

    @property
    def crystals(self) -> Crystals:
        """The table of the source, read when first asked for."""
        if self._crystals is None:
            if named.known(self.source):
                crystals = named.load(self.source)
            else:
                crystals = read(self.source, targets=self._targets, **self._read_options)
            self._crystals = self._accept(crystals)
        return self._crystals

    @classmethod
    def from_crystals(cls, crystals: Crystals, **options: Any) -> "CrystalDataModule":  # noqa: ANN401
        """Build the module on crystals that are in memory (see :meth:`Crystals.from_structures`).

        Args:
            crystals: The table.
            **options: Arguments of the constructor but ``source``.
        """
        module = cls("crystals in memory", **options)
        module._crystals = module._accept(crystals)
        return module

    def share(self, other: "CrystalDataModule", *, split: bool = True) -> None:
        """Take over the table of a module with the same arguments: nothing is read again.

        Args:
            other: The module.
            split: Take over the split too; False if the arguments differ in it, or in the targets.
        """
        self._crystals, self._taken_out = other.crystals, other._taken_out
        if split:
            self._split = other.split

    def _accept(self, crystals: Crystals) -> Crystals:
        """Take out what is to be left out, and remember which ids that were."""
        ids = frozenset(crystals.ids)
        if self.exclude:
            unknown = sorted(set(self.exclude) - set(crystals.ids))
            if unknown:
                raise UserError(
                    f"data.exclude names ids that are not in {self.source}: {', '.join(unknown[:5])}"
                )
            crystals = crystals.select(np.flatnonzero(~np.isin(crystals.ids, self.exclude)))
        if self.leave_out:
            there = [_compositions(source, column) for source, column in self.leave_out.items()]
            crystals = crystals.select(np.flatnonzero(~np.isin(crystals.formulas, np.concatenate(there))))
        check_elements(crystals)
        self._taken_out = ids.difference(crystals.ids)
        return crystals

    @property
    def targets(self) -> list[str]:
        """Names of the target columns."""
        if self._targets is None:
            if named.known(self.source) and (target := named.find(self.source).default_target):
                self._targets = [target]
            elif len(self.crystals.columns) == 1:
                self._targets = list(self.crystals.columns)
            else:
                there = ", ".join(self.crystals.columns) or "none"
                raise UserError(f"data.targets must name the column(s) to learn; there are: {there}")
        return self._targets

    @property
    def units(self) -> list[str]:
        """Unit of each target; empty where unknown."""
        return [self.crystals.units.get(name, "") for name in self.targets]

    @property
    def split(self) -> Split:
        """Rows of the table for training, validation and test."""
        if self._split is None:
            together = getattr(self.splitter, "keep_duplicates_together", False)
            groups = duplicate_groups(self.crystals) if together else None
            split = self.splitter.split(
                self.crystals, targets=self.targets, groups=groups, excluded=self._taken_out
            )
            if self._pseudo is not None:
                split = with_unlabelled(
                    split,
                    self.splitter,
                    self.crystals,
                    targets=self.targets,
                    labels=self._pseudo,
                    groups=groups,
                    excluded=self._taken_out,
                )
            if self.shuffle_labels is not None:
                split = replace(split, notes=(*split.notes, SHUFFLED))
                logger.warning("data.shuffle_labels is %d: %s", self.shuffle_labels, SHUFFLED)
            self._split = split
        return self._split

    @cached_property
    def _pseudo(self) -> NDArray[np.float32] | None:
        """Pseudo-labels in physical units, NaN where there is none, ``(crystals, targets)``."""
        if self.pseudo_labels is None:
            return None
        return read_pseudo_labels(self.pseudo_labels, self.crystals, self.targets)

    def _learned(self, rows: NDArray[np.int64]) -> Tensor:
        """What training learns of training crystals: known targets, else pseudo-labels."""
        known = self.target_values(rows)
        if self._pseudo is None:
            return known
        return torch.where(known.isnan(), torch.from_numpy(self._pseudo[rows]), known)

    def target_values(self, rows: NDArray[np.int64]) -> Tensor:
        """Known targets in physical units, else NaN, ``(crystals, targets)``; shuffled if that is asked."""
        if self.shuffle_labels is not None:
            rows = self._exchanged(self.shuffle_labels)[rows]
        return torch.stack([self._numeric(name)[torch.from_numpy(rows)] for name in self.targets], dim=1)

    def _exchanged(self, seed: int) -> NDArray[np.int64]:
        """Return for each row of the table the one whose labels it gets, ``(crystals,)``."""
        rows = np.arange(len(self.crystals))
        for number, part in enumerate((self.split.train, self.split.val)):
            rows[part] = np.random.default_rng([seed, number]).permutation(part)
        return rows

    def _numeric(self, name: str) -> Tensor:
        column = self.crystals.column(name)
        if column.dtype == object:
            bad = next(i for i, value in enumerate(column) if isinstance(value, str))
            raise UserError(
                f"target {name!r} is not a number: {self.crystals.origin(bad)} has {column[bad]!r}; "
                "correct it, or leave the field empty if it is unknown"
            )
        return torch.from_numpy(column.astype(np.float32))

    def train_targets(self) -> Tensor:
        """Targets of the training part, in physical units, ``(crystals, targets)``."""
        return self.target_values(self.split.train)

    def setup(self, stage: str) -> None:  # noqa: ARG002 (all stages need the same)
        """Read, split, and open the graphs that the model of this trainer reads."""
        assert self.trainer is not None
        self.seed = distributed.gather(self.seed)[0]
        model: Any = self.trainer.lightning_module
        self.open_graphs(model.backbone.graph)

    def open_graphs(self, options: Options) -> None:
        """Open or build the store of all crystals that the split uses: graphs, or descriptors.

        Of several processes one reads and builds, then the others open; all must call it.
        """
        with distributed.first():
            crystals = self.crystals.select(self.used_rows)
            self._store = open_store(crystals, options, cache_dir=self.cache_dir)

    @property
    def used_rows(self) -> NDArray[np.int64]:
        """Rows of the table in any part, ascending."""
        return np.unique(np.concatenate([self.split.train, self.split.val, self.split.test]))

    def _loader(self, rows: NDArray[np.int64], *, shuffle: bool, whole: bool = False) -> DataLoader[Batch]:
        assert self._store is not None
        positions = np.searchsorted(self.used_rows, rows)
        # shuffled is what is learned from; metrics have known labels alone
        values = self._learned(rows) if shuffle else self.target_values(rows)
        graphs = LabelledGraphs(self._store, positions, rows, values)
        known = ~graphs.targets.isnan().numpy()
        chosen = repeated(known, self.oversample) if shuffle else np.arange(len(rows))
        batches = EpochSampler(
            chosen,
            batch_size=self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            sizes=self._store.num_rows[positions[chosen]] if self.max_rows else None,
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
            sizes = self._store.num_rows[positions]
            sampler = Shares(batches, sizes, number=distributed.rank(), count=distributed.world())
        # A generator of its own: iterating must not draw from the one that drives dropout.
        return DataLoader(
            graphs,
            sampler=sampler,
            batch_size=None,
            generator=torch.Generator(),
            **self._loading(len(sampler)),
        )

    def _loading(self, batches: int) -> dict[str, Any]:
        """How batches come to the device: on a CPU they are there at once."""
        trainer = self.trainer
        if trainer is None or trainer.strategy.root_device.type != "cuda":
            return {}
        workers = min(WORKERS, usable_cores() - 1, batches // FEWEST_BATCHES)
        if shared_memory() < SHARED_MEMORY:
            workers = 0
        return {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": True}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002 (Lightning's signature)
        """Begin to copy a batch to the device; the next operation there waits for it."""
        return batch.to(device, non_blocking=True)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches of the training part, in an order fixed by seed and epoch."""
        return self._loader(self.split.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the validation part."""
        return self._loader(self.split.val, shuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test part.

        Raises:
            UserError: The split has no test part.
        """
        if len(self.split.test) == 0:
            raise UserError("the split has no test part; choose a splitter with test > 0")
        return self._loader(self.split.test, shuffle=False)

    def part_dataloader(self, part: str, *, whole: bool = False) -> DataLoader[Batch]:
        """Batches of a part in the order of the split.

        Args:
            part: ``train``, ``val`` or ``test``.
            whole: In several processes each gets the whole batches, not its share of them.
        """
        return self._loader(getattr(self.split, part), shuffle=False, whole=whole)


def _compositions(source: str, column: str) -> NDArray[np.str_]:
    """Return the formulas of the crystals that have a value in a column."""
    crystals = named.load(source) if named.known(source) else read(source, targets=[column])
    known = ~pd.isna(crystals.column(column))
    return np.asarray(crystals.formulas, dtype=np.str_)[known]
