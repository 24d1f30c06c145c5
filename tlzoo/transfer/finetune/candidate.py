"""Trainings of an experiment, in this process, on data that are read once."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import DivergedError, UserError
from tlzoo.heads import Classification
from tlzoo.machine.files import read_table
from tlzoo.training import fitting, measuring
from tlzoo.training.configuration import Configuration
from tlzoo.training.run import Run
from tlzoo.transfer.finetune.experiment import Choice, Side, Tree

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Training:
    """One training: an experiment with what is tried and a seed, and its run directory.

    Attributes:
        seed: Seed of weights and batches.
        folder: Directory of the whole comparison.
    """

    side: Side
    choice: Choice
    seed: int
    tree: Tree
    folder: Path

    @property
    def run(self) -> Run:
        """The run directory, named by side, choice and seed."""
        return Run(self.folder / self.side / f"{self.choice.slug}-seed-{self.seed}")

    @property
    def epochs(self) -> int:
        """Passes over the training part."""
        return int(self.tree["trainer"]["max_epochs"])

    @property
    def val(self) -> float:
        """Validation MAE at the epoch that was kept, in the unit of the target; inf if it diverged.

        Of classes the cross entropy.
        """
        measured = self.run.metrics.get("val", {})
        return float(measured.get("mae", measured.get("log_loss", inf)))

    @property
    def best_epoch(self) -> int:
        """The epoch that was kept, from 1."""
        if self.tree["model"].get("keep") == "last":
            return self.epochs
        history = self.run.curves
        return int(np.nanargmin(history["val/mae" if "val/mae" in history else "val/loss"].to_numpy())) + 1

    def fit(self, data: CrystalDataModule, told: Callable[[], None] | None = None) -> None:
        """Train, or go on with it; a finished training stays as it is. What is told of it is each epoch.

        Raises:
            UserError: It was stopped, or the run directory holds another configuration.
        """
        with contextlib.suppress(DivergedError):
            fitting.fit(self.tree, data=data, run_dir=self.run.path, quiet=True, told=told)

    def test(self, data: CrystalDataModule) -> Values:
        """Measure the epoch that was kept on the test part; return its errors with sign, ``(crystals,)``."""
        measuring.test(self.run, data=data)
        return self.errors("test")

    def errors(self, part: str) -> Values:
        """Return the errors with sign on a part that was measured, ``(crystals,)``."""
        table = read_table(self.run.predictions)
        rows = table[table["part"] == part]
        errors: Values = rows["prediction"].to_numpy() - rows["target"].to_numpy()
        return errors


def read(tree: Tree) -> CrystalDataModule:
    """Read and split the data of an experiment, train nothing.

    Raises:
        UserError: The data cannot be read, or the target is not one number or one of two classes per crystal.
    """
    draft = Configuration.parsed(tree).build()
    data, head = draft.data, draft.task.head
    if len(data.targets) != 1 or (isinstance(head, Classification) and head.classes > 2):
        raise UserError(
            f"wanted one number per crystal to learn, or one of two classes, got {', '.join(data.targets)} "
            f"with the head {type(head).__name__}; for others use `tlzoo fit`"
        )
    for name, given in (("pseudo_labels", data.pseudo_labels), ("teacher", data.table.teacher)):
        if given is not None:
            raise UserError(f"data.{name} is for `tlzoo fit`: a comparison learns from known labels alone")
    return data
