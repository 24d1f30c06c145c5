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
from tlzoo.errors import DivergedError, UserError
from tlzoo.evaluation.baselines import baselines
from tlzoo.heads import Classification
from tlzoo.study.axes import Label, Labels, Tree, text
from tlzoo.study.fitting import Fit, Memory, Parser, arguments
from tlzoo.study.grid import StudyRun
from tlzoo.study.start_networks import Source
from tlzoo.training.cli import TlzooCLI
from tlzoo.training.run import predict_part
from tlzoo.training.session import explaining, quiet


@dataclass(frozen=True)
class Job:
    """A run, as a process is told to do it.

    Attributes:
        id: Its id.
        labels: Its values on the axes.
        tree: Its configuration.
        started_from: Models it starts from.
        folder: Where it may write while it lasts.
        trivial: Fit the trivial baselines to its data instead of training.
        keep: Run directory to train in, and to go on in; None if nothing but numbers is wanted.
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
    parser: Parser | None = None
    for run in runs:
        _check_processes(run)
        new = set(run.labels.items()) - seen
        if not new:
            continue
        seen |= new
        try:
            with quiet(), explaining():
                if parser is None:
                    parser = Parser(arguments(run.tree, Path("run")))
                else:
                    parser.parser.parse_args(arguments(run.tree, Path("run")))
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
    with quiet(), explaining():
        fit = Fit(job.tree, job.folder, memory)
        data = fit.datamodule
        if len(data.targets) != 1 or isinstance(fit.model.head, Classification):
            raise UserError(
                f"a study wants one number per crystal to learn, got {', '.join(data.targets)} with the head "
                f"{type(fit.model.head).__name__}"
            )
        if job.trivial:
            return _baselines(data), None
        begun = time.monotonic()
        fit.train()
        seconds = time.monotonic() - begun
        return _numbers(fit, seconds)


def _kept(job: Job, folder: Path) -> dict[str, Any]:
    """Train as `tlzoo fit` does, or go on with it, and keep the run directory."""
    with quiet(), explaining():
        cli = TlzooCLI(arguments(job.tree, folder))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    data = cli.datamodule
    # of several properties there is no one error
    errors = {
        f"val_{name}": metrics["val"][name] for name in ("mae", "rmse") if name in metrics.get("val", {})
    }
    heading = {"property": " ".join(data.targets), "unit": " ".join(data.units)}
    return {**heading, **errors, **_sizes(data), "epochs": cli.trainer.current_epoch}


def _numbers(fit: Fit, seconds: float) -> tuple[dict[str, Any], pd.DataFrame | None]:
    data = fit.datamodule
    fit.model.to(fit.trainer.strategy.root_device)
    row: dict[str, Any] = {"property": data.targets[0], "unit": data.units[0]}
    predictions = None
    for part, names in (("val", ("mae", "rmse")), ("test", ("mae", "rmse", "r2"))):
        rows = getattr(data.split, part)
        if not len(rows):
            continue
        predicted, metrics = predict_part(fit.model, data, part)
        row |= {f"{part}_{name}": metrics[name] for name in names}
        if part == "test":
            predictions = pd.DataFrame(
                {
                    "id": data.crystals.ids[rows],
                    "target": data.target_values(rows).numpy()[:, 0],
                    "prediction": predicted[:, 0],
                }
            )
    epochs = {"best_epoch": fit.best.epoch, "epochs": fit.trainer.current_epoch}
    return {**row, **_sizes(data), **epochs, "training_seconds": round(seconds, 2)}, predictions


def _baselines(data: CrystalDataModule) -> dict[str, Any]:
    labels = data.target_values(np.arange(len(data.crystals))).numpy()[:, 0]
    found = baselines(data.crystals, labels, data.split)
    return {"property": data.targets[0], "unit": data.units[0], "baselines": found, **_sizes(data)}


def _sizes(data: CrystalDataModule) -> dict[str, int]:
    return {f"n_{part}": len(rows) for part, rows in data.split.parts.items()}
