"""A few steps of a training, timed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from tlzoo.data.module import CrystalDataModule
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.training.bundle import Batches, Bundle, Member
from tlzoo.training.configuration import Experiment
from tlzoo.training.epoch_loop import EpochLoop

# Steps that are timed, after the first, which has memory to get. Of large networks fewer: two steps of theirs
# may take longer than these seconds.
STEPS: Final = 12
SECONDS: Final = 3.0
# Of the time of a step, what predicting as many crystals takes: there are no gradients.
FORWARD: Final = 0.35
# Seconds that a training and an epoch of it take besides: files are read and written.
TRAINING, EPOCH = 0.8, 0.03


@dataclass(frozen=True)
class Pace:
    """What a training costs.

    Attributes:
        crystal: Seconds to learn from a crystal, in batches as they come.
        timed: How many steps that rests on.
        further: What a further network in the same training costs, as a part of the first.
        shape: What trainings have in common that can be one; None of one that goes alone.
        most: How many can be one.
    """

    crystal: float
    timed: int
    further: float = 1.0
    shape: str | None = None
    most: int = 1

    def seconds(self, train: int, val: int, epochs: int) -> float:
        """Return how long a training takes, the prediction of both parts at its end included."""
        each = self.crystal * (train + FORWARD * val) + EPOCH
        return TRAINING + epochs * each + FORWARD * self.crystal * (train + val)


def timed(experiments: Sequence[Experiment], data: CrystalDataModule, clock: Callable[[], float]) -> Pace:
    """Take some steps of a training, or of several as one; nothing of it is kept.

    Of several the pace is that of each, if all others are trained by turns.
    """
    for each in experiments:
        each.data.share(data)
    steps = Steps(data.crystals.num_atoms, clock)
    wanted = ("accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val")
    settings = {name: experiments[0].trainer[name] for name in wanted}
    take_steps(experiments, steps, max_epochs=STEPS + 1, max_steps=STEPS + 1, **settings)
    return steps.pace(data.split.train)


def take_steps(experiments: Sequence[Experiment], clock: pl.Callback, **settings: Any) -> None:  # noqa: ANN401 (of a trainer)
    """Take the steps of a training, or of several as one, and nothing else: no validation, no files.

    Args:
        experiments: The trainings; several are of one shape and of one store.
        clock: Follows them.
        settings: Of the trainer.
    """
    trainer = pl.Trainer(
        devices=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    EpochLoop.put_into(trainer)
    if len(experiments) == 1:
        trainer.fit(experiments[0].task, datamodule=experiments[0].data)
    else:
        members = [Member(each.task, each.data) for each in experiments]
        for member in members:
            member.join(trainer)
        trainer.fit(Bundle(members), datamodule=Batches(members))


class Steps(pl.Callback):
    """Times steps until there are enough of them.

    Args:
        num_atoms: Of each crystal of the table: what a step takes grows with its atoms.
        clock: Tells seconds.
    """

    def __init__(self, num_atoms: NDArray[np.int64], clock: Callable[[], float]) -> None:
        self.num_atoms, self.clock = num_atoms, clock
        self.ends: list[float] = []
        self.atoms: list[int] = []

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401, ARG002 (Lightning's signature)
        batch: Batch,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Take the time; stop if that was enough."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        self.ends.append(self.clock())
        self.atoms.append(int(self.num_atoms[batch[keys.ROW].cpu().numpy()].sum()))
        if len(self.ends) > 1 and self.ends[-1] - self.ends[0] > SECONDS:
            trainer.should_stop = True

    def pace(self, train: NDArray[np.int64]) -> Pace:
        """Return what a crystal costs that has as many atoms as those to learn from, by their rows."""
        seconds, atoms = self.ends[-1] - self.ends[0], sum(self.atoms[1:])
        return Pace(seconds / atoms * float(self.num_atoms[train].mean()), len(self.ends) - 1)
