"""Training as a function: from a configuration to a finished run directory."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import lightning.pytorch as pl
import yaml
from lightning.pytorch.utilities.seed import isolate_rng

from tlzoo import plugins
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.sources.labels import are_classes
from tlzoo.errors import DivergedError, UserError
from tlzoo.graphs.row_budget import ran_out
from tlzoo.heads import Regression
from tlzoo.machine import distributed, latest
from tlzoo.machine.files import write_text
from tlzoo.machine.remarks import once
from tlzoo.machine.runtime import multiplies_bf16
from tlzoo.model import checkpoint, cross_conformal
from tlzoo.training import cluster
from tlzoo.training.bundle import Batches, Bundle, Followers, Member, shape
from tlzoo.training.configuration import RUN_DIR, Configuration, Experiment, trainer_of
from tlzoo.training.history import History
from tlzoo.training.in_memory import Table, contents, kept
from tlzoo.training.loggers import Tracker
from tlzoo.training.resume import (
    Keep,
    ResumeFiles,
    directory,
    load_weights,
    refuse_changes,
    resume_file,
    stopped,
)
from tlzoo.training.run import Run, read_yaml
from tlzoo.training.task import Task
from tlzoo.training.tracking import trackers

logger = logging.getLogger(__name__)

# What is true of one training, not of a command that has many.
TALKATIVE: Final = ("tlzoo.training.task", "tlzoo.training.history")

# Hints of Lightning's that a user of tlzoo can do nothing about.
HINTS: Final = (
    ".*LeafSpec.*",  # https://github.com/Lightning-AI/pytorch-lightning/issues/21326
    r"Found \d+ module\(s\) in eval mode",  # frozen parts are so on purpose
    "Checkpoint directory .* exists and is not empty",  # a run directory is there to be resumed
    ".*does not have many workers.*",  # batches are one gather from a memory map: workers would copy them
)


@once()
def fit(
    config: Configuration | Mapping[str, Any] | str | Path,
    *,
    data: Table | CrystalDataModule | None = None,
    run_dir: str | Path | None = None,
    quiet: bool = False,
    told: Callable[[], None] | None = None,
) -> Run:
    """Train, or go on with a training that was stopped; what `tlzoo fit` does.

    Args:
        config: The experiment: a mapping, or the path of a YAML file, with the sections ``model``, ``data``
            and ``trainer`` that `tlzoo fit --help` lists.
        data: Crystals in memory, instead of ``data.source``: a table of crystals, a data frame or pymatgen
            structures with the labels as their properties. They are kept in the run directory. Or the data
            module of a configuration with the same section ``data``, so that nothing is read again.
        run_dir: Directory of the run; ``run_dir`` of the configuration by default. Where neither names one,
            it follows from what is asked. ``runs/latest`` leads to the newest run in ``runs``.
        quiet: Say nothing of groups and epochs, and show no progress.
        told: Called after each epoch.

    Returns:
        The run directory, with the model, its errors on the training and validation part, and all that is
        needed to repeat it.

    Raises:
        UserError: The configuration or the data cannot be used, the directory holds another run, or training
            was stopped or diverged.
    """
    known = data if isinstance(data, CrystalDataModule) else None
    with calm(quiet=quiet), configured(config, data, run_dir) as (found, unnamed):
        found.values.run_dir = str(directory(found))
        return _trained(found, known, quiet=quiet, told=told, unnamed=unnamed)


@contextlib.contextmanager
def configured(
    config: Configuration | Mapping[str, Any] | str | Path,
    data: Table | CrystalDataModule | None = None,
    run_dir: str | Path | None = None,
    **facts: Any,  # noqa: ANN401 (anything JSON can hold)
) -> Iterator[tuple[Configuration, bool]]:
    """Read a configuration as :func:`fit` takes it, and whether nobody has named a directory for its run.

    Crystals in memory are in that directory as long as the context lasts, and stay if training has begun;
    without a name for it, it follows from them and further facts, too.

    Raises:
        UserError: The configuration or the data cannot be used, or the directory holds other crystals.
    """
    if isinstance(config, Configuration):
        yield config, Path(config.values.run_dir) == Path(RUN_DIR)
        return
    if not isinstance(config, Mapping | str | Path):
        raise UserError(f"wanted a configuration as a mapping or a path, got {config!r}")
    beside = contextlib.nullcontext() if isinstance(config, Mapping) else plugins.beside(config)
    with beside, contextlib.ExitStack() as stack:
        tree = dict(config) if isinstance(config, Mapping) else read_yaml(Path(config))
        if run_dir is not None:
            tree["run_dir"] = str(run_dir)
        place = Path(tree.get("run_dir") or RUN_DIR)
        unnamed = place == Path(RUN_DIR)
        if data is not None and not isinstance(data, CrystalDataModule):
            section = tree.get("data") or {}
            if not isinstance(section, Mapping):
                raise UserError(f"data: wanted a section of a configuration, got {section!r}")
            if unnamed:
                place = latest.folder(place, ["crystals"], {**tree, "crystals": contents(data), **facts})
            source = stack.enter_context(kept(data, place))
            tree |= {"run_dir": str(place), "data": {**section, "source": source}}
        yield Configuration.parsed(tree), unnamed


@dataclass(frozen=True, eq=False)
class Planned:
    """A training that will be: its configuration, what that builds, and the shape it shares with others.

    The shape is None if it goes alone.
    """

    config: Configuration
    experiment: Experiment
    shape: str | None

    @classmethod
    def of(cls, tree: Mapping[str, Any], run_dir: Path) -> Self:
        """Read and build a configuration.

        Raises:
            UserError: It is none, or cannot be built.
        """
        with calm(quiet=True):
            config = Configuration.parsed({**tree, "run_dir": str(run_dir)})
            return cls.built(config, config.build())

    @classmethod
    def built(cls, config: Configuration, experiment: Experiment) -> Self:
        """Plan what a configuration has built."""
        begun = config.run.last.exists() or config.values.ckpt_path is not None
        return cls(config, experiment, None if begun else shape(experiment, config.resolved))


def fit_together(
    trainings: Sequence[Planned],
    *,
    data: Sequence[CrystalDataModule],
    told: Callable[[int], None] | None = None,
    drawn: bool = True,
) -> list[DivergedError | None]:
    """Train as :func:`fit` does, quietly, each into its run directory; those of one shape as one.

    One that diverges leaves the others alone: its directory has no model then.

    Args:
        trainings: Of one shape (:func:`tlzoo.training.bundle.alike`), or one that goes alone.
        data: For each the data module of a configuration with the same section ``data``.
        told: Called after each epoch of each with its number.
        drawn: Whether to draw pictures; measuring the test part draws them, too.

    Returns:
        What each diverged with, None if it did not.

    Raises:
        UserError: As for :func:`fit`, but of divergence.
    """
    tell = [partial(told, i) if told is not None else None for i in range(len(trainings))]
    with calm(quiet=True):
        members = _bundled(trainings, data, tell, drawn=drawn) if len(trainings) > 1 else None
        if members is not None:
            return [member.diverged for member in members]
        found: list[DivergedError | None] = []
        for each, known, tell_each in zip(trainings, data, tell, strict=True):
            try:
                _trained(each.config, known, quiet=True, told=tell_each, unnamed=False, drawn=drawn)
            except DivergedError as error:
                found.append(error)
            else:
                found.append(None)
        return found


def _bundled(
    trainings: Sequence[Planned],
    data: Sequence[CrystalDataModule],
    told: Sequence[Callable[[], None] | None],
    *,
    drawn: bool,
) -> list[Member] | None:
    """Train as one; None if there was no memory for it. What is finished of each goes on alone."""
    runs = [each.config.run for each in trainings]
    histories = [
        History(run.path, told=tell, networks=len(runs)) for run, tell in zip(runs, told, strict=True)
    ]
    members = [_member(*each) for each in zip(trainings, data, histories, strict=True)]
    trainer = started(
        trainings[0].experiment,
        "fit",
        [Followers(members), cluster.Stop(lambda: stopped(runs[0]))],
        cluster.plugins(),
        enable_progress_bar=False,
        default_root_dir=runs[0].path,
    )
    with contextlib.ExitStack() as locks:
        for run, each, member in zip(runs, trainings, members, strict=True):
            member.join(trainer)
            locks.enter_context(run.held())
            _opened(run, each.config, member.data, [], newest=False)
        try:
            with contextlib.suppress(DivergedError):  # all of them
                trainer.fit(Bundle(members), datamodule=Batches(members))
        except (KeyboardInterrupt, SystemExit) as stop:
            raise UserError(stopped(runs[0])) from stop
        except RuntimeError as error:
            if not ran_out(error):
                raise
            return None
        for run, each, member, history in zip(runs, trainings, members, histories, strict=True):
            if member.diverged is None:
                _finished(run, each.experiment, trainer, history, drawn=drawn)
    return members


def _member(training: Planned, data: CrystalDataModule, history: History) -> Member:
    run, task, own = training.config.run, training.experiment.task, training.experiment.data
    run.check()
    checkpoint.check_storable(task.backbone, task.head, export=task.export)
    own.share(data)
    keep = [Keep(run.path, "best", monitor=task.monitor), Keep(run.path, "last")]
    return Member(task, own, [history, *keep], ResumeFiles())


def _finished(
    run: Run,
    experiment: Experiment,
    trainer: pl.Trainer,
    history: History,
    *,
    drawn: bool,
    mapped: bool = False,
) -> None:
    """Measure what was kept, and export it; draw its crystals, too, if they are to be mapped."""
    if not run.best.exists() and trainer.global_step == 0:
        raise UserError(
            "nothing was trained: limits of the trainer, such as limit_train_batches or max_steps, leave "
            "no step"
        )
    load_weights(experiment.task, run.best)
    evaluate(run, experiment, trainer, "train", "val", drawn=drawn)
    if distributed.rank() == 0:
        run.close(history.seconds)
        run.export(experiment.task, experiment.data)
        if mapped:
            run.draw_map(experiment.task, experiment.data, ("train", "val"))


def _trained(
    config: Configuration,
    known: CrystalDataModule | None,
    *,
    quiet: bool,
    told: Callable[[], None] | None,
    unnamed: bool,
    drawn: bool = True,
) -> Run:
    values, run = config.values, config.run
    run.check()
    cross_conformal.refuse_folds(run.path)
    begin = _beginning(config)
    experiment = config.build()
    task, data = experiment.task, experiment.data
    checkpoint.check_storable(task.backbone, task.head, export=task.export)
    if known is not None:
        data.share(known)
    shown = not quiet and _shows(experiment)
    history = History(run.path, lines=not shown, told=told)
    keep = [Keep(run.path, "best", monitor=task.monitor), Keep(run.path, "last")]
    trainer = started(
        experiment,
        "fit",
        [history, *keep, cluster.Stop(lambda: stopped(run))],
        [ResumeFiles(), *cluster.plugins()],
        default_root_dir=run.path,
        enable_progress_bar=shown,
    )
    found = trackers(trainer)
    # of several processes the first works for all
    with run.held() if trainer.is_global_zero else contextlib.nullcontext():
        if begin is None and run.last.exists():
            raise UserError(f"another process trained in {run.path} just now; run the same command again")
        if trainer.is_global_zero:
            _opened(run, config, data, found, newest=unnamed or not quiet)
            for text in () if quiet else _remarkable(task, data):
                logger.warning("%s", text)
        try:
            trainer.fit(task, datamodule=data, ckpt_path=begin, weights_only=values.weights_only)
        except (KeyboardInterrupt, SystemExit) as stop:
            raise UserError(stopped(run)) from stop
        if not values.trainer.fast_dev_run:
            _finished(run, experiment, trainer, history, drawn=drawn, mapped=not quiet)
            if distributed.rank() == 0:
                log_results(found, run)
    return run


def _remarkable(task: Task, data: CrystalDataModule) -> Iterator[str]:
    """Yield what is to be said of split and labels before training."""
    if data.split.warning:
        yield data.split.warning
    if isinstance(task.head, Regression) and are_classes(data.target_values(data.used_rows).numpy()[:, 0]):
        yield (
            f"{data.targets[0]} is 0 or 1 in every crystal and is learned as a number; if these are two "
            "classes, take --model.head Classification"
        )


def _shows(experiment: Experiment) -> bool:
    """Whether there is a progress bar: in a file of a batch job it would be thousands of lines."""
    bar = experiment.trainer["enable_progress_bar"]
    return sys.stdout.isatty() if bar is None else bool(bar)


def _opened(
    run: Run, config: Configuration, data: CrystalDataModule, told: list[Tracker], *, newest: bool
) -> None:
    """Write what is known before training."""
    run.open(data, int(config.values.seed_everything))
    write_text(run.config, yaml.safe_dump(config.resolved, sort_keys=False))
    # the trainings of a comparison lie below it, which is what was asked for
    if newest or run.path.parent == Path(RUN_DIR).parent:
        latest.point(Path(RUN_DIR), run.path)
    for tracker in told:
        tracker.begin(run)


def _beginning(config: Configuration) -> str | None:
    """Return the resume file to go on from, if there is one."""
    begin: str | None = config.values.ckpt_path
    if config.run.last.exists():
        if config.values.seed_everything is True:
            config.values.seed_everything = read_yaml(config.run.config)["seed_everything"]
        refuse_changes(config.run, config.resolved)
        begin = begin or str(config.run.last)
    if begin is not None:
        resume_file(Path(begin))
    return begin


def started(
    experiment: Experiment, command: str, callbacks: list[pl.Callback], plugins: list[Any], **settings: object
) -> pl.Trainer:
    """Build the trainer of a run, with the processes that it asks for.

    Raises:
        UserError: They cannot be started, or are not as many.
    """
    if experiment.trainer["logger"] in (None, True):
        settings["logger"] = False
    with cluster.explained():
        trainer = trainer_of(experiment, callbacks, plugins, **settings)
    cluster.check_start(trainer, command)
    cluster.share_threads(trainer)
    if not trainer.is_global_zero:
        # what is true of all is said once
        logging.getLogger("tlzoo").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
    on_cpu = trainer.strategy.root_device.type == "cpu"
    if on_cpu and trainer.precision.startswith("bf16") and not multiplies_bf16():
        logger.warning(
            "this processor has no instructions for bf16: a training takes several times as long as in "
            "fp32, which is more precise; leave trainer.precision out"
        )
    return trainer


def evaluate(run: Run, experiment: Experiment, trainer: pl.Trainer, *parts: str, drawn: bool = True) -> None:
    """Predict parts of the split, where the trainer would: its own loop would only do the same before."""
    experiment.task.to(trainer.strategy.root_device)
    run.evaluate(experiment.task, experiment.data, parts, drawn=drawn)
    experiment.task.cpu()


def log_results(found: list[Tracker], run: Run) -> None:
    """Tell trackers what a run is worth."""
    for tracker in found:
        tracker.log_results(run)


@contextlib.contextmanager
def calm(*, quiet: bool = False) -> Iterator[None]:
    """Leave on the screen what a user can act on, if quiet nothing of a training; spare the generators."""
    levels = dict.fromkeys(("lightning.pytorch", "lightning.fabric"), logging.WARNING)
    if quiet:
        levels |= dict.fromkeys(TALKATIVE, logging.WARNING)
    before = {name: logging.getLogger(name).level for name in levels}
    seeds = {name: os.environ.get(name) for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")}
    with warnings.catch_warnings(), isolate_rng():
        for hint in HINTS:
            warnings.filterwarnings("ignore", message=hint)
        try:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
            for name, seed in seeds.items():
                os.environ.pop(name, None)
                if seed is not None:
                    os.environ[name] = seed
