"""What a run keeps of its crystals: it is measured on these and no others, in whatever order they come."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import Split
from tlzoo.data.splits.splitter import PARTS
from tlzoo.errors import UserError
from tlzoo.model.description import differences, flatten
from tlzoo.training.run import Run, digests, labels_digest, read_json

# Of the digits that a table of predictions has of a label.
SAME = 1e-5


def written(run: Run, weights: Path) -> Path | None:
    """Return the split that weights were trained with; None if nobody has written it down.

    Raises:
        UserError: They are of another run, with another split.
    """
    beside = weights.with_name(run.split.name)
    there = [path for path in dict.fromkeys([run.split, beside]) if path.is_file()]
    if len(there) == 2 and len({path.read_bytes() for path in there}) == 2:
        raise UserError(
            f"{weights} was trained with another split than {run.path}; test it in its own directory: "
            f"tlzoo test {weights.parent} --ckpt-path {weights}"
        )
    return there[0] if there else None


def restore(path: Path, data: CrystalDataModule, *, split_given: bool) -> None:
    """Give data the split of a run, by id, and make sure that these are the crystals of the run.

    Args:
        path: The split, in the directory of the run, and beside what else it keeps.
        data: What is to be measured on.
        split_given: Whether the splitter of the data was asked for, and must be that of the run.

    Raises:
        UserError: The data are others; the message says in what.
    """
    run = Run(path.parent)
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        split = Split.from_json(text, data.crystals.ids)
        if split_given:
            _check_splitter(split, data)
        data.table.keep(split)
        _check_targets(run, data)
        _check_crystals(run, data)
    except UserError as error:
        said = str(error) if str(error).endswith("?") else f"{error}."
        raise UserError(
            f"{run.path} is measured on its own crystals, those in {path}: {said} Give it the data that it "
            f"was trained with; any other labelled crystals: tlzoo test {run.path} --on DATA"
        ) from error


def _check_splitter(split: Split, data: CrystalDataModule) -> None:
    asked = flatten(json.loads(json.dumps(data.table.splitter.spec())))
    before = flatten(split.spec)
    # later versions of a splitter may have more arguments
    if changes := differences(before, {key: value for key, value in asked.items() if key in before}):
        told = "; ".join(f"{key}: {change}" for key, change in changes.items())
        raise UserError(f"another data.split was asked for ({told})")


def _check_targets(run: Run, data: CrystalDataModule) -> None:
    before = run.metrics.get("targets")
    if not isinstance(before, Mapping):
        return
    if list(before) != data.targets:
        raise UserError(f"data.targets is {', '.join(data.targets)}, that of the run {', '.join(before)}")
    for name, unit in zip(data.targets, data.units, strict=True):
        if unit and before[name] and unit != before[name]:
            raise UserError(f"{name} is in {unit}, that of the run in {before[name]}")


def _check_crystals(run: Run, data: CrystalDataModule) -> None:
    """Compare structures and labels with what the run has kept of them; earlier versions kept less."""
    _check_known(data)
    kept = read_json(run.environment) if run.environment.is_file() else {}
    if isinstance(kept.get("parts"), Mapping):
        for part, now in digests(data).items():
            before = kept["parts"].get(part)
            for what in ("structures", "labels"):
                if not isinstance(before, Mapping) or before.get(what) != now[what]:
                    _check_labels(run, data)
                    raise UserError(f"the {what} of the {part} part changed")
        return
    if kept.get("data_sha256", data.crystals.content_hash) != data.crystals.content_hash:
        _check_labels(run, data)
        raise UserError(
            "structures changed or come in another order, which cannot be told apart from what an earlier "
            "version kept of them"
        )
    _check_labels(run, data)
    labels = labels_digest(data, np.arange(len(data.crystals)))
    if "data_sha256" in kept and kept.get("labels_sha256", labels) != labels:
        raise UserError("labels changed")


def _check_known(data: CrystalDataModule) -> None:
    """Refuse a label that is missing now; not of training crystals of which a model says something."""
    for part, rows in data.split.parts.items():
        unknown = np.isnan(data.target_values(rows).numpy()).all(axis=1)
        said = data.pseudo_labels is not None or data.table.teacher is not None
        if unknown.any() and (part != "train" or not said):
            names = data.crystals.ids[rows[unknown]]
            has = "have" if len(names) > 1 else "has"
            raise UserError(f"{_some(names)} of the {part} part {has} no label any more")


def _check_labels(run: Run, data: CrystalDataModule) -> None:
    """Compare labels with those that stand beside the predictions."""
    if not run.predictions.is_file():
        return
    table = run.predicted()
    for i, name in enumerate(data.targets):
        for part in PARTS:
            rows = getattr(data.split, part)
            known = table[(table["property"] == name) & (table["part"] == part)]
            before = dict(zip(known["id"], known["target"].astype(float), strict=True))
            ids = data.crystals.ids[rows]
            both = [row for row, key in enumerate(ids) if str(key) in before]
            was = np.array([before[str(ids[row])] for row in both])
            now = data.target_values(rows).numpy()[both, i]
            changed = np.flatnonzero(~np.isclose(was, now, rtol=SAME, atol=0, equal_nan=True))
            if len(changed):
                first = changed[0]
                raise UserError(
                    f"{name} of {_some(ids[both][changed])} changed ({was[first]:.6g} → {now[first]:.6g})"
                )


def _some(names: NDArray[Any]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"crystal {names[0]!r}{more}"
