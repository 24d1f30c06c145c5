"""How long trainings take on this machine: a few of their steps, timed."""

import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray

from tlzoo.data.module import CrystalDataModule
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.model.description import describe
from tlzoo.training.configuration import Configuration, Experiment
from tlzoo.training.fitting import calm

Tree = dict[str, Any]

# Steps that are timed, after the first, which has memory to get. Of large networks fewer: two steps of theirs
# may take longer than these seconds.
STEPS: Final = 12
SECONDS: Final = 3.0
# Of the time of a step, what predicting as many crystals takes: there are no gradients.
FORWARD: Final = 0.35
# Seconds that a training and an epoch of it take besides: files are read and written.
TRAINING, EPOCH = 0.8, 0.03
SMALL_RATE: Final = 1e-9


@dataclass(frozen=True)
class Pace:
    """What a training costs.

    Attributes:
        crystal: Seconds to learn from a crystal, in batches as they come.
        timed: How many steps that rests on.
    """

    crystal: float
    timed: int

    def seconds(self, train: int, val: int, epochs: int) -> float:
        """Return how long a training takes, the prediction of both parts at its end included."""
        each = self.crystal * (train + FORWARD * val) + EPOCH
        return TRAINING + epochs * each + FORWARD * self.crystal * (train + val)


@dataclass(frozen=True)
class Durations:
    """Estimates for trainings on the same data. Networks of one shape are timed once.

    Attributes:
        data: Crystals and split, as all of the trainings have them.
        clock: Tells seconds.
        assumed: What a training costs, where that is known without timing it.
        paces: What was timed, by what was asked.
        kinds: The same by what the time follows from: each is timed once.
    """

    data: CrystalDataModule
    clock: Callable[[], float] = time.perf_counter
    assumed: Pace | None = None
    paces: dict[str, Pace] = field(default_factory=dict)
    kinds: dict[str, Pace] = field(default_factory=dict)

    def seconds(self, tree: Tree) -> float:
        """Estimate how long the training of a configuration takes.

        Raises:
            UserError: It cannot be built, or diverges at once.
        """
        split = self.data.split
        return self.pace(tree).seconds(len(split.train), len(split.val), int(tree["trainer"]["max_epochs"]))

    def pace(self, tree: Tree) -> Pace:
        """Return what a training costs; learning rate, pooling and weights change nothing."""
        if self.assumed is not None:
            return self.assumed
        tree = deepcopy(tree)
        model = tree["model"]
        model["backbone"]["init_args"].pop("pooling", None)
        if "Gradual" in str((model.get("freezing") or {}).get("class_path")):
            del model["freezing"]  # it ends with everything, which costs most
        # a rate that cannot diverge
        model["optimizer"]["init_args"]["lr"] = SMALL_RATE
        asked = json.dumps([model, tree["data"]["batch_size"]], sort_keys=True, default=str)
        if asked not in self.paces:
            with calm(quiet=True):
                experiment = Configuration.parsed(tree).build()
                kind = _kind(experiment, tree)
                if kind not in self.kinds:
                    self.kinds[kind] = timed(experiment, self.data, self.clock)
            self.paces[asked] = self.kinds[kind]
        return self.paces[asked]


def timed(experiment: Experiment, data: CrystalDataModule, clock: Callable[[], float]) -> Pace:
    """Take some steps of a training; nothing of it is kept."""
    module = experiment.data
    module.share(data)
    steps = Steps(data.crystals.num_atoms, clock)
    wanted = ("accelerator", "precision", "accumulate_grad_batches", "gradient_clip_val")
    trainer = pl.Trainer(
        **{name: experiment.trainer[name] for name in wanted},
        devices=1,
        max_epochs=STEPS + 1,
        max_steps=STEPS + 1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[steps],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(experiment.task, datamodule=module)
    return steps.pace(data.split.train)


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


def told(seconds: float) -> str:
    """Return a duration in words.

    >>> told(20), told(200), told(2e4)
    ('less than a minute', 'about 4 minutes', 'about 5.6 hours')
    """
    if seconds < 60:
        return "less than a minute"
    return f"about {minutes(seconds)} minutes" if seconds < 6000 else f"about {seconds / 3600:.1f} hours"


def minutes(seconds: float) -> int:
    """Return minutes that are enough."""
    return math.ceil(seconds / 60)


def _kind(experiment: Experiment, tree: Tree) -> str:
    """Return what the time of a step follows from."""
    task = experiment.task
    backbone = describe(task.backbone)
    backbone["init_args"].pop("pooling", None)
    facts = [backbone, type(task.head).__name__, tree["model"].get("freezing"), tree["data"]["batch_size"]]
    return json.dumps(facts, sort_keys=True, default=str)
