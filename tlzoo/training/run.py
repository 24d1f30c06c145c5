"""The directory of a run: everything needed to understand, repeat and use it.

``config.yaml``, ``split.json``, ``environment.json``: what was asked, of which crystals, with which versions.
``history.csv``, ``learning-curve.png``, ``best.ckpt``, ``last.ckpt``: the course of training; resume files.
``model.safetensors``, ``model.json``: the exported model. ``model.domain.safetensors``: what is known of the
crystals it learned from. ``metrics.json``, ``predictions.csv``,
``parity.png``: what it is worth.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from tlzoo.cards.lineage import started_from
from tlzoo.data.known_elements import symbols
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits.splitter import PARTS
from tlzoo.errors import UserError
from tlzoo.evaluation import plots
from tlzoo.evaluation.baselines import baselines
from tlzoo.graphs import keys
from tlzoo.heads import Classification
from tlzoo.machine import distributed
from tlzoo.machine.files import read_table, write_text
from tlzoo.model import checkpoint
from tlzoo.model.description import plain
from tlzoo.model.trained import Model, learned_domain
from tlzoo.training.task import Task

PACKAGES = ("tlzoo", "torch", "lightning", "torch-geometric", "numpy", "pymatgen", "vesin")


class Run:
    """A run directory and the names in it.

    Attributes:
        path: The directory.
        config: The resolved configuration.
        split: Ids of the crystals of each part.
        history: A row of metrics per epoch.
        predictions: Targets and predictions of the parts measured so far.
        environment: Versions, machine, seed, hash of the data, time.
        best: Resume file of the epoch with the best validation metric.
        last: Resume file of the last finished epoch.
        model: The exported model, without suffix.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.split = path / "config.yaml", path / "split.json"
        self.history, self.predictions = path / "history.csv", path / "predictions.csv"
        self.environment, self.model = path / "environment.json", path / "model"
        self.best, self.last = path / "best.ckpt", path / "last.ckpt"

    def __repr__(self) -> str:
        return f"Run(path={self.path!r})"

    @property
    def parity_plots(self) -> list[Path]:
        """The parity plot, or that of each property."""
        return sorted(self.path.glob("parity*.png"))

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured so far, in the units of the targets; empty before training ends."""
        path = self.path / "metrics.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def check(self) -> None:
        """Refuse what can be no directory.

        Raises:
            UserError: It is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file, wanted a directory for the run; choose another run_dir")

    def check_begun(self) -> None:
        """Refuse a directory that holds no run.

        Raises:
            UserError: It has no configuration.
        """
        if not self.config.is_file():
            raise UserError(f"{self.path} is no run directory: it has no config.yaml")

    def open(self, data: CrystalDataModule, seed: int) -> None:
        """Write what is known before training: split and environment.

        Raises:
            UserError: The directory holds a run of other structures, labels, or another split.
        """
        text = data.split.to_json(data.crystals.ids)
        if self.last.exists() and self.split.exists() and self.split.read_text(encoding="utf-8") != text:
            raise UserError(
                f"{self.split} differs from the split of this configuration and data: the data changed since "
                "the run began; use another --run_dir"
            )
        labels = data.target_values(np.arange(len(data.crystals))).numpy()
        hashes = {
            "data_sha256": data.crystals.content_hash,
            "labels_sha256": hashlib.sha256(np.ascontiguousarray(labels).data).hexdigest(),
        }
        if self.last.exists() and self.environment.exists():
            before = json.loads(self.environment.read_text(encoding="utf-8"))
            for name, what in (("data_sha256", "structures"), ("labels_sha256", "labels")):
                if before.get(name, hashes[name]) != hashes[name]:
                    raise UserError(
                        f"the {what} of {data.source} changed since the run in {self.path} began; use "
                        "another --run_dir"
                    )
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.split, text)
        environment = {
            "versions": {name: _version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": _processor(),
            "threads": torch.get_num_threads(),
            "seed": seed,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "source": data.source,
            **hashes,
        }
        write_text(self.environment, json.dumps(environment, indent=1))

    def close(self, seconds: float) -> None:
        """Write what is known after training: the time that its epochs took."""
        environment = json.loads(self.environment.read_text(encoding="utf-8"))
        write_text(
            self.environment, json.dumps({**environment, "training_seconds": round(seconds, 3)}, indent=1)
        )

    def export(self, task: Task, data: CrystalDataModule) -> None:
        """Write the model as data, safetensors and a JSON card, if the task says so."""
        if not task.export:
            return
        metrics = self.metrics
        train = data.crystals.select(data.split.train)
        recipe = yaml.safe_load(self.config.read_text(encoding="utf-8")) if self.config.exists() else {}
        card = {
            "targets": data.targets,
            "units": data.units,
            "source": data.source,
            "data_sha256": data.crystals.content_hash,
            "split": data.split.describe(),
            "elements": symbols(train),
            "started_from": started_from(recipe.get("model", {})),
            "metrics": {part: metrics[part] for part in PARTS if part in metrics},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "tlzoo": _version("tlzoo"),
        }
        was_training = task.training
        task.eval()
        domain = learned_domain(Model(task.backbone, task.head, card), train)
        task.train(was_training)
        checkpoint.save(self.model, task.backbone, task.head, card, domain=domain)

    def evaluate(self, task: Task, data: CrystalDataModule, parts: Sequence[str]) -> dict[str, Any]:
        """Predict parts of the split in fp32 and bring all files of results up to date.

        Several processes predict a share each, and process 0 writes; all must call it.

        Returns:
            The content of ``metrics.json``: metrics by part, in physical units, and sizes.
        """
        metrics = self.metrics
        tables = []
        if self.predictions.exists():
            before = read_table(self.predictions)
            kept = before[~before["part"].isin(list(parts))]
            tables = [kept] if len(kept) else []
        for part in parts:
            rows = getattr(data.split, part)
            if len(rows) == 0:
                continue
            predicted, computed = predict_part(task, data, part)
            metrics[part] = {"crystals": len(rows), **computed}
            tables.append(_long_table(task, data, part, rows, predicted))
        metrics["targets"] = dict(zip(data.targets, data.units, strict=True))
        if distributed.rank() > 0:
            return metrics
        table = pd.concat(tables, ignore_index=True)
        write_text(self.predictions, table.to_csv(index=False))
        self._write_metrics(metrics)
        self.draw(task, table)
        return metrics

    def add_baselines(self, task: Task, data: CrystalDataModule) -> dict[str, Any]:
        """Compute the trivial baselines of the same split and add them to the metrics."""
        metrics = self.metrics
        values = data.target_values(np.arange(len(data.crystals))).numpy()
        classes = isinstance(task.head, Classification)
        metrics["baselines"] = {
            name: baselines(data.crystals, values[:, i], data.split, classification=classes)
            for i, name in enumerate(data.targets)
        }
        self._write_metrics(metrics)
        return metrics

    def draw(self, task: Task, table: pd.DataFrame) -> None:
        """Draw a parity plot per property, and the learning curve."""
        properties = list(dict.fromkeys(table["property"]))
        for name in properties:
            rows = table[table["property"] == name]
            file = "parity.png" if len(properties) == 1 else f"parity-{name}.png"
            parts = {
                str(part): (values["target"].to_numpy(), values["prediction"].to_numpy())
                for part, values in rows.groupby("part", sort=False)
            }
            log = task.head.transform == "log10"
            plots.parity(self.path / file, parts, name=name, unit=rows["unit"].iloc[0], log=log)
        if self.history.exists():
            monitor = task.head.monitor
            unit = str(table["unit"].iloc[0]) if monitor == "mae" else ""
            plots.learning_curve(
                self.path / "learning-curve.png", pd.read_csv(self.history), metric=monitor, unit=unit
            )

    def _write_metrics(self, metrics: dict[str, Any]) -> None:
        write_text(
            self.path / "metrics.json", json.dumps(plain(metrics, "metrics"), indent=1, allow_nan=False)
        )


def predict_part(
    task: Task, data: CrystalDataModule, part: str
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Predict one part of the split, ``(crystals, columns)`` in the order of the split, and its metrics.

    Several processes predict a share each and all get the whole; all must call it.
    """
    shares = []
    was_training = task.training
    task.eval()
    with torch.inference_mode():
        for batch in data.part_dataloader(part):
            prediction = task(batch.to(task.device)).float().cpu()
            shares.append((batch[keys.ROW].cpu(), prediction))
    task.train(was_training)
    wanted = getattr(data.split, part)
    rows, values = (torch.cat(each) for each in zip(*shares, strict=True))
    predicted = distributed.collected(rows, values, wanted)
    metrics = task.head.metrics(data.targets)
    metrics.update(predicted, data.target_values(wanted))
    return predicted.numpy(), {name: float(value) for name, value in metrics.compute().items()}


def _long_table(
    task: Task, data: CrystalDataModule, part: str, rows: NDArray[np.int64], predicted: NDArray[np.float32]
) -> pd.DataFrame:
    """One row per crystal and property: id, part, property, target, prediction, unit, further columns."""
    columns = task.head.columns(data.targets)
    truth = data.target_values(rows).numpy()
    tables = []
    for i, (name, unit) in enumerate(zip(data.targets, data.units, strict=True)):
        further = {
            column.removeprefix(f"{name}_"): predicted[:, j]
            for j, column in enumerate(columns)
            if j >= len(data.targets) and column.startswith(f"{name}_")
        }
        tables.append(
            pd.DataFrame(
                {
                    "id": data.crystals.ids[rows],
                    "part": part,
                    "property": name,
                    "target": truth[:, i],
                    "prediction": predicted[:, i],
                    "unit": unit,
                    **further,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _processor() -> str:
    """Name the GPU, or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError):
        # Linux; elsewhere the interpreter knows
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
