"""Trainings of an experiment, on data that are read once: of one shape as one, the others side by side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import UserError
from tlzoo.heads import Classification
from tlzoo.machine import children
from tlzoo.machine.files import read_table
from tlzoo.model.trained import structure_keys
from tlzoo.training import fitting, measuring
from tlzoo.training.bundle import bundles, largest
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


def fit(
    trainings: Sequence[Training], data: CrystalDataModule, jobs: int, told: Callable[[int], None]
) -> Iterator[int]:
    """Train, or go on with it; a finished training stays as it is. Yield the number of each that is done.

    Those of one shape are one training (:mod:`tlzoo.training.bundle`), several of which are done at a time,
    in processes of their own.

    Args:
        trainings: What to train.
        data: Their data.
        jobs: Processes at a time; with 1 there is none but this one.
        told: Called after each epoch of each with its number.

    Raises:
        UserError: It was stopped, or a run directory holds another configuration.
    """
    plans = [fitting.Planned.of(each.tree, each.run.path) for each in trainings]
    # read once, for all processes to have
    options = {each.experiment.task.backbone.graph for each in plans}
    rows = max(data.rows_of_batch(each) for each in options)
    structure_keys(data.crystals.select(data.split.train))
    found = bundles([each.shape for each in plans], jobs, largest(rows, data.max_rows))

    def work(numbers: list[int], tell: Callable[[int], None]) -> None:
        some = [plans[i] for i in numbers]
        # what is chosen is drawn when it is tested
        fitting.fit_together(some, data=[data] * len(some), told=lambda i: tell(numbers[i]), drawn=False)

    pieces = [partial(work, numbers) for numbers in found]
    for number, _ in children.each(pieces, jobs, lambda _, training: told(training)):
        yield from found[number]


def read(tree: Tree, known: CrystalDataModule | None = None) -> CrystalDataModule:
    """Read and split the data of an experiment, train nothing.

    ``known`` are the same data, perhaps split otherwise, which need not be read again.

    Raises:
        UserError: The data cannot be read, or the target is not one number or one of two classes per crystal.
    """
    draft = Configuration.parsed(tree).build()
    data, head = draft.data, draft.task.head
    if known is not None:
        data.share(known, split=False)
    if len(data.targets) != 1 or (isinstance(head, Classification) and head.classes > 2):
        raise UserError(
            f"wanted one number per crystal to learn, or one of two classes, got {', '.join(data.targets)} "
            f"with the head {type(head).__name__}; for others use `tlzoo fit`"
        )
    for name, given in (("pseudo_labels", data.pseudo_labels), ("teacher", data.table.teacher)):
        if given is not None:
            raise UserError(f"data.{name} is for `tlzoo fit`: a comparison learns from known labels alone")
    return data
