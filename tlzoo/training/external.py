"""What a model is worth on labelled crystals that are not its own test part; written beside all it has."""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray

import tlzoo
from tlzoo.cards.library import locate, names
from tlzoo.crystals import Crystals
from tlzoo.data.intake import crystals_from
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.errors import UserError, no_such
from tlzoo.heads import Classification
from tlzoo.machine.files import write_text
from tlzoo.machine.lock import FILE as LOCK
from tlzoo.machine.lock import held
from tlzoo.model.description import plain
from tlzoo.model.intervals import ENDS
from tlzoo.model.seen import Seen, seen_in_training
from tlzoo.model.trained import Model
from tlzoo.training.in_memory import Table
from tlzoo.training.run import Run, long_table, read_json

if TYPE_CHECKING:
    import pandas as pd

# Below a model's own directory, or in a folder of their own, measurements on other crystals.
FOLDER: Final = "on"
RUNS: Final = Path("runs")
# The second part has chosen the epoch.
LEARNED: Final = ("train", "val")


Values: TypeAlias = NDArray[np.float32]


def measured(
    model: str,
    on: Table | str | Path,
    *,
    targets: Sequence[str] = (),
    unit: str | None = None,
    output: str | Path | None = None,
) -> dict[str, Any]:
    """Measure a model on a whole labelled table.

    Args:
        model: What :func:`tlzoo.load` takes.
        on: The crystals: a path, the name of a data set, or in memory.
        targets: Columns with the known values, where they are not called as the model calls them: one, or
            ``TARGET=COLUMN`` of a model with several.
        unit: Unit of these columns, where the data do not say.
        output: Folder for ``metrics.json``, ``predictions.csv`` and the parity plot; by default ``on/NAME``
            in the directory of a model, ``runs/on/MODEL-NAME`` for a checkpoint.

    Returns:
        The content of ``metrics.json``: ``test`` are the errors on all labelled crystals, ``unseen`` those on
        what the model has not learned from, if it has from some.

    Raises:
        UserError: Model or data cannot be read; no column has what the model predicts, or in another unit; or
            the folder holds something else.
    """
    # whatever answers under this name, which for a comparison may be more than a network
    weights, answering = locate(model), cast("Any", tlzoo.load(model))
    trained: Model = getattr(answering, "model_", answering)  # an estimator has one
    source = str(on) if isinstance(on, str | Path) else "crystals in memory"
    asked = _asked(targets, trained.card["targets"])
    crystals = crystals_from(on, targets=list(asked.values()) or None)
    columns = asked or _called(trained.card["targets"], crystals, source)
    facts = {
        "source": source,
        "data_sha256": crystals.content_hash,
        "columns": columns,
        "model": model,
        "sha256": trained.card["sha256"],
    }
    notes = [
        _unit(name, trained.units[name], column, crystals.units.get(column, ""), unit, source)
        for name, column in columns.items()
    ]
    crystals, truth, note = _labelled(trained, crystals, columns, source)
    folder = Path(output) if output is not None else _folder(model, weights, source)
    with held(folder, "choose another --out"):
        _check_folder(folder, facts)
        answers = trained.predict(crystals)
        said = answers[trained.head.columns(list(trained.units))].to_numpy(np.float32)
        known = _known(weights, trained.card, crystals)
        content = _measured(trained, said, truth, known)
        if inside := _held(answers, trained.units, truth):
            content["intervals"] = inside
        notes += [note, _seen(known, source)]
        content |= {"on": facts, "notes": list(filter(None, notes))}
        table = long_table(trained.head, crystals.ids, "test", trained.units, truth, said)
        if known.mask is not None:
            table["in_training"] = np.tile(known.mask, len(trained.units))
        run = Run(folder)
        write_text(run.predictions, table.to_csv(index=False))
        run.draw(trained, table[table["property"].isin(table.dropna(subset="target")["property"])])
        text = json.dumps(plain(content, "metrics"), indent=1, allow_nan=False, ensure_ascii=False)
        write_text(folder / "metrics.json", text)
    return {**content, "folder": folder}


def _labelled(
    trained: Model, crystals: Crystals, columns: Mapping[str, str], source: str
) -> tuple[Crystals, Values, str]:
    """Return crystals with a label, what is known of them, ``(crystals, targets)``, and who is left out."""
    table = LabelledTable(source, list(columns.values()))
    table.take(crystals)
    truth = np.full((len(crystals), len(trained.units)), np.nan, dtype=np.float32)
    places = [list(trained.units).index(name) for name in columns]
    truth[:, places] = table.labels(np.arange(len(crystals)))
    rows = np.flatnonzero(~np.isnan(truth).all(axis=1))
    if not len(rows):
        raise UserError(f"no crystal of {source} has a value of {', '.join(columns.values())}")
    if isinstance(trained.head, Classification):
        trained.head.check(torch.from_numpy(truth), list(trained.units))
    left = len(crystals) - len(rows)
    note = f"{left:,} of {len(crystals):,} crystals have no label and are left out" if left else ""
    return crystals.select(rows), truth[rows], note


