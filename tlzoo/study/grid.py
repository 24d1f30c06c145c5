"""A study and the runs of its grid, each with an id that tells it from all others."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Final

from tlzoo.errors import UserError
from tlzoo.study.axes import Axes, Condition, Labels, Tree, condition, holds, known
from tlzoo.study.identity import canonical, identity, of_split
from tlzoo.study.report.outline import Outline
from tlzoo.study.start_networks import Models, Source, Sources, key, starts
from tlzoo.transfer.finetune.experiment import merge

# Columns of the results; an axis must be called otherwise.
COLUMNS: Final = (
    *("id", "status", "chosen", "property", "unit"),
    *("val_mae", "val_rmse", "test_mae", "test_rmse", "test_r2"),
    *("n_train", "n_val", "n_test", "best_epoch", "epochs", "seconds", "training_seconds"),
    *("started_from", "finished", "error"),
)


@dataclass(frozen=True)
class StudyRun:
    """One training of a study.

    Attributes:
        labels: Its value on each axis.
        tree: Its configuration, as `tlzoo fit` takes it, but for the names of sources.
        started_from: The models it starts from, with the SHA-256 of their weights; empty if missing.
        needs: The sources among them, which the study trains first.
        id: Hash of configuration and weights: another one of either is another run.
        trivial: It trains nothing: the trivial baselines are fitted to its data.
    """

    labels: Labels
    tree: Tree
    started_from: Models
    id: str
    needs: tuple[Source, ...] = ()
    trivial: bool = False


@dataclass(frozen=True)
class Tune:
    """Which axes are tuned, and where.

    Attributes:
        axes: All values of these are tried where ``where`` holds; elsewhere only the best of them.
        where: Values of other axes.
    """

    axes: tuple[str, ...]
    where: Condition


@dataclass(frozen=True)
class Study:
    """A grid of configurations.

    Attributes:
        base: What all runs share.
        axes: What they differ in.
        skip: Combinations that are left out.
        adjust: Configurations to put on top where a condition holds.
        tune: Axes of which validation chooses.
        average: Axes over which mean and spread are taken.
        ensemble: Axes along which predictions are averaged before the error is taken.
        baselines: Whether trivial baselines are fitted on the splits of its runs.
        sources: Networks that it trains first, by name.
    """

    path: Path
    base: Tree
    axes: Axes
    skip: tuple[Condition, ...] = ()
    adjust: tuple[tuple[Condition, Tree], ...] = ()
    tune: Tune | None = None
    average: tuple[str, ...] = ()
    ensemble: tuple[str, ...] = ()
    report: Outline = field(default_factory=Outline)
    baselines: bool = False
    sources: Sources = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.stem

    @property
    def folder(self) -> Path:
        """Where its results belong unless another directory is named."""
        return Path("runs") / "studies" / self.name

    @property
    def tuned(self) -> tuple[str, ...]:
        """The axes of which validation chooses."""
        return self.tune.axes if self.tune else ()

    @property
    def kept(self) -> tuple[str, ...]:
        """The axes that tables and figures show: not averaged over, not tuned, no ensembles."""
        gone = {*self.average, *self.ensemble, *self.tuned}
        return tuple(name for name in self.axes if name not in gone)

    @cached_property
    def _runs(self) -> tuple[StudyRun, ...]:
        known: dict[str, tuple[Models, tuple[Source, ...]]] = {}
        found = []
        for values in product(*(axis.values for axis in self.axes.values())):  # the last axis changes first
            labels = dict(zip(self.axes, values, strict=True))
            if any(holds(rule, labels) for rule in self.skip):
                continue
            tree = self.tree(labels)
            model = canonical(tree.get("model"))
            if model not in known:
                known[model] = starts(tree.get("model"), self.sources)
            models, needs = known[model]
            found.append(StudyRun(labels, tree, models, key(tree, models, needs), needs))
        return tuple(found)

    def runs(self) -> tuple[StudyRun, ...]:
        """Return all runs of the grid, in its order, those included that tuning will not choose."""
        return self._runs

    @cached_property
    def trivial(self) -> tuple[StudyRun, ...]:
        """A run of the trivial baselines for each split of the grid, with the labels that its runs share."""
        alike: dict[str, list[StudyRun]] = {}
        for run in self.runs() if self.baselines else ():
            alike.setdefault(canonical(of_split(run.tree.get("data") or {})), []).append(run)
        found = []
        for runs in alike.values():
            first = runs[0]
            shared = dict(set.intersection(*(set(run.labels.items()) for run in runs)))
            labels = {name: shared[name] for name in self.axes if name in shared}
            name = identity({"baselines": of_split(first.tree.get("data") or {})}, ())
            found.append(StudyRun(labels, first.tree, (), name, trivial=True))
        return tuple(found)

    def named(self, name: str) -> Condition:
        """Return the condition that holds for the run with an id alone.

        Raises:
            UserError: There is none.
        """
        for run in self.runs():
            if run.id == name:
                return {axis: (value,) for axis, value in run.labels.items()}
        raise UserError(f"{self.path} has no run {name!r}: the file or a checkpoint is another one by now")

    def tree(self, labels: Labels) -> Tree:
        """Return the configuration of a combination."""
        tree = self.base
        for name, axis in self.axes.items():
            tree = merge(tree, axis.values[labels[name]])
        for rule, config in self.adjust:
            if holds(rule, labels):
                tree = merge(tree, config)
        return deepcopy(tree)

    def only(self, given: Iterable[str]) -> Condition:
        """Return the condition that ``axis=value,value`` expresses.

        Raises:
            UserError: An axis or a value is unknown.
        """
        wanted: dict[str, list[str]] = {}
        for part in given:
            name, equals, values = part.partition("=")
            if not equals or not values:
                raise UserError(f"--only {part}: wanted axis=value or axis=value,value")
            wanted.setdefault(name, []).extend(values.split(","))
        return condition(self.axes, wanted, "--only") if wanted else {}

    def names(self, given: Iterable[str], where: str) -> tuple[str, ...]:
        """Return names of axes.

        Raises:
            UserError: One of them is unknown.
        """
        return tuple(known(self.axes, name, where) for name in given)
