"""Trainings of an experiment, in this process, on data that are read once."""

import argparse
import contextlib
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlzoo.cli import TlzooCLI, explained, quieten
from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import DivergedError, UserError
from tlzoo.finetune.experiment import Side, Tree
from tlzoo.heads import Classification
from tlzoo.run import Run

Values = NDArray[np.float64]

# Loggers of what is true of one training.
TALKATIVE = ("tlzoo.task", "tlzoo.callbacks")


@dataclass(frozen=True)
class Training:
    """One training: an experiment with a learning rate and a seed, and its run directory.

    Attributes:
        side: Which of the two it belongs to.
        rate: Learning rate.
        seed: Seed of weights and batches.
        tree: The configuration.
        folder: Directory of the whole comparison.
    """

    side: Side
    rate: float
    seed: int
    tree: Tree
    folder: Path

    @property
    def run(self) -> Run:
        """The run directory, named by side, learning rate and seed."""
        return Run(self.folder / self.side / f"lr-{self.rate:g}-seed-{self.seed}")

    @property
    def epochs(self) -> int:
        """Passes over the training part."""
        return int(self.tree["trainer"]["max_epochs"])

    @property
    def val(self) -> float:
        """MAE on the validation part at the best epoch, in the unit of the target; inf if it diverged."""
        return float(self.metrics["val"]["mae"]) if self._metrics.exists() else inf

    @property
    def best_epoch(self) -> int:
        """The epoch of the best validation error, from 1."""
        return int(np.nanargmin(pd.read_csv(self.run.history)["val/mae"].to_numpy())) + 1

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured so far."""
        content: dict[str, Any] = json.loads(self._metrics.read_text(encoding="utf-8"))
        return content

    @property
    def _metrics(self) -> Path:
        return self.run.path / "metrics.json"

    def fit(self, data: CrystalDataModule) -> None:
        """Train, or go on with it; a finished training stays as it is.

        Args:
            data: The data of all trainings, read already.

        Raises:
            UserError: It was stopped, or the run directory holds another configuration.
        """
        with contextlib.suppress(DivergedError):
            _session(["fit", "--config", json.dumps(self.tree), "--run_dir", str(self.run.path)], data)

    def test(self, data: CrystalDataModule) -> Values:
        """Measure the best epoch on the test part; return its absolute errors, ``(crystals,)``."""
        _session(["test", "--config", str(self.run.config), "--run_dir", str(self.run.path)], data)
        table = pd.read_csv(self.run.predictions, dtype={"id": str}, keep_default_na=False, na_values=[""])
        test = table[table["part"] == "test"]
        errors: Values = np.abs(test["prediction"].to_numpy() - test["target"].to_numpy())
        return errors


def read(tree: Tree) -> CrystalDataModule:
    """Read and split the data of an experiment, train nothing.

    Raises:
        UserError: The data cannot be read, or the target is not one number per crystal.
    """
    draft = _session(["fit", "--config", json.dumps(tree)], None)
    data: CrystalDataModule = draft.datamodule
    if len(data.targets) != 1 or isinstance(draft.model.head, Classification):
        raise UserError(
            f"wanted one number per crystal to learn, got {', '.join(data.targets)} with the head "
            f"{type(draft.model.head).__name__}; for others use `tlzoo fit`"
        )
    return data


class _Session(TlzooCLI):
    """A command on data that are read already; without them it stops before it begins."""

    def __init__(self, args: list[str], data: CrystalDataModule | None) -> None:
        self.known = data
        super().__init__(args)

    def instantiate_classes(self) -> None:
        """Build everything; take the table and its split from where they are."""
        super().instantiate_classes()
        if self.known is not None:
            self.datamodule.share(self.known)

    def _run_subcommand(self, subcommand: str) -> None:
        if self.known is not None:
            super()._run_subcommand(subcommand)


def _session(args: list[str], data: CrystalDataModule | None) -> _Session:
    with _quiet():
        try:
            return _Session(args, data)
        except argparse.ArgumentError as error:
            raise UserError(explained(error.message)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tables and epochs of each training off the screen: they are in its directory."""
    quieten()
    before = {logger: logger.level for logger in map(logging.getLogger, TALKATIVE)}
    try:
        for logger in before:
            logger.setLevel(logging.WARNING)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)
