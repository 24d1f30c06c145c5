"""A training inside a study: as `tlzoo fit` would do it, without a run directory, on data read before."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from tlzoo.data import named
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.data.module import CrystalDataModule
from tlzoo.study.axes import Tree
from tlzoo.study.identity import canonical, of_split
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


def prepared(tree: Tree, folder: Path, memory: Memory) -> tuple[Experiment, pl.Trainer, Best]:
    """Build everything; take table and split from memory.

    The folder is for what callbacks of the configuration may write.
    """
    experiment = Configuration.parsed({**tree, "run_dir": str(folder)}).build()
    memory.share(experiment.data, tree.get("data") or {})
    best = Best()
    keep = Keep(folder, "best", monitor=experiment.task.monitor)
    settings = {"logger": False, "enable_progress_bar": False, "default_root_dir": folder}
    return experiment, trainer_of(experiment, [keep], [best], **settings), best


def _recalled(shelf: "OrderedDict[str, T]", key: str, size: int, made: Callable[[], T]) -> T:
    """Return what is remembered under a key, else what is made; forget what was not asked for longest."""
    if key not in shelf:
        shelf[key] = made()
    shelf.move_to_end(key)
    while len(shelf) > size:
        shelf.popitem(last=False)
    return shelf[key]
