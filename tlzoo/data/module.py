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
from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.machine import distributed

# Training ALIGNN as published, 256 wide with 4 + 4 layers, takes up to 30 kB a row: 3 GB of a laptop's 8.
# Other networks take less.
MAX_ROWS = 100_000


class CrystalDataModule(pl.LightningDataModule):
    """Crystals with labels, split into parts and batched for the model that reads them.

    It serves any LightningModule that says what it reads of a crystal by an attribute ``graph`` (or whose
    ``backbone`` does): :class:`~tlzoo.graphs.graph_options.GraphOptions` or
    :class:`~tlzoo.descriptors.descriptor_options.DescriptorOptions`. For other modules, and without a
    trainer, call :meth:`open_graphs`. The fields of a batch are those of :mod:`tlzoo.graphs.keys`.

    Args:
        source: Labelled crystals: a named data set, or the path of a folder, zip archive, table, extxyz file
            or ASE database.
        targets: Columns to learn; not needed if the data have only one.
        split: How to split the crystals; by default 80 %, 10 % and 10 % at random.
        batch_size: Crystals per training batch. If several processes train, each computes its share of the
            batch.
        max_rows: Largest number of rows in a batch, so that large cells do not exhaust the memory. Rows are
            angles for networks that use them (ALIGNN), otherwise bonds; equal ones count once. None for no
            limit.
        oversample: For several targets: fraction of an epoch's training crystals that should have each
            target. Crystals with a rarer target are repeated (:func:`tlzoo.data.oversampling.repeated`). 0:
            no crystal is repeated.
        units: Units of the targets, if the data do not state them.
        id_column: Column with the ids, if it is not recognised.
        structure_column: Column with the structures, if it is not recognised.
        same_id: What to do with several rows that have the same id: ``average`` treats them as one crystal
            with the mean of their labels, if they have the same structure; ``rename`` keeps them apart by
            appending a number to the id. By default this is an error.
        exclude: Ids of crystals to leave out, for example those that `tlzoo data check` reports.
        leave_out: Columns of other data sets, by name or path: crystals of any composition that has a value
            there are left out. A network can so be pre-trained without the crystals that it will be tested on
            later.
        pseudo_labels: A file with labels for training crystals that have none, written by `tlzoo predict
            MODEL DATA -o FILE`. The network learns these predictions besides the known labels (Lee 2013;
            Hinton, Vinyals & Dean 2015). The validation and test parts and all metrics use known labels only.
        teacher: A folder written by `tlzoo embed MODEL DATA --atoms -o FOLDER`: features of atoms that the
            network learns besides the labels (`model.distillation`), also from training crystals without a
            label.
        shuffle_labels: A seed. For control experiments: labels are exchanged at random among the training
            crystals, and among the validation crystals. A network that is still good owes it to something
            else than the labels.
        cache_dir: Folder of the graph cache; by default ``$TLZOO_CACHE``, or the user's cache.
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
        """Make the data module of crystals in memory.

        Args:
            crystals: Crystals, a data frame or structures; see :func:`tlzoo.data.intake.crystals_from`.
            labels: For a list of structures: columns by name.
            **options: Arguments of the constructor, except ``source``.

        Raises:
            UserError: A crystal or label cannot be read; the message says which, by row.
        """
        module = cls("crystals in memory", **options)
        module.table.take(crystals, labels)
        return module

    def share(self, other: "CrystalDataModule", *, split: bool = True) -> None:
        """Take over the table of a module with the same arguments; see :meth:`LabelledTable.share`.

        If the parts have the same crystals together, also the store that it has opened.
        """
        self.table.share(other.table, split=split)
        opened = other._opened is not None and self.cache_dir == other.cache_dir
        if opened and (split or np.array_equal(self.used_rows, other.used_rows)):
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
        if isinstance(wanted, GraphOptions | DescriptorOptions | VectorOptions | FormulaOptions):
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

    def open_with(self, others: Sequence["CrystalDataModule"], options: Options) -> None:
        """Open one store for this module and others of the same table, whatever parts they make of it."""
        each = [self, *others]
        for one in each:
            if one._options != options:
                one._opened = None
        if self._opened is not None and all(one._opened is self._opened for one in others):
            return
        rows = np.unique(np.concatenate([one.used_rows for one in each]))
        store = open_store(self.crystals.select(rows), options, cache_dir=self.cache_dir)
        opened = (store, rows)
        for one in each:
            one._options, one._opened, one._atoms = options, opened, None

    @property
    def numbers_of_batches(self) -> tuple[int, int]:
        """In an epoch, to learn from and to validate; the store must be open."""
        return len(self.train_dataloader()), len(self.val_dataloader())

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

    def taught_batches(self, most: int) -> DataLoader[Batch]:
        """Batches of training crystals that the teacher knows, at most so many, drawn at random."""
        known = self.split.train[self.table.taught[self.split.train]]
        rows = np.sort(np.random.default_rng(0).permutation(known)[:most])
        return self._loader().batches(rows, self.table.labels(rows), whole=True, atoms=self._taught())

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
