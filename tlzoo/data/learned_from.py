"""The crystals that a model has learned from, found again by the records beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tlzoo import plugins
from tlzoo.crystals import Crystals
from tlzoo.data import named, splits
from tlzoo.data.labelled_table import READING, LabelledTable
from tlzoo.data.splits.ids import ids_sha256, rows_by_id, rows_of
from tlzoo.errors import UserError, first_line
from tlzoo.machine import runtime, yaml_text
from tlzoo.machine.remarks import told


def training_crystals(
    weights: Path | None,
    card: Mapping[str, Any],
    parts: Sequence[str] = ("train",),
    columns: Sequence[str] = (),
) -> Crystals:
    """Return the crystals of the training part, or of several parts, with some of their columns.

    A run directory has their ids in ``split.json``, that of `tlzoo finetune` in one of its runs; a checkpoint
    of the zoo has its recipe, and a hash of the ids. All need the data set that the model was trained on.

    Raises:
        UserError: Nobody has written down which crystals these are, or the data are not on this machine, or
            they changed since.
    """
    try:
        found = _training_crystals(weights, card, parts)
        crystals = replace(found, columns={name: found.columns[name] for name in columns})
    except (LookupError, TypeError, AttributeError, yaml.YAMLError, json.JSONDecodeError) as error:
        raise UserError(f"the record of what it has learned from is damaged ({first_line(error)})") from error
    runtime.give_back()  # the table that they are a part of
    return crystals


def _training_crystals(weights: Path | None, card: Mapping[str, Any], parts: Sequence[str]) -> Crystals:
    run = run_of(weights) if weights else None
    if run is not None:
        config, split = run / "config.yaml", run / "split.json"
        recipe = yaml_text.parsed(config.read_text(encoding="utf-8"))["data"] if config.is_file() else {}
        data = _data(str(card.get("source")), {**recipe, "split": None}, card.get("data_sha256"))
        crystals = data.crystals
        there = json.loads(split.read_text(encoding="utf-8"))
        ids = [name for part in parts for name in there[part]]
        return crystals.select(rows_of(ids, rows_by_id(crystals.ids), str(split)))
    if package := card.get("package"):
        raise UserError(str(package["overlap"]))
    training, recipe = card.get("training"), card.get("recipe")
    if not isinstance(training, Mapping) or not isinstance(recipe, Mapping):
        raise UserError("nobody has written down which crystals it has learned from")
    data = _data(str(training["source"]), recipe["data"], training["data_sha256"])
    rows = data.split.parts
    # of a network with a teacher the training part has crystals without labels, too, which no recipe of the
    # table tells; its other parts are as they were
    if any(ids_sha256(data.crystals.ids[rows[part]]) != training[part]["ids_sha256"] for part in parts):
        raise UserError(
            f"the recipe gives other crystals of {training['source']} than the model learned from"
        )
    return data.crystals.select(np.concatenate([rows[part] for part in parts]))


def run_of(weights: Path) -> Path | None:
    """Return the run directory that a model was trained in; None if it is none of a run.

    A directory of `tlzoo finetune` holds a copy of the model of one of its runs.
    """
    folder = weights.parent
    if weights.name != "model.safetensors":
        return None
    if (folder / "split.json").is_file():
        return folder
    try:
        verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
        run = folder / str(verdict["sides"][verdict["model"]]["run"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return run if (run / "split.json").is_file() else None


def fitted_crystals(card: Mapping[str, Any], *, labels: bool = False) -> Crystals:
    """Return the crystals that a regression on frozen features was fitted to, with its target if wanted.

    Raises:
        UserError: The data are not on this machine, or they changed since.
    """
    parts = []
    for one in card["tables"]:
        crystals = _table(str(one["source"]), {"targets": [one["target"]]}).crystals
        rows = rows_of(one["crystals"], rows_by_id(crystals.ids), "the regression")
        some = crystals.select(rows)
        kept = {str(card["target"]): some.columns[one["target"]]} if labels else {}
        parts.append(replace(some, columns=kept))
    crystals = Crystals.concatenated(parts)
    if crystals.content_hash != card["data_sha256"]:
        raise UserError(f"{card['source']} has changed since the model was fitted to it")
    return crystals


def _data(source: str, recipe: Mapping[str, Any], sha256: object) -> LabelledTable:
    """Return the data set of a training, if it is on this machine and has not changed."""
    data = _table(source, recipe)
    if data.crystals.content_hash != sha256:
        raise UserError(f"{source} has changed since the model was trained on it")
    return data


def _table(source: str, recipe: Mapping[str, Any]) -> LabelledTable:
    """Return a data set, if it is on this machine."""
    if named.known(source) and not _at_hand(source):
        raise UserError(f"the data set {source} is not on this machine: tlzoo data info {source}")
    told(source)  # what is unusual about it was said when the model was trained
    splitter = _built(spec) if (spec := recipe.get("split")) else None
    options: dict[str, Any] = {key: recipe.get(key) for key in READING}
    return LabelledTable(source, split=splitter, **options)


def _built(spec: Mapping[str, Any]) -> splits.Splitter:
    """Return a splitter from its class path and constructor arguments, splitters among them."""
    arguments = {
        key: _built(value) if isinstance(value, Mapping) and "class_path" in value else value
        for key, value in (spec.get("init_args") or {}).items()
    }
    return _splitter(str(spec["class_path"]))(**arguments)


def _splitter(path: str) -> type[splits.Splitter]:
    """Return a splitter of ours by its name, or a registered one by its path."""
    module, _, name = path.rpartition(".")
    if module and not module.startswith("tlzoo."):
        return plugins.find(path, splits.Splitter)
    found = getattr(splits, name, None)
    if not (isinstance(found, type) and issubclass(found, splits.Splitter)):
        raise UserError(f"there is no splitter {path}")
    return found


def _at_hand(source: str) -> bool:
    """Whether a named data set can be read without a download."""
    card = named.find(source)
    wanted = card.sources or ([card.name] if card.matminer else [])
    folders = named.folders()
    return all(any((folder / f"{name}.parquet").is_file() for folder in folders) for name in wanted)
