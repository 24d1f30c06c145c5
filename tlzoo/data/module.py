"""The only LightningDataModule: a labelled table and the loader of its batches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from tlzoo.crystals import Crystals
from tlzoo.data.atom_table import AtomTable
from tlzoo.data.atom_targets import AtomTargets
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.data.loader import Loader
from tlzoo.data.sources.repeats import SameId
from tlzoo.data.splits import Split, Splitter
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.stores import Options, Store, open_store
from tlzoo.errors import UserError
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.machine import distributed

# Training ALIGNN as published, 256 wide with 4 + 4 layers, takes up to 30 kB a row: 3 GB of a laptop's 8.
# Other networks take less.
MAX_ROWS = 100_000


class CrystalDataModule(pl.LightningDataModule):
    """Crystals with labels, split and batched for the model that asks.

    It serves any LightningModule that says what it reads of a crystal: by an attribute ``graph``, or that of
    its ``backbone``, of options (:class:`~tlzoo.graphs.graph_options.GraphOptions` or
    :class:`~tlzoo.descriptors.descriptor_options.DescriptorOptions`). For one that does not say it, and
    without a trainer, call :meth:`open_graphs`. Batches have the fields of :mod:`tlzoo.graphs.keys`.

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
        same_id: What rows with one id are: ``average``, one crystal with the mean of their labels, if their
            structure is the same; ``rename``, several, which get a number behind the id; by default an error.
        exclude: Ids of crystals to leave out, for example those that `tlzoo data check` finds fault with.
        leave_out: Columns of other data, by their name or path: crystals of a composition that has a value
            there are left out, so that a property that is later learned from few crystals meets them unseen.
        pseudo_labels: A file of labels for training crystals that have none, as `tlzoo predict MODEL DATA -o
            FILE` writes it: training learns what a model says of them, beside the known labels (Lee 2013;
            Hinton, Vinyals & Dean 2015). Validation, test and all metrics have known labels alone.
        teacher: A folder that `tlzoo embed MODEL DATA --atoms -o FOLDER` wrote: what a model says of the
            atoms of crystals, learned beside the labels (`model.distillation`), also of training crystals
            that have no label.
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
        same_id: SameId | None = None,
        exclude: Sequence[str] | None = None,
        leave_out: Mapping[str, str] | None = None,
        pseudo_labels: str | None = None,
        teacher: str | None = None,
        shuffle_labels: int | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        self.table = LabelledTable(
            source,
            targets,
            split,
            units=units,
            id_column=id_column,
            structure_column=structure_column,
            same_id=same_id,
            exclude=exclude,
            leave_out=leave_out,
            pseudo_labels=pseudo_labels,
            teacher=teacher,
            shuffle_labels=shuffle_labels,
        )
        self.batch_size = batch_size
        self.max_rows = max_rows
        self.oversample = oversample
        self.cache_dir = Path(cache_dir) if cache_dir else None
        self.seed = torch.initial_seed() % 2**32
        self._options: Options | None = None
        self._opened: tuple[Store, NDArray[np.int64]] | None = None
        self._atoms: AtomTargets | None = None

    @classmethod
    def from_crystals(
        cls,
        crystals: Any,  # noqa: ANN401 (whatever a user gives; see the arguments)
        *,
        labels: Mapping[str, Sequence[Any]] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> "CrystalDataModule":
        """Build the module on crystals that are in memory.

        Args:
            crystals: Crystals, a data frame or structures; see :func:`tlzoo.data.intake.crystals_from`.
            labels: Columns of structures in a list, by name.
            **options: Arguments of the constructor but ``source``.

        Raises:
            UserError: Something in them cannot be read; the message says what, by row.
        """
        module = cls("crystals in memory", **options)
        module.table.take(crystals, labels)
        return module

    def share(self, other: "CrystalDataModule", *, split: bool = True) -> None:
        """Take over the table of a module with the same arguments; see :meth:`LabelledTable.share`.

        With the split also the store that it has opened.
        """
        self.table.share(other.table, split=split)
        if split and self.cache_dir == other.cache_dir:
            self._options, self._opened = other._options, other._opened

    @property
    def source(self) -> str:
        """What the crystals were read from."""
        return self.table.source

    @property
    def pseudo_labels(self) -> str | None:
        """The file of pseudo-labels, if there is one."""
        return self.table.pseudo_labels

    @property
    def teacher(self) -> AtomTable | None:
        """What a teacher says of atoms, if there is one."""
        return self.table.atoms

    @property
    def crystals(self) -> Crystals:
        """The table of the source, read when first asked for."""
        return self.table.crystals

    @property
    def targets(self) -> list[str]:
        """Names of the target columns."""
        return self.table.targets

    @property
    def units(self) -> list[str]:
        """Unit of each target; empty where unknown."""
        return self.table.units

    @property
    def split(self) -> Split:
        """Rows of the table for training, validation and test."""
        return self.table.split

    @property
    def used_rows(self) -> NDArray[np.int64]:
        """Rows of the table in any part, ascending."""
        return self.table.used_rows

    def target_values(self, rows: NDArray[np.int64]) -> Tensor:
        """Known targets in physical units, else NaN, ``(crystals, targets)``; shuffled if that is asked."""
        return torch.from_numpy(self.table.labels(rows))

    def train_targets(self) -> Tensor:
        """Targets of the training part, in physical units, ``(crystals, targets)``."""
        return self.target_values(self.split.train)

    def setup(self, stage: str) -> None:
        """Read, split, and open the graphs that the module of the trainer reads.

        Raises:
            UserError: Nobody has said which graphs; crystals cannot be read, or have no graph.
        """
        self.seed = distributed.gather(self.seed)[0]
        if stage == "fit":
            with distributed.first():
                self.table.check_learnable()
        self.open_graphs(self._wanted(), everything=stage == "predict")

    def _wanted(self) -> Options:
        """Return what the module of the trainer reads of a crystal, else what was opened before."""
        module = self.trainer and self.trainer.lightning_module
        backbone = getattr(module, "backbone", None)
        wanted = getattr(module, "graph", None) or getattr(backbone, "graph", None) or self._options
        if isinstance(wanted, GraphOptions | DescriptorOptions | VectorOptions):
            return wanted
        asked = f"{type(module).__name__}.graph is {wanted}" if module else "the data module has no trainer"
        raise UserError(
            f"{asked}, so that nobody says which graphs to make: give the LightningModule an attribute "
            "graph, for example GraphOptions() of tlzoo.graphs.graph_options, or call "
            "open_graphs(GraphOptions()) of the data module first"
        )

    def open_graphs(self, options: Options, *, everything: bool = False) -> None:
        """Open or build the store of all crystals that the split uses: graphs, or descriptors.

        Of several processes one reads and builds, then the others open; all must call it. ``everything`` is
        what predicting asks for: all crystals of the table, without a split.
        """
        if self._opened is not None and self._options == options and not everything:
            return
        self._options = options
        with distributed.first():
            rows = np.arange(len(self.crystals)) if everything else self.used_rows
            store = open_store(self.crystals.select(rows), options, cache_dir=self.cache_dir)
        self._opened, self._atoms = (store, rows), None

    def store_of(self, rows: NDArray[np.int64], options: Options) -> Store:
        """Return the graphs, or descriptors, of crystals that the split uses, by their rows in the table."""
        self.open_graphs(options)
        assert self._opened is not None
        store, opened = self._opened
        return store.select(np.searchsorted(opened, rows))

    def rows_of_batch(self, options: Options) -> float:
        """Return how many rows a training batch has on average: of bonds, or of angles."""
        train = self.split.train
        return float(self.store_of(train, options).num_rows.sum()) / max(1.0, len(train) / self.batch_size)

    def _taught(self) -> AtomTargets | None:
        """Return what a teacher says of the atoms of the store; all processes must call it."""
        if self.teacher is not None and self._atoms is None:
            if self._opened is None:
                self.open_graphs(self._wanted())
            assert self._opened is not None
            assert self._options is not None
            store, rows = self._opened
            crystals = self.crystals.select(rows)
            with distributed.first():
                self._atoms = AtomTargets.open(
                    self.teacher, crystals, store, self._options, cache_dir=self.cache_dir
                )
        return self._atoms

    def _loader(self, *, everything: bool = False) -> Loader:
        if self._opened is None or (everything and len(self._opened[1]) < len(self.crystals)):
            self.open_graphs(self._wanted(), everything=everything)
        assert self._opened is not None
        store, rows = self._opened
        gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return Loader(
            store=store,
            rows=rows,
            batch_size=self.batch_size,
            max_rows=self.max_rows,
            oversample=self.oversample,
            seed=self.seed,
            gpu=gpu,
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002 (Lightning's signature)
        """Begin to copy a batch to the device; the next operation there waits for it."""
        return batch if device.type == "cpu" else batch.to(device, non_blocking=True)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches of the training part, in an order fixed by seed and epoch."""
        # shuffled is what is learned from; metrics have known labels alone
        rows = self.split.train
        atoms = self._taught()
        return self._loader().batches(rows, self.table.learned(rows), shuffle=True, atoms=atoms)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the validation part."""
        rows = self.split.val
        return self._loader().batches(rows, self.table.labels(rows), atoms=self._taught())

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test part.

        Raises:
            UserError: The split has no test part.
        """
        if len(self.split.test) == 0:
            raise UserError("the split has no test part; choose a splitter with test > 0")
        return self.part_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Batches of all crystals of the table, in its order; labels are NaN where unknown."""
        rows = np.arange(len(self.crystals))
        unknown = np.empty((len(rows), 0), dtype=np.float32)
        values = self.table.labels(rows) if self.table.known_targets else unknown
        return self._loader(everything=True).batches(rows, values)

    def part_dataloader(self, part: str, *, whole: bool = False) -> DataLoader[Batch]:
        """Batches of a part in the order of the split; in each process its share or the ``whole`` batches."""
        rows = getattr(self.split, part)
        return self._loader().batches(rows, self.table.labels(rows), whole=whole)
