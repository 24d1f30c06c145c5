"""One run of a study: trained, its best epoch tested, nothing kept but the numbers."""

import json
import logging
import shutil
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits.splitter import PARTS
from tlzoo.errors import DivergedError, UserError
from tlzoo.evaluation.baselines import baselines
from tlzoo.heads import Classification
from tlzoo.study.axes import Label, Labels, Tree, text
from tlzoo.study.grid import StudyRun
from tlzoo.study.preparation import Memory, Prepared, in_common, prepared
from tlzoo.study.start_networks import Source
from tlzoo.training.configuration import Configuration, Experiment
from tlzoo.training.fitting import calm, fit
from tlzoo.training.run import predict_part
from tlzoo.training.task import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A run, as a process is told to do it.

    It may write into ``folder`` while it lasts; if trivial, it fits the trivial baselines to its data.
    ``keep`` is the run directory to train in, and to go on in; None if nothing but numbers is wanted.
    """

    id: str
    labels: Labels
    tree: Tree
    started_from: tuple[Mapping[str, str], ...]
    folder: Path
    trivial: bool = False
    keep: Path | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run gave.

    Attributes:
        row: Its numbers, or why it failed.
        predictions: Id, target and prediction of each crystal of the test part; None without such a part.
    """

    row: dict[str, Any]
    predictions: pd.DataFrame | None


@dataclass(frozen=True, eq=False)
class Returned:
    """Runs that were given together, and what those gave that are done.

    Attributes:
        jobs: All of them.
        outcomes: Of those that are done. The others are to be given again.
        shapes: What those have in common that can be one training, by id, as far as it was seen; None of one
            that goes alone.
        most: How many of them can be one training, if fewer than were given.
    """

    jobs: Sequence[Job]
    outcomes: Sequence[Outcome]
    shapes: Mapping[str, str | None] = field(default_factory=dict)
    most: int | None = None


def perform(jobs: Sequence[Job], memory: Memory) -> Returned:
    """Train and test the first of several runs, and as one with it those that can be.

    A run that fails is a result too. Those that cannot be built have failed.
    """
    if len(jobs) == 1 or any(job.trivial or job.keep is not None for job in jobs):
        return Returned(jobs, [_by_itself(jobs[0], memory)])
    begun = time.monotonic()
    outcomes, built = _built(jobs, memory)
    if not built:
        return Returned(jobs, outcomes)
    shapes: Sequence[str | None] = []
    done: list[Outcome] = []
    most = None
    try:
        with calm(quiet=True):
            shapes, fitting = in_common([one for _, one in built])
            alike = [each for each, shape in zip(built, shapes, strict=True) if shape and shape == shapes[0]]
            if fitting < len(alike):
                most = fitting
            if min(fitting, len(alike)) > 1:
                done = _as_one(alike[:fitting], begun)
    except Exception:  # each goes alone then, which shows whose it is, or that memory was short
        logger.debug("%d runs are not one training", len(built), exc_info=True)
        most = 1
    outcomes += done or [_by_itself(built[0][0], memory)]
    names = [job.id for job, _ in built]
    return Returned(jobs, outcomes, dict(zip(names, shapes, strict=False)), most)


def _by_itself(job: Job, memory: Memory) -> Outcome:
    begun = time.monotonic()
    predictions = None
    try:
        facts, predictions = _measured(job, memory) if job.keep is None else (_kept(job, job.keep), None)
    except DivergedError as error:
        facts = _diverged(error)
    except UserError as error:
        if isinstance(error.__cause__, KeyboardInterrupt | SystemExit):
            raise error.__cause__ from None  # it was stopped: no failure
        facts = {"status": "failed", "error": str(error)}
    except Exception as error:  # noqa: BLE001 (one run must not stop thousands; the row says what happened)
        told = f"{type(error).__name__}: {error}"
        facts = {"status": "failed", "error": told, "traceback": traceback.format_exc()}
    return _outcome(job, facts, predictions, time.monotonic() - begun)


def _built(jobs: Sequence[Job], memory: Memory) -> tuple[list[Outcome], list[tuple[Job, Prepared]]]:
    """Build several runs; return what those gave that cannot be built, and the others."""
    failed, built = [], []
    for job in jobs:
        try:
            with calm(quiet=True):
                one = prepared(job.tree, job.folder, memory)
                _check_learned(one.experiment)
        except Exception:  # noqa: BLE001 (by itself it fails again, and says why)
            failed.append(_by_itself(job, memory))
        else:
            built.append((job, one))
    return failed, built


def _as_one(several: Sequence[tuple[Job, Prepared]], begun: float) -> list[Outcome]:
    """Train several runs as one; each took its share of the time since they were begun."""
    ready = time.monotonic()
    ends = Prepared.together([one for _, one in several])
    took = (time.monotonic() - ready) / len(several)
    facts = [
        (_diverged(end), None) if isinstance(end, DivergedError) else _tested(one, end, took)
        for (_, one), end in zip(several, ends, strict=True)
    ]
    seconds = (time.monotonic() - begun) / len(several)
    return [_outcome(job, *each, seconds) for (job, _), each in zip(several, facts, strict=True)]


