"""The directory of a run: everything needed to understand, repeat and use it.

``config.yaml``, ``split.json``, ``environment.json``: what was asked, of which crystals, with which versions.
``history.csv``, ``learning-curve.png``, ``best.ckpt``, ``last.ckpt``: the course of training; resume files.
``model.safetensors``, ``model.json``: the exported model. ``model.domain.safetensors``: what is known of the
crystals it learned from. ``metrics.json``, ``predictions.csv``,
``parity.png``: what it is worth. ``embedding-map.png``: its crystals as the model sees them.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
import yaml
from msgspec.structs import asdict
from numpy.typing import NDArray

from tlzoo.cards.card import Interval
from tlzoo.cards.library import names, refuse_dangling
from tlzoo.cards.lineage import started_from
from tlzoo.data.joined_table import theories
from tlzoo.data.known_elements import symbols
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits.splitter import PARTS, differ
from tlzoo.errors import UserError, first_line
from tlzoo.evaluation import plots
from tlzoo.evaluation.baselines import baselines
from tlzoo.graphs import keys
from tlzoo.heads import Classification
from tlzoo.heads.head import Head
from tlzoo.machine import distributed, yaml_text
from tlzoo.machine.files import write_text
from tlzoo.machine.lock import held
from tlzoo.machine.progress import bar
from tlzoo.model import checkpoint, intervals
from tlzoo.model.activations import EMBEDDING
from tlzoo.model.description import plain
from tlzoo.model.teacher_map import CRYSTALS, TeacherMap
from tlzoo.model.trained import Model, learned_domain
from tlzoo.training.task import Task

# What a file can be instead of the text that it should be.
UNREADABLE: Final = (OSError, ValueError)
# Crystals of a picture: more cover one another.
MAPPED: Final = 1000
COLUMNS: Final = ("id", "part", "property", "target", "prediction", "unit")
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
    def units(self) -> dict[str, str]:
        """Unit of each property, as far as the run has written it down."""
        kept = read_json(self.environment) if self.environment.is_file() else {}
        found: dict[str, str] = kept.get("targets") or self.metrics.get("targets") or {}
        return found

    @property
    def parity_plots(self) -> list[Path]:
        """The parity plot, or that of each property."""
        return sorted(self.path.glob("parity*.png"))

    @property
    def class_plots(self) -> list[Path]:
        """Of a classification: which class was taken for which, the ROC, and how right probabilities are."""
        kinds = ("confusion", "roc", "calibration")
        return sorted(path for kind in kinds for path in self.path.glob(f"{kind}*.png"))

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured so far, in the units of the targets; empty before training ends."""
        path = self.path / "metrics.json"
        if not path.exists():
            return {}
        metrics = read_json(path)
        for name in ("targets", *PARTS, "baselines"):
            if not isinstance(metrics.get(name, None if name == "targets" else {}), dict):
                raise UserError(_damaged(path, ValueError(f"{name} is no object")))
        return metrics

    def predicted(self) -> pd.DataFrame:
        """Return the targets and predictions of the parts measured so far.

        Raises:
            UserError: The file is damaged.
        """
        table = _table(self.predictions)
        for name in [name for name in ("target", "prediction", "std") if name in table.columns]:
            try:
                table[name] = table[name].replace("", "nan").astype(float)
            except ValueError as error:
                raise UserError(_damaged(self.predictions, error)) from error
        return table

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the directory while the context lasts.

        Raises:
            UserError: Another process trains or measures there, or nothing can be written.
        """
        with held(self.path, "choose another --run_dir"):
            yield

    @property
    def labels(self) -> dict[tuple[str, str], int]:
        """Numbers of known labels by part and target; empty before training ends."""
        if not self.predictions.exists():
            return {}
        table = self.predicted()
        keys = list(zip(table["part"], table["property"], strict=True))
        known = Counter(key for key, there in zip(keys, table["target"].notna(), strict=True) if there)
        return {key: known[key] for key in keys}

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
            UserError: It has no configuration, or is a link to what is not there any more.
        """
        refuse_dangling(self.path)
        if self.config.is_file():
            return
        if (self.path / "verdict.json").is_file():
            raise UserError(
                f"{self.path} is a comparison of `tlzoo finetune`, which has measured both sides: verdict.md "
                f"says how; on other labelled crystals: tlzoo test {self.path} --on DATA"
            )
        model = self.model.with_suffix(".safetensors").is_file() or self.path.suffix == ".safetensors"
        if model or str(self.path) in names():
            raise UserError(
                f"{self.path} is a model, whose errors are on its card; on labelled crystals of your own: "
                f"tlzoo test {self.path} --on DATA"
            )
        raise UserError(f"{self.path} is no run directory: it has no config.yaml")

    def open(self, data: CrystalDataModule, seed: int) -> None:
        """Write what is known before training: split and environment.

        Raises:
            UserError: The directory holds a run of other structures, labels, or another split.
        """
        text = data.split.to_json(data.crystals.ids)
        begun = self.last.exists() and self.split.exists()
        if differ(self.split.read_text(encoding="utf-8") if begun else text, text):
            raise UserError(
                f"{self.split} differs from the split of this configuration and data: the data changed since "
                "the run began; use another --run_dir"
            )
        hashes = {
            "data_sha256": data.crystals.content_hash,
            "labels_sha256": labels_digest(data, np.arange(len(data.crystals))),
        }
        if self.last.exists() and self.environment.exists():
            before = read_json(self.environment)
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
            "targets": dict(zip(data.targets, data.units, strict=True)),
            **hashes,
            "parts": digests(data),
            **taught_by(data),
        }
        write_text(self.environment, json.dumps(environment, indent=1))

    def close(self, seconds: float) -> None:
        """Write what is known after training: the time that its epochs took."""
        environment = read_json(self.environment)
        write_text(
            self.environment, json.dumps({**environment, "training_seconds": round(seconds, 3)}, indent=1)
        )

    def export(self, task: Task, data: CrystalDataModule) -> None:
        """Write the model as data, safetensors and a JSON card, if the task says so."""
        if not task.export:
            return
        metrics = self.metrics
        train = data.crystals.select(data.split.train)
        recipe = read_yaml(self.config) if self.config.exists() else {}
        # of what it was trained with, in whatever order that comes now
        kept = read_json(self.environment) if self.environment.exists() else {}
        card = {
            "targets": data.targets,
            "units": data.units,
            "source": kept.get("source", data.source),
            "data_sha256": kept.get("data_sha256", data.crystals.content_hash),
            "split": data.split.describe(),
            "elements": symbols(train),
            "started_from": started_from(recipe.get("model") or {}),
            **({"teacher": kept["teacher"]} if kept.get("teacher") else {}),
            "metrics": {part: metrics[part] for part in PARTS if part in metrics},
            "theory": theories(kept.get("source", data.source), data.targets),
            "intervals": {
                name: {key: value for key, value in one.items() if key in Interval.__struct_fields__}
                for name, one in metrics.get("intervals", {}).items()
            },
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "tlzoo": _version("tlzoo"),
        }
        known = self._kept(task)
        if known is None:
            was_training = task.training
            task.eval()
            known = self._found(task, data, card)
            task.train(was_training)
        checkpoint.save(self.model, task.backbone, task.head, card, **known)

    def _found(self, task: Task, data: CrystalDataModule, card: Mapping[str, Any]) -> checkpoint.Further:
        """Find what is known of the training crystals, and of what the model says of its teacher, if any."""
        train = data.split.train
        store = data.store_of(train, task.backbone.graph)
        model = Model(task.backbone, task.head, dict(card))
        said = None
        if data.teacher is not None and task.backbone.state_layers():
            said = TeacherMap.fit(task.backbone, data.taught_batches(CRYSTALS), data.teacher.whitening)
        return {
            "domain": learned_domain(model, data.crystals.select(train), store),
            "teacher_map": said,
        }

    def _kept(self, task: Task) -> checkpoint.Further | None:
        """Return what was found of the exported model, if these weights are in it.

        To find it anew takes minutes where there are 100,000 crystals.
        """
        weights = self.model.with_suffix(".safetensors")
        if not weights.is_file():
            return None
        try:
            kept = checkpoint.load(weights)
            known = checkpoint.further(weights, kept.card)
        except UserError:  # damaged, or of before: it will be written over
            return None
        pairs = ((kept.backbone, task.backbone), (kept.head, task.head))
        alike = all(_same(one.state_dict(), other.state_dict()) for one, other in pairs)
        domain = known["domain"]
        return known if alike and domain is not None and domain.keys is not None else None

    def evaluate(
        self, task: Task, data: CrystalDataModule, parts: Sequence[str], *, drawn: bool = True
    ) -> dict[str, Any]:
        """Predict parts of the split in fp32 and bring all files of results, ``drawn`` or not, up to date.

        Several processes predict a share each, and process 0 writes; all must call it.

        Returns:
            The content of ``metrics.json``: metrics by part, in physical units, and sizes.
        """
        metrics = self.metrics
        tables = []
        if self.predictions.exists():
            # what stays is not read as numbers, which might be written otherwise
            before = _table(self.predictions)
            tables = [before[~before["part"].isin(list(parts))]]
        for part in parts:
            rows = getattr(data.split, part)
            if len(rows) == 0:
                continue
            predicted, computed = predict_part(task, data, part)
            metrics[part] = {"crystals": len(rows), **computed}
            tables.append(_texts(_long_table(task, data, part, rows, predicted)))
        metrics["targets"] = dict(zip(data.targets, data.units, strict=True))
        if distributed.rank() > 0:
            return metrics
        table = pd.concat(tables, ignore_index=True)
        table = table.sort_values("part", key=lambda parts: parts.map(PARTS.index), kind="stable")
        write_text(self.predictions, table.to_csv(index=False))
        table = self.predicted()
        if found := _intervals(task, data.targets, table):
            metrics["intervals"] = found
        self._write_metrics(metrics)
        if drawn:
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

    @property
    def curves(self) -> pd.DataFrame:
        """What was measured while it trained, an epoch a row.

        Raises:
            UserError: The file is missing or damaged.
        """
        try:
            table = pd.read_csv(self.history)
        except UNREADABLE as error:
            raise UserError(_damaged(self.history, error)) from error
        if "epoch" not in table.columns:
            raise UserError(_damaged(self.history, ValueError("there is no column 'epoch'")))
        return table

    def draw(self, task: Task | Model, table: pd.DataFrame) -> None:
        """Draw a parity plot per property, or how well its classes are told apart; and the learning curve.

        Where there are intervals or probabilities, also whether they hold what they promise.
        """
        properties = list(dict.fromkeys(table["property"]))
        for name in properties:
            rows = table[table["property"] == name]
            end = ".png" if len(properties) == 1 else f"-{name}.png"
            parts = {str(part): values for part, values in rows.groupby("part", sort=False)}
            known = {part: values["target"].to_numpy() for part, values in parts.items()}
            if isinstance(task.head, Classification):
                told = {part: (known[part], _probabilities(values)) for part, values in parts.items()}
                plots.confusion(self.path / f"confusion{end}", told, name=name)
                plots.roc(self.path / f"roc{end}", told, name=name)
                plots.reliability(self.path / f"calibration{end}", told, name=name)
                continue
            pairs = {part: (known[part], values["prediction"].to_numpy()) for part, values in parts.items()}
            names = getattr(task.head, "targets", (name,))
            log = dict(zip(names, task.head.scaler.transforms, strict=True))[name] == "log10"
            ids = {part: values["id"].tolist() for part, values in parts.items()}
            doubts = {part: values["std"].to_numpy() for part, values in parts.items() if "std" in values}
            about = {"name": name, "unit": _unit(rows), "uncertainty": doubts, "ids": ids, "log": log}
            plots.parity(self.path / f"parity{end}", pairs, **about)
            if doubts:
                triples = {part: (*pairs[part], doubts[part]) for part in parts}
                plots.calibration(self.path / f"calibration{end}", triples, name=name)
        if self.history.exists():
            monitor = task.head.monitor
            unit = _unit(table) if monitor == "mae" else ""
            plots.learning_curve(self.path / "learning-curve.png", self.curves, metric=monitor, unit=unit)

    def draw_map(self, task: Task, data: CrystalDataModule, parts: Sequence[str]) -> None:
        """Draw crystals of some parts as the model sees them, at most 1,000, coloured by label.

        One picture per property: ``embedding-map.png``.
        """
        rows = np.concatenate([getattr(data.split, part) for part in parts])
        of_part = np.repeat(np.array(parts), [len(getattr(data.split, part)) for part in parts])
        drawn = np.sort(np.random.default_rng(0).permutation(len(rows))[:MAPPED])
        if len(drawn) < 3:  # nothing to see
            return
        rows, of_part = rows[drawn], of_part[drawn]
        order = np.argsort(rows)
        task.eval()
        model = Model(task.backbone, task.head, {})
        store = data.store_of(rows[order], task.backbone.graph)
        embedding = model.read({task.backbone.graph: store}, [EMBEDDING])[EMBEDDING]
        if not np.isfinite(embedding).all():
            return
        labels = data.target_values(rows[order]).numpy()
        for i, (name, unit) in enumerate(zip(data.targets, data.units, strict=True)):
            plots.embedding_map(
                self.path / f"embedding-map{'' if len(data.targets) == 1 else f'-{name}'}.png",
                embedding,
                labels[:, i],
                name=name,
                unit=unit,
                parts=of_part[order].tolist(),
                classes=isinstance(task.head, Classification),
            )

    def _write_metrics(self, metrics: dict[str, Any]) -> None:
        write_text(
            self.path / "metrics.json", json.dumps(plain(metrics, "metrics"), indent=1, allow_nan=False)
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read what a run keeps as JSON.

    Raises:
        UserError: It is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (*UNREADABLE, RecursionError) as error:
        raise UserError(_damaged(path, error)) from error
    if not isinstance(content, dict):
        raise UserError(_damaged(path, ValueError(f"it holds a {type(content).__name__}")))
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds.

    Raises:
        UserError: It cannot be read, or holds no sections.
    """
    try:
        given = yaml_text.parsed(path.read_text(encoding="utf-8"))
    except (*UNREADABLE, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(given, dict):
        raise UserError(f"{path} is no configuration: wanted sections such as model, data and trainer")
    return given


def _table(path: Path) -> pd.DataFrame:
    """Read predictions, every cell as text."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except UNREADABLE as error:
        raise UserError(_damaged(path, error)) from error
    if lacking := [name for name in COLUMNS if name not in table.columns]:
        raise UserError(_damaged(path, ValueError(f"there is no column {lacking[0]!r}")))
    if strange := sorted(set(table["part"]) - {*PARTS}):
        raise UserError(_damaged(path, ValueError(f"there is no part {strange[0]!r}")))
    return table


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with every cell as the text that a file would have."""
    return pd.read_csv(io.StringIO(table.to_csv(index=False)), dtype=str, keep_default_na=False)


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"{path} is damaged ({first_line(error)}): restore it, or delete it, and run the same command again"
    )


def labels_digest(data: CrystalDataModule, rows: NDArray[np.int64]) -> str:
    """Return the SHA-256 of the known targets of some rows, in that order."""
    return hashlib.sha256(np.ascontiguousarray(data.target_values(rows).numpy()).data).hexdigest()


def digests(data: CrystalDataModule) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of structures and labels of each part, in the order of the split."""
    return {
        part: {
            "structures": data.crystals.select(rows).content_hash,
            "labels": labels_digest(data, rows),
        }
        for part, rows in data.split.parts.items()
    }


def taught_by(data: CrystalDataModule) -> dict[str, dict[str, Any]]:
    """Return under ``teacher`` who says something of the atoms of training crystals, and of how many."""
    table = data.teacher
    if table is None:
        return {}
    known = data.table.taught[data.split.train]
    facts = {key: table.model.get(key, "") for key in ("name", "sha256", "learned")}
    return {"teacher": {**facts, "table": table.sha256, "crystals": int(known.sum())}}


def predict_part(
    task: Task, data: CrystalDataModule, part: str
) -> tuple[NDArray[np.float32], dict[str, float]]:
    """Predict one part of the split, ``(crystals, columns)`` in the order of the split, and its metrics.

    Several processes predict a share each and all get the whole; all must call it.
    """
    shares = []
    was_training = task.training
    task.eval()
    wanted = getattr(data.split, part)
    hidden = distributed.rank() > 0
    with torch.inference_mode(), bar(len(wanted), f"predicting {part}", hidden=hidden) as shown:
        for batch in data.part_dataloader(part):
            prediction = task(batch.to(task.device)).float().cpu()
            shares.append((batch[keys.ROW].cpu(), prediction))
            shown.update(len(prediction))
    task.train(was_training)
    rows, values = (torch.cat(each) for each in zip(*shares, strict=True))
    predicted = distributed.collected(rows, values, wanted)
    metrics = task.head.metrics(data.targets)
    metrics.update(predicted, data.target_values(wanted))
    return predicted.numpy(), {name: float(value) for name, value in metrics.compute().items()}


def _long_table(
    task: Task, data: CrystalDataModule, part: str, rows: NDArray[np.int64], predicted: NDArray[np.float32]
) -> pd.DataFrame:
    """One row per crystal and property of a part, in the order of the split."""
    units = dict(zip(data.targets, data.units, strict=True))
    truth = data.target_values(rows).numpy()
    return long_table(task.head, data.crystals.ids[rows], part, units, truth, predicted)


def long_table(
    head: Head,
    ids: NDArray[np.object_],
    part: str,
    units: Mapping[str, str],
    truth: NDArray[np.float32],
    predicted: NDArray[np.float32],
) -> pd.DataFrame:
    """One row per crystal and property: id, part, property, target, prediction, unit, further columns.

    Known values are ``(crystals, targets)``, predictions ``(crystals, columns)``; units are by target.
    """
    columns = head.columns(list(units))
    tables = []
    for i, (name, unit) in enumerate(units.items()):
        further = {
            column.removeprefix(f"{name}_"): predicted[:, j]
            for j, column in enumerate(columns)
            if j >= len(units) and column.startswith(f"{name}_")
        }
        tables.append(
            pd.DataFrame(
                {
                    "id": ids,
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


def _intervals(task: Task, targets: Sequence[str], table: pd.DataFrame) -> dict[str, Any]:
    """Return how wide intervals are by the validation part, and what they hold of the test part, if known."""
    chose = ", by which the epoch was chosen" if task.keep == "best" else ""
    found = intervals.measured(task.head, _said(table, targets, "val"), f"validation crystals{chose}")
    held = intervals.held(found, task.head, _said(table, targets, "test"))
    return {
        name: asdict(interval)
        | ({"test": dict(zip(("held", "crystals"), held[name], strict=True))} if held[name][1] else {})
        for name, interval in found.items()
    }


def _said(table: pd.DataFrame, targets: Sequence[str], part: str) -> intervals.Said:
    """Return what is known of the crystals of a part, and said of them, by property."""
    some = table[table["part"] == part]
    texts = ("id", "part", "property", "unit")
    return {
        name: {
            str(column): pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
            for column, values in some[some["property"] == name].items()
            if column not in texts
        }
        for name in targets
    }


def _unit(table: pd.DataFrame) -> str:
    """Return the unit that a table of predictions states; a file has nothing, NaN, for none."""
    unit = table["unit"].iloc[0]
    return "" if pd.isna(unit) else str(unit)


def _probabilities(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return the probability of each class, ``(crystals, classes)``."""
    several = [name for name in table.columns if name.startswith("probability_")]
    if several:
        return table[several].to_numpy(dtype=np.float64)
    first: NDArray[np.float64] = table["prediction"].to_numpy(dtype=np.float64)
    return np.stack([1 - first, first], axis=1)


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


def _same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key].cpu()) for key in one)
