"""How long trainings take on this machine: a few of their steps, timed."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from tlzoo.data.module import CrystalDataModule
from tlzoo.machine.files import write_text
from tlzoo.model.description import describe
from tlzoo.training.bundle import largest, shape
from tlzoo.training.configuration import Configuration, Experiment
from tlzoo.training.fitting import calm
from tlzoo.training.pace import STEPS, Pace, timed

Tree = dict[str, Any]

# What was timed when a comparison began.
FILE: Final = "paces.json"
SMALL_RATE: Final = 1e-9
# Networks of which one training is timed, to know what a further one costs.
SEVERAL: Final = 4


@dataclass(frozen=True)
class Durations:
    """Estimates for trainings on the same data. Networks of one shape are timed once.

    Attributes:
        data: Crystals and split, as all of the trainings have them.
        clock: Tells seconds.
        assumed: What a training costs, where that is known without timing it.
        paces: What was timed, by the hash of what was asked.
        kinds: The same by what the time follows from: each is timed once.
    """

    data: CrystalDataModule
    clock: Callable[[], float] = time.perf_counter
    assumed: Pace | None = None
    paces: dict[str, Pace] = field(default_factory=dict)
    kinds: dict[str, Pace] = field(default_factory=dict)

    @classmethod
    def begun(cls, data: CrystalDataModule, folder: Path) -> Self:
        """Return those of a comparison in a folder; what was timed when it began, is not timed again."""
        try:
            kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
            return cls(data, paces={asked: Pace(**pace) for asked, pace in kept.items()})
        except (OSError, ValueError, TypeError, AttributeError):
            return cls(data)

    def keep(self, folder: Path) -> None:
        """Write down what was timed, if anything was."""
        if self.paces:
            paces = {asked: asdict(pace) for asked, pace in self.paces.items()}
            write_text(folder / FILE, json.dumps(paces, indent=1) + "\n")

    def seconds(self, tree: Tree) -> float:
        """Estimate how long the training of a configuration takes, alone.

        Raises:
            UserError: It cannot be built, or diverges at once.
        """
        split = self.data.split
        return self.pace(tree).seconds(len(split.train), len(split.val), int(tree["trainer"]["max_epochs"]))

    def shape(self, tree: Tree) -> str | None:
        """Return what a training has in common with those that are one with it; None if it goes alone."""
        return self.pace(tree).shape

    def most(self, tree: Tree) -> int:
        """Return how many trainings are one at most."""
        return self.pace(tree).most

    def share(self, tree: Tree, networks: int) -> float:
        """Return what part of their times alone so many trainings take together."""
        return (1 + (networks - 1) * self.pace(tree).further) / networks

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
        facts = json.dumps([model, tree["data"]["batch_size"]], sort_keys=True, default=str)
        asked = hashlib.sha256(facts.encode()).hexdigest()
        if asked not in self.paces:
            with calm(quiet=True):
                config = Configuration.parsed(tree)
                experiment = config.build()
                kind, alike = _kind(experiment, tree), shape(experiment, config.resolved)
                rows = self.data.rows_of_batch(experiment.task.backbone.graph)
                if kind not in self.kinds:
                    self.kinds[kind] = self._timed(config, experiment, together=alike is not None)
            most = largest(rows, self.data.max_rows)
            self.paces[asked] = replace(self.kinds[kind], shape=alike, most=most)
        return self.paces[asked]

    def _timed(self, config: Configuration, experiment: Experiment, *, together: bool) -> Pace:
        """Time a training, and if some can be one, that of several."""
        alone = timed([experiment], self.data, self.clock)
        if not together or alone.timed < STEPS:
            return alone  # where a step takes seconds there is nothing to gain
        several = timed([config.build() for _ in range(SEVERAL)], self.data, self.clock)
        ratio = several.crystal / alone.crystal
        return replace(alone, further=max(0.0, (SEVERAL * ratio - 1) / (SEVERAL - 1)))


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
