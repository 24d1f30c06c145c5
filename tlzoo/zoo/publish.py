"""From a finished run to a published checkpoint: weights and card, from the records of the run alone."""

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd
from msgspec import to_builtins

import tlzoo
from tlzoo.cards import Card, library
from tlzoo.cards.beside import files
from tlzoo.cards.card import NAME
from tlzoo.data import named
from tlzoo.data.joined_table import base_of
from tlzoo.data.learned_from import run_of
from tlzoo.data.perturbed import MARK
from tlzoo.data.splits.ids import ids_sha256
from tlzoo.data.splits.splitter import PARTS
from tlzoo.errors import UserError
from tlzoo.evaluation.baselines import errors
from tlzoo.heads import Classification, Head
from tlzoo.model import checkpoint
from tlzoo.model.description import differences
from tlzoo.model.trained import Model
from tlzoo.training.resume import FREE_KEYS
from tlzoo.training.run import Run, read_json, read_yaml
from tlzoo.zoo.golden import golden
from tlzoo.zoo.halving import halve


def publish(
    directory: str | Path,
    name: str,
    *,
    description: str,
    folder: Path,
    citation: str = "",
    licence: str = "",
    control: bool = False,
    folds: Sequence[str | Path] = (),
    errors_of: str = "",
    half: bool = False,
) -> Card:
    """Make a checkpoint of a run that was trained and tested.

    A run that has learned from every crystal has no test part: its errors are those of ``folds``, tested runs
    with the same recipe on the folds of a cross-validation of the same data; or those on the card of the
    checkpoint that it was trained further from, ``errors_of``.

    With ``half`` its matrices are kept in 16 bits (:mod:`tlzoo.zoo.halving`). A checkpoint of the same name
    in the folder is replaced. Whom to cite for the data, and their licence, say the card of the data set by
    default. A control, of shuffled labels, must be asked for; the description of its checkpoint begins with
    that.

    Raises:
        UserError: The run is not finished or not tested, its labels were shuffled, nobody says whose the
            data are, the folds are of another recipe or other data, or meet, or the run did not start from
            the checkpoint whose errors it should have.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name of a checkpoint; wanted a-z, 0-9, '.', '_' and '-'")
    run = Run(Path(directory))
    _check_finished(run, tested=not folds and not errors_of)
    loaded = checkpoint.load(run.model)
    if isinstance(loaded.head, Classification):
        raise UserError("a classification has no MAE in units: only regressions become checkpoints")
    environment = read_json(run.environment)
    base = _base(environment["source"], directory)
    known = named.find(base) if named.known(base) else None
    rights = {
        "citation": citation or (known.citation if known else ""),
        "licence": licence or (known.licence if known else ""),
    }
    if unsaid := [key for key, text in rights.items() if not text]:
        raise UserError(f"the data are no named data set: say whose they are with --{' and --'.join(unsaid)}")
    recipe = read_yaml(run.config)
    if recipe["data"].get("shuffle_labels") is not None:
        description = _of_control(description, directory, wanted=control)
    tested = [Run(Path(fold)) for fold in folds]
    before = _start(errors_of, loaded.card) if errors_of else None
    content = {
        "name": name,
        "description": description,
        **{key: loaded.card[key] for key in ("targets", "units", "elements")},
        "started_from": [_origin(run, origin) for origin in loaded.card["started_from"]],
        "parameters": sum(p.numel() for part in (loaded.backbone, loaded.head) for p in part.parameters()),
        "scaler": _scaler(loaded.head, loaded.card["targets"]),
        "training": _training(run, environment, recipe),
        "recipe": _portable(recipe),
        **({"teacher": environment["teacher"]} if environment.get("teacher") else {}),
        **{key: loaded.card[key] for key in ("theory", "intervals") if loaded.card.get(key)},
        **(_errors_before(before) if before else _errors(run, recipe, tested)),
        "golden": golden(Model(loaded.backbone, loaded.head, loaded.card)),
        **rights,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tlzoo": tlzoo.__version__,
    }
    card = _store(folder, name, loaded, content, run.model.with_suffix(".safetensors"), half=half)
    if (recipe.get("trainer") or {}).get("logger"):
        from tlzoo.training import tracking

        for tracker in tracking.configured(recipe):
            tracker.log_checkpoint(run, folder / f"{name}.safetensors")
    return card


def _check_finished(run: Run, *, tested: bool) -> None:
    """Refuse a directory of several trainings, and one that is not finished."""
    # of a comparison, or of folds
    places = [folder / "model.safetensors" for folder in (run.path, run.path / "fold-1")]
    if not run.config.is_file() and (inner := next(filter(None, map(run_of, places)), None)):
        raise UserError(
            f"{run.path} holds several trainings, and a checkpoint is one network: publish one of them, such "
            f"as {inner}"
        )
    needed = [run.config, run.split, run.environment, run.history, run.model.with_suffix(".json")]
    needed += [run.predictions] if tested else []
    if lacking := ", ".join(path.name for path in needed if not path.is_file()):
        raise UserError(f"{run.path} lacks {lacking}; finish the run first: tlzoo fit, tlzoo test")


def _base(source: str, directory: str | Path) -> str:
    """Return the data set that a run learned from, or the one its file was joined to."""
    # only the file says which one that is: without it the card would not say what was kept out
    if not named.known(source) and not Path(source).exists():
        raise UserError(f"the data of {directory} are not there: {source}; publish where they are")
    return base_of(source)


def _of_control(description: str, directory: str | Path, *, wanted: bool) -> str:
    """Return the description of a checkpoint that must not pass for one that knows something."""
    if not wanted:
        raise UserError(
            f"{directory} is a control: it learned from shuffled labels (data.shuffle_labels); "
            "if that is what you want to publish, say so with --control"
        )
    return f"Control, trained on shuffled labels. {description}"


def _store(
    folder: Path,
    name: str,
    loaded: checkpoint.Loaded,
    content: Mapping[str, Any],
    trained: Path,
    *,
    half: bool,
) -> Card:
    """Write all files once the card is known to be right; what is known beside the weights comes along."""
    known = checkpoint.further(trained, loaded.card)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as aside:
        written = Path(aside) / name
        checkpoint.save(written, loaded.backbone, loaded.head, content, **known)
        weights = written.with_name(f"{name}.safetensors")
        card = halve(weights) if half else Card.read(weights.with_suffix(".json"))
        for file in files(weights):
            file.replace(folder / file.name)
    return card


def _training(run: Run, environment: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    split = read_json(run.split)
    return {
        "source": environment["source"],
        "data_sha256": environment["data_sha256"],
        **{part: _part(split[part]) for part in PARTS},
        "excluded": _excluded(environment["source"], set(split["train"]), recipe),
        "epochs": len(run.curves),
        "seconds": environment.get("training_seconds"),
        "machine": f"{environment['processor']}, {environment['threads']} thread(s)",
        "versions": environment["versions"],
        "started": environment["started"],
        **({} if (base := base_of(environment["source"])) == environment["source"] else {"base": base}),
    }


def _origin(run: Run, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Say of a run that training started from if it has learned from nothing else: nobody else has it.

    Perturbed copies count as the crystals that they are copies of.
    """
    before = Run(Path(origin["name"]))
    card = before.model.with_suffix(".json")
    if not all(path.is_file() for path in (card, before.split, before.environment)):
        return dict(origin)
    facts, ours, theirs = read_json(card), read_json(run.environment), read_json(before.environment)
    same = facts["sha256"] == origin["sha256"] and theirs["data_sha256"] == ours["data_sha256"]
    known = set(read_json(run.split)["train"])
    learned = all(
        name in known or name.rpartition(MARK)[0] in known for name in read_json(before.split)["train"]
    )
    within = same and learned and not facts["started_from"]
    return {**origin, **({"within": True} if within else {})}