def _measured(trained: Model, said: Values, truth: Values, known: Seen) -> dict[str, Any]:
    """Return the errors on all crystals, and on those that the model has not learned from."""
    content: dict[str, Any] = {"targets": trained.units, "test": _errors(trained, said, truth)}
    seen = known.mask
    if seen is not None and seen.any() and not seen.all():
        content["unseen"] = _errors(trained, said[~seen], truth[~seen])
    return content


def _held(answers: "pd.DataFrame", units: Mapping[str, str], truth: Values) -> dict[str, dict[str, int]]:
    """Return of each property with an interval how many known values it holds, and how many there are."""
    found = {}
    for name, values in zip(units, truth.T, strict=True):
        low, high = (f"{name}_{end}" for end in ENDS)
        if low in answers and high in answers and np.isfinite(values).any():
            inside = (answers[low] <= values) & (values <= answers[high])
            found[name] = {"held": int(inside.sum()), "crystals": int(np.isfinite(values).sum())}
    return found


def _seen(known: Seen, source: str) -> str:
    if known.mask is None:
        return f"nobody can tell whether crystals of {source} were in training: {known.note}"
    number = int(known.mask.sum())
    return f"{number:,} of {len(known.mask):,} crystals were in training ({known.note})" if number else ""


def _asked(words: Sequence[str], targets: Sequence[str]) -> dict[str, str]:
    """Return the column of each target that a user has named one for."""
    found = {}
    for word in words:
        name, equals, column = word.partition("=")
        if equals and name in targets:
            found[name] = column
        elif word in targets or len(targets) == 1:
            found[word if word in targets else targets[0]] = word
        else:
            raise UserError(
                f"the model predicts {', '.join(targets)}: say which of them the column {word!r} has, for "
                f"example {targets[0]}={word}"
            )
    return found


def _called(targets: Sequence[str], crystals: Crystals, source: str) -> dict[str, str]:
    """Return the columns that are called as the model calls what it predicts."""
    if found := {name: name for name in targets if name in crystals.columns}:
        return found
    raise UserError(
        f"{source}: {no_such('column', targets[0], crystals.columns)}. The model predicts "
        f"{', '.join(targets)}: --target COL says which column has that"
    )


def _unit(name: str, ours: str, column: str, theirs: str, asked: str | None, source: str) -> str:
    """Compare units where both are said; return what is to be said where one is not."""
    if asked and theirs and asked != theirs:
        raise UserError(f"{column} of {source} is in {theirs}, and {asked} was asked for; leave it out")
    theirs = theirs or asked or ""
    if ours and theirs and ours != theirs:
        raise UserError(
            f"{column} of {source} is in {theirs}, the model predicts {name} in {ours}; convert the column"
        )
    return "" if theirs or not ours else f"{source} does not say the unit of {column}: taken as {ours}"


def _folder(model: str, weights: Path, source: str) -> Path:
    given = Path(source)
    data = _plain(given.stem if given.is_file() else given.resolve().name)
    if model not in names() and weights.name == "model.safetensors" and "://" not in model:
        return weights.parent / FOLDER / data
    return RUNS / FOLDER / f"{_plain(Path(model.partition('#')[0]).stem)}-{data}"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "data"


def _check_folder(folder: Path, facts: Mapping[str, Any]) -> None:
    """Refuse to write over anything but an earlier measurement of the same."""
    if (folder / "metrics.json").is_file() and not (folder / "config.yaml").exists():
        before = read_json(folder / "metrics.json").get("on")
        of = ["source", "model"] + ([] if Path(str(facts["source"])).exists() else ["data_sha256"])
        if isinstance(before, Mapping) and all(before.get(name) == facts[name] for name in of):
            return
        if isinstance(before, Mapping):
            raise UserError(
                f"{folder} has the errors of {before.get('model')} on {before.get('source')}; choose another "
                "--out"
            )
    if any(path.name != LOCK for path in folder.iterdir()):
        raise UserError(f"{folder} holds something else; choose another --out")


def _known(weights: Path, card: Mapping[str, Any], crystals: Crystals) -> Seen:
    """Compare crystals with those that a model learned from or was chosen by, as far as its records tell."""
    run = _run_of(weights, card)
    found = seen_in_training(card, crystals, run, LEARNED)
    if found.mask is None:
        with contextlib.suppress(UserError, LookupError, TypeError):
            split = read_json(run.with_name("split.json"))
            same = np.isin(crystals.ids, [str(name) for part in LEARNED for name in split[part]])
            if same.any():
                return Seen(same, f"by their ids; structures cannot be compared: {found.note}")
    return found


def _run_of(weights: Path, card: Mapping[str, Any]) -> Path:
    """Return the weights in their own run directory: a comparison has a copy of the better ones."""
    if weights.name != "model.safetensors" or weights.with_name("split.json").exists():
        return weights
    for path in sorted(weights.parent.glob("*/*/model.json")):
        with contextlib.suppress(UserError):
            if read_json(path).get("sha256") == card["sha256"]:
                return path.with_suffix(".safetensors")
    return weights


def _errors(trained: Model, said: Values, truth: Values) -> dict[str, Any]:
    metrics = trained.head.metrics(list(trained.units))
    metrics.update(torch.from_numpy(said), torch.from_numpy(truth))
    return {"crystals": len(truth), **{name: float(value) for name, value in metrics.compute().items()}}
