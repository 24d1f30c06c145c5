"""One training for each fold of the crystals; then all of them answer together: `tlzoo fit --folds K`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import DivergedError, UserError
from tlzoo.evaluation.results import aligned, measured_rows
from tlzoo.machine import children, latest
from tlzoo.machine.device import shared
from tlzoo.machine.files import write_text
from tlzoo.machine.lock import held
from tlzoo.machine.remarks import once
from tlzoo.machine.runtime import processes, single_threaded
from tlzoo.model.cross_conformal import FoldRecord
from tlzoo.model.description import flatten
from tlzoo.training import fitting, measuring
from tlzoo.training.bundle import alike, bundles, largest
from tlzoo.training.configuration import RUN_DIR, Configuration
from tlzoo.training.resume import FREE_KEYS, refuse_changes
from tlzoo.training.run import Run, digests, read_json
from tlzoo.transfer.finetune.course import Course
from tlzoo.transfer.finetune.finetune_request import check_folds
from tlzoo.transfer.folds.gathered import Gathered, gather, kept_out, sections, summarised

logger = logging.getLogger(__name__)

# Validation part of the other folds, where the configuration does not say.
VAL: Final = 0.1
# Ctrl-C, and what a cluster sends before the time is over.
STOPPED: Final = (KeyboardInterrupt, SystemExit)
# Of a trainer, what one process cannot have, with what it is without.
ALONE: Final[Mapping[str, tuple[Any, ...]]] = {
    "devices": (1, "1", "auto"),
    "num_nodes": (1,),
    "fast_dev_run": (False,),
}


@dataclass(frozen=True, eq=False)
class Folds:
    """A finished cross-validation of one experiment.

    Attributes:
        folder: Its directory: all commands take it as a model.
        runs: The run of each fold.
        gathered: What they are worth together.
        text: The same for people.
    """

    folder: Path
    runs: Sequence[Run]
    gathered: Gathered
    text: str


@once()
def fit_folds(
    config: Configuration,
    folds: int,
    *,
    jobs: int | None = None,
    known: CrystalDataModule | None = None,
    say: Callable[[str], None] = logger.info,
) -> Folds:
    """Train and test an experiment once for each fold, several at a time; what is finished stays as it is.

    Args:
        config: The experiment; the test part of its split is in no fold, and measured by all together.
        folds: How many.
        jobs: Trainings at a time; by default as many as there are cores, on a GPU one.
        known: The data module of a configuration with the same section ``data``: nothing is read again.
        say: Is told what is done.

    Raises:
        UserError: The experiment or the data cannot be used, the directory holds something else, or training
            was stopped or diverged.
    """
    check_folds(folds)
    if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
        raise UserError(f"--jobs must be at least 1, got {jobs!r}")
    tree = config.resolved
    _check(config, tree)
    folder = Path(config.values.run_dir)
    unnamed = folder == Path(RUN_DIR)
    if unnamed:
        facts = {key: value for key, value in flatten(tree).items() if not key.startswith(FREE_KEYS)}
        words = [Path(tree["data"]["source"]).stem, "folds"]
        folder = latest.folder(folder, words, {**facts, "folds": folds})
    _check_folder(folder, folds)
    with held(folder, "choose another --run-dir"):
        found = _fitted(tree, folds, folder, jobs, known, say)
    if unnamed or folder.parent == Path(RUN_DIR).parent:
        latest.point(Path(RUN_DIR), folder)
    return found


def _check(config: Configuration, tree: Mapping[str, Any]) -> None:
    if config.values.ckpt_path is not None:
        raise UserError("--ckpt-path goes on with one training; leave it out: --folds goes on by itself")
    for name, without in ALONE.items():
        if tree["trainer"].get(name) not in (None, *without):
            raise UserError(
                f"--folds trains each fold in one process, to the end: leave trainer.{name} out, got "
                f"{tree['trainer'][name]}"
            )


def _check_folder(folder: Path, folds: int) -> None:
    """Refuse a directory that holds one training, a comparison, or another number of folds."""
    if (folder / "config.yaml").exists() or (folder / "verdict.json").exists():
        raise UserError(
            f"{folder} holds another run, without folds; choose another --run-dir, or delete that"
        )
    there = len([path for path in folder.glob("fold-*") if path.is_dir()])
    if there > folds or (folder / f"fold-{folds + 1}").exists():
        raise UserError(
            f"{folder} holds a run with other folds ({there}, wanted {folds}); choose another --run-dir, or "
            "delete that one"
        )


def _fitted(
    tree: dict[str, Any],
    folds: int,
    folder: Path,
    jobs: int | None,
    known: CrystalDataModule | None,
    say: Callable[[str], None],
) -> Folds:
    names = [f"fold-{number}" for number in range(1, folds + 1)]
    splits = sections(tree["data"].get("split"), folds, val=VAL)
    with fitting.calm(quiet=True):
        configs = []
        for name, split in zip(names, splits, strict=True):
            data = {**tree["data"], "split": split}
            configs.append(Configuration.parsed({**tree, "run_dir": str(folder / name), "data": data}))
        experiments = [one.build() for one in configs]
    modules = [each.data for each in experiments]
    if known is not None:
        modules[0].share(known, split=False)
    other = kept_out(modules[0])
    test = other.test if other is not None else modules[0].split.test[:0]
    modules[0].open_graphs(experiments[0].task.backbone.graph)
    for each in modules[1:]:
        each.share(modules[0], split=False)
    first = modules[0].split
    sizes = " or ".join(dict.fromkeys(f"{len(each.split.test):,}" for each in modules))
    say(
        f"{len(modules[0].used_rows):,} crystals of {modules[0].source} in {folds} folds of {sizes}; of the "
        f"others {len(first.val):,} validate and {len(first.train):,} train"
        + (f"; the {len(test):,} of the test part are in no fold" if len(test) else "")
    )
    if other is not None and other.warning:
        say(f"WARNING: {other.warning}")
    runs = [Run(folder / name) for name in names]
    left = {
        number: fitting.Planned.built(config, experiment)
        for number, (run, config, experiment) in enumerate(zip(runs, configs, experiments, strict=True), 1)
        if not _done(run, config, experiment.data)
    }
    _train(left, _jobs(jobs, tree, len(left)), say, folds)
    say("predicting with each what it has left out")
    found = gather(folder, names, modules, test)
    text = _text(runs, found, folds)
    facts = {"of": "fit", "metrics": _by_fold(runs), **found.facts, "said": text}
    FoldRecord(names, found.folded.record.intervals, facts).write(folder)
    write_text(folder / "verdict.md", text + "\n")
    _draw(folder, found)
    return Folds(folder, runs, found, text)


def _train(left: Mapping[int, fitting.Planned], jobs: int, say: Callable[[str], None], folds: int) -> None:
    """Train and test what is not finished, by the number of the fold; those of one shape as one."""
    if not left:
        return
    numbers, plans = list(left), list(left.values())
    modules = [plan.experiment.data for plan in plans]
    options = [plan.experiment.task.backbone.graph for plan in plans]
    epochs = int(plans[0].config.values.trainer.max_epochs or 0)
    rows = max(module.rows_of_batch(each) for module, each in zip(modules, options, strict=True))
    shapes = alike([plan.shape for plan in plans], modules, options)
    found = bundles(shapes, jobs, largest(rows, modules[0].max_rows))

    pieces = [partial(_tested, [plans[i] for i in places], places) for places in found]
    alone = single_threaded() if jobs > 1 else nullcontext()
    with alone, Course(len(plans), epochs) as course:
        first = course.begin([f"fold {number}" for number in numbers])
        try:
            for piece, measured in children.each(pieces, jobs, lambda _, at: course.epoch(first + at)):
                for at, metrics in zip(found[piece], measured, strict=True):
                    course.end(first + at)
                    errors = {name: value for name, value in metrics["test"].items() if name != "crystals"}
                    told = ", ".join(f"{name} {value:.4g}" for name, value in errors.items())
                    say(f"fold {numbers[at]} of {folds}: {told}")
        except (KeyboardInterrupt, UserError) as stop:
            if not isinstance(stop, KeyboardInterrupt) and not isinstance(stop.__cause__, STOPPED):
                raise
            folder = plans[0].config.run.path.parent
            raise UserError(
                f"stopped. All finished epochs are in {folder}; the same command goes on from there"
            ) from stop


def _tested(
    plans: Sequence[fitting.Planned], numbers: Sequence[int], tell: Callable[[int], None]
) -> list[dict[str, Any]]:
    """Train some as one and test each; ``tell`` is called with its number after each epoch of one."""
    data = [plan.experiment.data for plan in plans]
    ends = fitting.fit_together(plans, data=data, told=lambda i: tell(numbers[i]))
    runs = [plan.config.run for plan in plans]
    for run, diverged in zip(runs, ends, strict=True):
        if diverged is not None:
            raise DivergedError(f"{run.path}: {diverged}")
    return [dict(measuring.test(run, data=module)) for run, module in zip(runs, data, strict=True)]


def _jobs(asked: int | None, tree: Mapping[str, Any], left: int) -> int:
    """Return how many are trained at a time: on an accelerator, which they would share, one."""
    trainer = tree["trainer"]
    # loggers keep one run open in a process
    if shared([trainer]) or not children.FORKS or trainer.get("logger") not in (None, False, True):
        return 1
    return min(asked or processes(), max(1, left))


def _done(run: Run, config: Configuration, data: CrystalDataModule) -> bool:
    """Whether a fold is trained and tested, with this configuration and these crystals.

    Raises:
        UserError: It is of another configuration.
    """
    if not run.last.exists() or not run.config.exists():
        return False
    refuse_changes(run, config.resolved)
    if "test" not in run.metrics or not run.model.with_suffix(".safetensors").is_file():
        return False
    return bool(read_json(run.environment).get("parts") == digests(data))


def _by_fold(runs: Sequence[Run]) -> dict[str, dict[str, list[float]]]:
    """Return the errors of each fold, by what predicts and measure."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for label, _, row in measured_rows(run.metrics, run.labels):
            if label.startswith("test"):
                for name, value in row.items():
                    there = found.setdefault("left out" + label.removeprefix("test"), {})
                    there.setdefault(name, []).append(float("nan") if value is None else float(value))
    return found