def _portable(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a configuration where it ran: folders, logger, progress bar."""
    kept = {key: dict(value) if isinstance(value, Mapping) else value for key, value in recipe.items()}
    for key in FREE_KEYS:
        section, _, name = key.partition(".")
        branch = kept.get(section, {}) if name else kept
        branch.pop(name or section, None)
    return kept


def _part(ids: Collection[str]) -> dict[str, Any]:
    return {"crystals": len(ids), "ids_sha256": ids_sha256(ids)}


def _excluded(source: str, learned: set[str], recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """Say which crystals were kept out: by the data set, which publishes their list, or by the recipe."""
    if base_of(source) == "pretraining":
        from tlzoo.data.pretraining import exclusions

        found = exclusions.read()
        listed = found["data_set"] + ":" + found["id"]
        if learned.intersection(listed):
            return None
        where = f"tlzoo/{exclusions.LIST.relative_to(Path(tlzoo.__file__).parent).as_posix()}"
        return {**_part(listed), "published_list": where}
    given = recipe["data"].get("exclude")
    return {**_part(given), "published_list": "data.exclude of the recipe"} if given else None


def _scaler(head: Head, targets: Iterable[str]) -> dict[str, Any]:
    scaler = head.scaler
    values = zip(targets, scaler.transforms, scaler.mean.tolist(), scaler.std.tolist(), strict=True)
    return {target: {"transform": how, "mean": mean, "std": std} for target, how, mean, std in values}


def _start(name: str, card: Mapping[str, Any]) -> Card:
    """Return the card of the checkpoint that a run was trained further from."""
    before = Card.read(library.locate(name).with_suffix(".json"))
    if {before.sha256, before.rounded_from}.isdisjoint(origin["sha256"] for origin in card["started_from"]):
        starts = ", ".join(origin["name"] for origin in card["started_from"]) or "scratch"
        raise UserError(
            f"the errors of {name} are not those of this run, which did not start from it, but from {starts}"
        )
    if before.training is None or not before.metrics:
        raise UserError(f"{name} states no errors of crystals that it has not learned from")
    return before


def _errors_before(card: Card) -> dict[str, Any]:
    """Return the errors of the checkpoint that a run started from, of which crystals they are and of what."""
    content = to_builtins(card)
    return {
        "cross_validation": [content["training"]["test"]],
        "metrics": content["metrics"],
        "theory": content["theory"],
    }


def _errors(run: Run, recipe: Mapping[str, Any], folds: Sequence[Run]) -> dict[str, Any]:
    """Return the errors of a run on its own test part, or on those of a cross-validation."""
    return {"cross_validation": _cross_validation(run, recipe, folds), "metrics": _measured(folds or [run])}


def _cross_validation(run: Run, recipe: Mapping[str, Any], folds: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the test parts of runs that differ from one in the split alone."""
    parts: list[dict[str, Any]] = []
    seen: set[str] = set()
    ours = read_json(run.environment)
    for fold in folds:
        if not fold.predictions.is_file():
            raise UserError(f"{fold.path} was not tested; call: tlzoo test {fold.path}")
        theirs = read_yaml(fold.config)
        if differing := differences(_but_split(recipe), _but_split(theirs)):
            raise UserError(
                f"{fold.path} is no fold of {run.path}, it has another recipe: "
                + ", ".join(f"{key} {change}" for key, change in differing.items())
            )
        other = read_json(fold.environment)
        if any(other[key] != ours[key] for key in ("source", "data_sha256")):
            raise UserError(f"{fold.path} is no fold of {run.path}: it learned from other data")
        if _table(other) != _table(ours):
            raise UserError(f"{fold.path} is no fold of {run.path}: its teacher says other things")
        ids = read_json(fold.split)["test"]
        if twice := seen.intersection(ids):
            raise UserError(f"{len(twice)} crystals are in the test part of {fold.path} and of another fold")
        seen.update(ids)
        parts.append(_part(ids))
    return parts


def _table(environment: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of what a teacher said, if there was one."""
    table: str | None = (environment.get("teacher") or {}).get("table")
    return table


def _but_split(recipe: Mapping[str, Any]) -> dict[str, Any]:
    portable = _portable(recipe)
    return {**portable, "data": {key: v for key, v in portable["data"].items() if key != "split"}}


def _measured(runs: Sequence[Run]) -> dict[str, Any]:
    """Return errors and number of labels by target, from the predictions of the test parts."""
    tables = [pd.read_csv(run.predictions, dtype={"id": str, "unit": str}) for run in runs]
    table = pd.concat(tables)
    table = table[(table["part"] == "test") & table["target"].notna()]
    if table.empty:
        path = runs[0].path
        raise UserError(
            f"{path} has no predictions of a test part; call: tlzoo test {path}, or, if it has learned from "
            "every crystal, name the runs of a cross-validation with folds"
        )
    measured = {}
    for target, rows in table.groupby("property", sort=False):
        found = errors(rows["target"].to_numpy(), rows["prediction"].to_numpy())
        measured[str(target)] = {**found, "r2": None if isnan(found["r2"]) else found["r2"], "n": len(rows)}
    return measured