def _diverged(error: DivergedError) -> dict[str, Any]:
    return {"status": "failed", "error": str(error), "settled": True}


def _outcome(job: Job, facts: Mapping[str, Any], predictions: pd.DataFrame | None, seconds: float) -> Outcome:
    shutil.rmtree(job.folder, ignore_errors=True)
    return Outcome({**heading(job), **facts, "seconds": round(seconds, 2), **ending()}, predictions)


def check(runs: Iterable[StudyRun | Source]) -> None:
    """Parse configurations, so many that each value of each axis is in one of them; build and read nothing.

    Raises:
        UserError: One of them is no configuration of `tlzoo fit`, or asks for several processes; the message
            says of which run.
    """
    seen: set[tuple[str, Label]] = set()
    for run in runs:
        _check_processes(run)
        new = set(run.labels.items()) - seen
        if not new:
            continue
        seen |= new
        try:
            Configuration.parsed(run.tree)
        except UserError as error:
            raise UserError(f"{text(run.labels)}: {error}") from error


def _check_processes(run: StudyRun | Source) -> None:
    trainer = run.tree.get("trainer") or {}
    for name in ("devices", "num_nodes"):
        given = trainer.get(name, 1)
        if given not in (1, "1") and not (isinstance(given, list) and len(given) == 1):
            raise UserError(
                f"{text(run.labels)}: trainer.{name} is {given!r}, but a run of a study is one process; "
                "leave it out, and compute several runs at a time: --jobs, or --backend ray"
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
    with calm(quiet=True):
        built = prepared(job.tree, job.folder, memory)
        data = built.experiment.data
        _check_learned(built.experiment)
        if job.trivial:
            labels = data.target_values(np.arange(len(data.crystals))).numpy()[:, 0]
            found = baselines(data.crystals, labels, data.split)
            return {"status": "done", **_facts(data), "baselines": found}, None
        begun = time.monotonic()
        epochs = built.alone()
        return _tested(built, epochs, time.monotonic() - begun)


def _check_learned(experiment: Experiment) -> None:
    """Refuse classes: their first target has no error in its unit."""
    task, data = experiment.task, experiment.data
    if isinstance(task.head, Classification):
        raise UserError(
            f"a study wants one number per crystal to learn, got {', '.join(data.targets)} with the head "
            f"{type(task.head).__name__}"
        )


def _tested(built: Prepared, epochs: int, seconds: float) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """Return the numbers of a training that took so many seconds, and its predictions."""
    data = built.experiment.data
    errors, predictions = _errors(built.experiment.task, data)
    course = {"best_epoch": built.best.epoch, "epochs": epochs, "training_seconds": round(seconds, 2)}
    return {"status": "done", **_facts(data), **errors, **course}, predictions


def _kept(job: Job, folder: Path) -> dict[str, Any]:
    """Train as `tlzoo fit` does, or go on with it, and keep the run directory."""
    run = fit(job.tree, run_dir=folder, quiet=True)
    metrics = run.metrics
    # of several properties there is no one error
    errors = {
        f"val_{name}": metrics["val"][name] for name in ("mae", "rmse") if name in metrics.get("val", {})
    }
    targets = metrics["targets"]
    heading = {"property": " ".join(targets), "unit": " ".join(targets.values())}
    split = json.loads(run.split.read_text(encoding="utf-8"))
    sizes = {f"n_{part}": len(split[part]) for part in PARTS}
    return {"status": "done", **heading, **errors, **sizes, "epochs": len(run.curves)}


def _errors(task: Task, data: CrystalDataModule) -> tuple[dict[str, float], pd.DataFrame | None]:
    """Return the errors of the first target, and what was predicted of it."""
    found: dict[str, float] = {}
    predictions = None
    of = "" if len(data.targets) == 1 else f"_{data.targets[0]}"
    for part, names in (("val", ("mae", "rmse")), ("test", ("mae", "rmse", "r2"))):
        rows = getattr(data.split, part)
        if not len(rows):
            continue
        predicted, metrics = predict_part(task, data, part)
        found |= {f"{part}_{name}": metrics[f"{name}{of}"] for name in names}
        if part == "test":
            predictions = pd.DataFrame(
                {
                    "id": data.crystals.ids[rows],
                    "target": data.target_values(rows).numpy()[:, 0],
                    "prediction": predicted[:, 0],
                }
            )
    return found, predictions


def _facts(data: CrystalDataModule) -> dict[str, Any]:
    sizes = {f"n_{part}": len(rows) for part, rows in data.split.parts.items()}
    return {"property": data.targets[0], "unit": data.units[0], **sizes}
