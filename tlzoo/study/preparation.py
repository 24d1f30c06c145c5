"""A training inside a study: as `tlzoo fit` would do it, without a run directory, on data read before."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from tlzoo.data import named
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import DivergedError
from tlzoo.study.axes import Tree
from tlzoo.study.identity import canonical, of_split
from tlzoo.training.bundle import Batches, Bundle, Followers, Member, alike, largest, shape
from tlzoo.training.configuration import Configuration, Experiment, trainer_of
from tlzoo.training.resume import Keep

# Tables and splits that a process keeps.
TABLES, SPLITS = 3, 32

T = TypeVar("T")


class Memory:
    """The tables and splits of the last runs of a process: most runs share them with one before."""

    def __init__(self) -> None:
        self._tables: OrderedDict[str, LabelledTable] = OrderedDict()
        self._splits: OrderedDict[str, LabelledTable] = OrderedDict()

    def share(self, data: CrystalDataModule, section: Tree) -> None:
        """Give a data module, made from a section ``data``, the table and split known; remember its own."""
        same_split = of_split(section)
        same_table = {key: value for key, value in same_split.items() if key != "split"}
        if named.known(data.source):
            same_table.pop("targets", None)
        # not the module, which will hold a trainer and its model
        table = _recalled(self._tables, canonical(same_table), TABLES, lambda: data.table)

        def split() -> LabelledTable:
            data.table.share(table, split=False)
            return data.table

        data.table.share(_recalled(self._splits, canonical(same_split), SPLITS, split))


class Best(TorchCheckpointIO):
    """Keeps the weights of the best epoch in memory; a run directory would have them in ``best.ckpt``."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[str, Tensor] = {}
        self.epoch = 0

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,  # noqa: ARG002 (Lightning's signature)
        storage_options: object = None,  # noqa: ARG002
    ) -> None:
        """Keep the weights, in place of those before."""
        self.weights = {name: value.detach().clone() for name, value in checkpoint["state_dict"].items()}
        self.epoch = checkpoint["epoch"] + 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """A training that is built and has its data; what is to be kept of it stays in memory."""

    experiment: Experiment
    best: Best
    keep: Keep
    shape: str | None

    def alone(self) -> int:
        """Train it; return how many epochs there were."""
        trainer = self._trainer([self.keep], [self.best])
        trainer.fit(self.experiment.task, datamodule=self.experiment.data)
        return self._ended(trainer)

    def _trainer(self, callbacks: Sequence[pl.Callback], plugins: Sequence[Any]) -> pl.Trainer:
        folder = self.keep.dirpath
        settings = {"logger": False, "enable_progress_bar": False, "default_root_dir": folder}
        return trainer_of(self.experiment, callbacks, plugins, **settings)

    def _ended(self, trainer: pl.Trainer) -> int:
        self.experiment.task.load_state_dict(self.best.weights)
        self.experiment.task.to(trainer.strategy.root_device)
        return trainer.current_epoch

    @staticmethod
    def together(several: Sequence["Prepared"]) -> list[int | DivergedError]:
        """Train those of one shape as one; return how many epochs each had, or with what it diverged."""
        members = [
            Member(each.experiment.task, each.experiment.data, [each.keep], each.best) for each in several
        ]
        trainer = several[0]._trainer([Followers(members)], [])
        for member in members:
            member.join(trainer)
        with contextlib.suppress(DivergedError):  # all of them
            trainer.fit(Bundle(members), datamodule=Batches(members))
        return [
            each._ended(trainer) if member.diverged is None else member.diverged
            for each, member in zip(several, members, strict=True)
        ]


def prepared(tree: Tree, folder: Path, memory: Memory) -> Prepared:
    """Build everything; take table and split from memory.

    The folder is for what callbacks of the configuration may write.
    """
    config = Configuration.parsed({**tree, "run_dir": str(folder)})
    experiment = config.build()
    memory.share(experiment.data, tree.get("data") or {})
    keep = Keep(folder, "best", monitor=experiment.task.monitor)
    return Prepared(experiment, Best(), keep, shape(experiment, config.resolved))


def in_common(several: Sequence[Prepared]) -> tuple[list[str | None], int]:
    """Return what those trainings have in common that can be one, and how many can be one with the first.

    What is read of crystals is opened for those that have the shape of the first; of the others only that is
    known.
    """
    shapes = [each.shape for each in several]
    numbers = [i for i, each in enumerate(shapes) if each is not None and each == shapes[0]]
    if len(numbers) < 2:
        return shapes, 1
    modules = [several[i].experiment.data for i in numbers]
    options = [several[i].experiment.task.backbone.graph for i in numbers]
    for number, each in zip(numbers, alike([shapes[0]] * len(numbers), modules, options), strict=True):
        shapes[number] = each
    rows = max(
        module.rows_of_batch(option)
        for number, module, option in zip(numbers, modules, options, strict=True)
        if shapes[number] == shapes[0]
    )
    return shapes, largest(rows, modules[0].max_rows)


def _recalled(shelf: "OrderedDict[str, T]", key: str, size: int, made: Callable[[], T]) -> T:
    """Return what is remembered under a key, else what is made; forget what was not asked for longest."""
    if key not in shelf:
        shelf[key] = made()
    shelf.move_to_end(key)
    while len(shelf) > size:
        shelf.popitem(last=False)
    return shelf[key]
