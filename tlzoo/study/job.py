"""One run of a study: trained, its best epoch tested, nothing kept but the numbers."""

import json
import shutil
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import pandas as pd
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from tlzoo.cli import TlzooCLI
from tlzoo.data import named
from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import UserError
from tlzoo.heads import Classification
from tlzoo.run import predict_part
from tlzoo.session import explaining, quiet
from tlzoo.study.axes import Labels, Tree
from tlzoo.study.grid import canonical

# Arguments of the data module that change neither table nor split.
BATCHES = ("batch_size", "max_rows", "oversample", "cache_dir")
TABLES, SPLITS = 3, 32

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A run, as a process is told to do it.

    Attributes:
        id: Its id.
        labels: Its values on the axes.
        tree: Its configuration.
        started_from: Models it starts from.
        folder: Where it may write while it lasts.
    """

    id: str
    labels: Labels
    tree: Tree
    started_from: tuple[Mapping[str, str], ...]
    folder: Path


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run gave.

    Attributes:
        row: Its numbers, or why it failed.
        predictions: Id, target and prediction of each crystal of the test part; None without such a part.
    """

    row: dict[str, Any]
    predictions: pd.DataFrame | None


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
        same_split = {key: value for key, value in section.items() if key not in BATCHES}
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


def perform(job: Job, memory: Memory) -> Outcome:
    """Train and test; a run that fails is a result too."""
    begun = time.monotonic()
    predictions = None
    try:
        found, predictions = _measured(job, memory)
        facts = {"status": "done", **found}
    except UserError as error:
        facts = {"status": "failed", "error": str(error)}
    except Exception as error:  # noqa: BLE001 (one run must not stop thousands; the row says what happened)
        told = f"{type(error).__name__}: {error}"
        facts = {"status": "failed", "error": told, "traceback": traceback.format_exc()}
    shutil.rmtree(job.folder, ignore_errors=True)
    return Outcome(
        {**heading(job), **facts, "seconds": round(time.monotonic() - begun, 2), **ending()}, predictions
    )


def heading(job: Job) -> dict[str, Any]:
    """Return the beginning of a row: which run it is."""
    return {
        "id": job.id,
        "labels": dict(job.labels),
        "started_from": [dict(model) for model in job.started_from],
    }


def ending() -> dict[str, Any]:
    """Return the end of a row: when it was finished."""
    return {"finished": datetime.now(UTC).isoformat(timespec="milliseconds")}


def _measured(job: Job, memory: Memory) -> tuple[dict[str, Any], pd.DataFrame | None]:
    with quiet(), explaining():
        fit = Fit(job.tree, job.folder, memory)
        data = fit.datamodule
        if len(data.targets) != 1 or isinstance(fit.model.head, Classification):
            raise UserError(
                f"a study wants one number per crystal to learn, got {', '.join(data.targets)} with the head "
                f"{type(fit.model.head).__name__}"
            )
        begun = time.monotonic()
        fit.train()
        seconds = time.monotonic() - begun
        return _numbers(fit, seconds)


def _numbers(fit: "Fit", seconds: float) -> tuple[dict[str, Any], pd.DataFrame | None]:
    data = fit.datamodule
    fit.model.to(fit.trainer.strategy.root_device)
    row: dict[str, Any] = {"property": data.targets[0], "unit": data.units[0]}
    predictions = None
    for part, names in (("val", ("mae", "rmse")), ("test", ("mae", "rmse", "r2"))):
        rows = getattr(data.split, part)
        if not len(rows):
            continue
        predicted, metrics = predict_part(fit.model, data, part)
        row |= {f"{part}_{name}": metrics[name] for name in names}
        if part == "test":
            predictions = pd.DataFrame(
                {
                    "id": data.crystals.ids[rows],
                    "target": data.target_values(rows).numpy()[:, 0],
                    "prediction": predicted[:, 0],
                }
            )
    sizes = {f"n_{part}": len(rows) for part, rows in data.split.parts.items()}
    epochs = {"best_epoch": fit.best.epoch, "epochs": fit.trainer.current_epoch}
    return {**row, **sizes, **epochs, "training_seconds": round(seconds, 2)}, predictions


class Best(TorchCheckpointIO):
    """Keeps the weights of the best epoch in memory, where a run directory would have ``best.ckpt``."""

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


class Fit(TlzooCLI):
    """`tlzoo fit` up to the point where it would begin, and a training that writes no files.

    Args:
        tree: The configuration.
        folder: For what callbacks of the configuration may write.
        memory: Data that are read already.
    """

    def __init__(self, tree: Tree, folder: Path, memory: Memory) -> None:
        self.tree, self.folder, self.memory = tree, folder, memory
        self.best = Best()
        super().__init__(["fit", "--config", json.dumps(tree), "--run_dir", str(folder)])

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The one command: building the parser of each takes time."""
        return {"fit": TlzooCLI.subcommands()["fit"]}

    def instantiate_classes(self) -> None:
        """Build everything; take table and split from memory."""
        super().instantiate_classes()
        self.memory.share(self.datamodule, self.tree.get("data") or {})

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:  # noqa: ANN401 (the trainer's own arguments)
        """Build a trainer that keeps the best epoch, as `tlzoo fit` chooses it, and nothing else."""
        monitor = f"val/{self.model.head.monitor}"
        self.trainer_defaults["callbacks"] = [
            ModelCheckpoint(self.folder, "best", monitor=monitor, enable_version_counter=False)
        ]
        quietly = {"logger": False, "enable_progress_bar": False, "default_root_dir": self.folder}
        return LightningCLI.instantiate_trainer(self, **{**kwargs, **quietly, "plugins": [self.best]})

    def _run_subcommand(self, subcommand: str) -> None:
        """Wait for :meth:`train`."""

    def train(self) -> None:
        """Train, and take the best epoch."""
        self.trainer.fit(self.model, datamodule=self.datamodule)
        self.model.load_state_dict(self.best.weights)


def _recalled(shelf: "OrderedDict[str, T]", key: str, size: int, made: Callable[[], T]) -> T:
    """Return what is remembered under a key, else what is made; forget what was not asked for longest."""
    if key not in shelf:
        shelf[key] = made()
    shelf.move_to_end(key)
    while len(shelf) > size:
        shelf.popitem(last=False)
    return shelf[key]