def _text(runs: Sequence[Run], found: Gathered, folds: int) -> str:
    """Return the errors of all folds as a table, and what intervals hold."""
    by_fold = _by_fold(runs)
    measures = list(dict.fromkeys(name for row in by_fold.values() for name in row))
    table = [["", *measures]]
    for label, row in by_fold.items():
        table.append([label, *(summarised(row.get(name, [])) for name in measures)])
    whole = {"all left out, at once": found.metrics, "test part, all together": found.tested or {}}
    for label, metrics in whole.items():
        # of several targets measures have other names here
        if metrics and len(found.folded.units) == 1:
            table.append([label, *(f"{metrics[name]:.4g}" if name in metrics else "" for name in measures)])
    units = ", ".join(f"{name} in {unit}" if unit else name for name, unit in found.folded.units.items())
    lines = [line.rstrip() for line in aligned(table, "<" + ">" * len(measures))]
    lines.append(
        f"({units}; mean ± standard deviation over {folds} folds; each of {found.crystals:,} crystals was "
        "left out once)"
    )
    return "\n".join([*lines, *found.told()])


def _draw(folder: Path, found: Gathered) -> None:
    """Draw the pictures of a run, of the crystals left out."""
    run = Run(folder)
    run.draw(found.folded.network, run.predicted())
