"""A training inside a study: as `tlzoo fit` would do it, without a run directory, on data read before."""

import json
from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from tlzoo.data import named
from tlzoo.data.module import CrystalDataModule
from tlzoo.study.axes import Tree
from tlzoo.study.identity import canonical, of_split
from tlzoo.training.cli import TlzooCLI
from tlzoo.training.resume import Keep

# Tables and splits that a process keeps.
TABLES, SPLITS = 3, 32

T = TypeVar("T")


class Memory:
    """The tables and splits of the last runs of a process: most runs share them with one before."""

    def __init__(self) -> None:
        self._tables: OrderedDict[str, CrystalDataModule] = OrderedDict()
        self._splits: OrderedDict[str, CrystalDataModule] = OrderedDict()

    def share(self, data: CrystalDataModule, section: Tree) -> None:
        """Give a data module what is known of its table and split, and remember its own.

        Args:
            data: The data module.
            section: The section ``data`` that it was made from.
        """
        same_split = of_split(section)
        same_table = {key: value for key, value in same_split.items() if key != "split"}
        if named.known(data.source):
            same_table.pop("targets", None)
        # copies: the module itself will hold a trainer and its model
        table = _recalled(self._tables, canonical(same_table), TABLES, lambda: copy(data))

        def split() -> CrystalDataModule:
            new = copy(data)
            new.share(table, split=False)
            return new

        data.share(_recalled(self._splits, canonical(same_split), SPLITS, split))


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


class Parser(TlzooCLI):
    """`tlzoo fit`, of which nothing is wanted but the parser: built once in a process, as it takes time."""

    _built: ClassVar[dict[str, Any]] = {}

    def setup_parser(self, *args: Any) -> None:  # noqa: ANN401 (Lightning's own arguments)
        """Build the parser, or take the one that is there."""
        if not Parser._built:
            super().setup_parser(*args)
            names = ("parser", "_subcommand_parsers", "_subcommand_method_arguments")
            Parser._built = {name: getattr(self, name) for name in names}
        vars(self).update(Parser._built)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The one command."""
        return {"fit": TlzooCLI.subcommands()["fit"]}

    def before_instantiate_classes(self) -> None:
        """Leave files alone."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


class Fit(Parser):
    """`tlzoo fit` up to the point where it would begin, and a training that writes no files.

    Args:
        tree: The configuration.
        folder: For what callbacks of the configuration may write.
        memory: Data that are read already.
    """

    def __init__(self, tree: Tree, folder: Path, memory: Memory) -> None:
        self.tree, self.folder, self.memory = tree, folder, memory
        self.best = Best()
        super().__init__(arguments(tree, folder))

    def instantiate_classes(self) -> None:
        """Build everything; take table and split from memory."""
        TlzooCLI.instantiate_classes(self)
        self.memory.share(self.datamodule, self.tree.get("data") or {})

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:  # noqa: ANN401 (the trainer's own arguments)
        """Build a trainer that keeps the best epoch, as `tlzoo fit` chooses it, and nothing else."""
        self.trainer_defaults["callbacks"] = [Keep(self.folder, "best", monitor=self.model.monitor)]
        given = self._get(self.config_init, "trainer.plugins") or []
        kwargs["plugins"] = [self.best, *(given if isinstance(given, list) else [given])]
        kwargs |= {"logger": False, "enable_progress_bar": False, "default_root_dir": self.folder}
        return LightningCLI.instantiate_trainer(self, **kwargs)

    def train(self) -> None:
        """Train, and take the best epoch."""
        self.trainer.fit(self.model, datamodule=self.datamodule)
        self.model.load_state_dict(self.best.weights)


def arguments(tree: Tree, folder: Path) -> list[str]:
    """Return the arguments of `tlzoo fit` for a configuration."""
    return ["fit", "--config", json.dumps(tree), "--run_dir", str(folder)]


def _recalled(shelf: "OrderedDict[str, T]", key: str, size: int, made: Callable[[], T]) -> T:
    """Return what is remembered under a key, else what is made; forget what was not asked for longest."""
    if key not in shelf:
        shelf[key] = made()
    shelf.move_to_end(key)
    while len(shelf) > size:
        shelf.popitem(last=False)
    return shelf[key]
