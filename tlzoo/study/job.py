"""One run of a study: trained, its best epoch tested, nothing kept but the numbers."""

import json
import shutil
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
from tlzoo.study.preparation import Memory, prepared
from tlzoo.study.start_networks import Source
from tlzoo.training.configuration import Configuration
from tlzoo.training.fitting import calm, fit
from tlzoo.training.run import predict_part
from tlzoo.training.task import Task


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


def perform(job: Job, memory: Memory) -> Outcome:
    """Train and test; a run that fails is a result too."""
    begun = time.monotonic()
    predictions = None
    try:
        found, predictions = _measured(job, memory) if job.keep is None else (_kept(job, job.keep), None)
        facts = {"status": "done", **found}
    except DivergedError as error:
        facts = {"status": "failed", "error": str(error), "settled": True}
    except UserError as error:
        if isinstance(error.__cause__, KeyboardInterrupt | SystemExit):
            raise error.__cause__ from None  # it was stopped: no failure
        facts = {"status": "failed", "error": str(error)}
    except Exception as error:  # noqa: BLE001 (one run must not stop thousands; the row says what happened)
        told = f"{type(error).__name__}: {error}"
        facts = {"status": "failed", "error": told, "traceback": traceback.format_exc()}
    shutil.rmtree(job.folder, ignore_errors=True)
    return Outcome(
        {**heading(job), **facts, "seconds": round(time.monotonic() - begun, 2), **ending()}, predictions
    )


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
        experiment, trainer, best = prepared(job.tree, job.folder, memory)
        task, data = experiment.task, experiment.data
        if isinstance(task.head, Classification):
            raise UserError(
                f"a study wants one number per crystal to learn, got {', '.join(data.targets)} with the head "
                f"{type(task.head).__name__}"
            )
        if job.trivial:
            labels = data.target_values(np.arange(len(data.crystals))).numpy()[:, 0]
            found = baselines(data.crystals, labels, data.split)
            return {**_facts(data), "baselines": found}, None
        begun = time.monotonic()
        trainer.fit(task, datamodule=data)
        task.load_state_dict(best.weights)
        epochs = {"best_epoch": best.epoch, "epochs": trainer.current_epoch}
        seconds = round(time.monotonic() - begun, 2)
        errors, predictions = _errors(task.to(trainer.strategy.root_device), data)
        return {**_facts(data), **errors, **epochs, "training_seconds": seconds}, predictions


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
    return {**heading, **errors, **sizes, "epochs": len(run.curves)}


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
