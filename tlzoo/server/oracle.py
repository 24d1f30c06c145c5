"""The process that holds the models and answers one question after another.

It reads questions as lines of JSON from standard input and writes an answer each to standard output. A
process of its own can be ended, whatever it is doing, when a file takes too long.
"""

import base64
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np

from tlzoo.cards import library
from tlzoo.crystals import Crystals, symbol
from tlzoo.data import named
from tlzoo.data.sources.parse import Document
from tlzoo.errors import UserError, printable, redacted
from tlzoo.machine import runtime
from tlzoo.model import trained
from tlzoo.model.answering import Questions
from tlzoo.screen.facts import formula
from tlzoo.server import nearest, uploads
from tlzoo.server.limits import MEMORY, MODELS
from tlzoo.transfer.finetune import chosen
from tlzoo.transfer.finetune.folded import Folded

if TYPE_CHECKING:
    from tlzoo.transfer.features.saved import SavedFeatures

    Answering = trained.Model | SavedFeatures | chosen.Chosen | Folded


def main(names: Sequence[str]) -> None:
    """Say which models there are, or what is wrong with one, then answer until nobody asks any more."""
    # what libraries print is no answer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    runtime.configure(keep=False)
    _bound_memory()
    _write(answers, lambda: {"models": [described(name) | {"chosen": True} for name in names] or offered()})
    for line in sys.stdin:
        question = json.loads(line)
        files = [Document(name, base64.b64decode(content)) for name, content in question["files"]]
        _write(answers, partial(answer, files, question["models"]))
        runtime.give_back()


def answer(files: Sequence[Document], models: Sequence[str]) -> dict[str, Any]:
    """Return the crystals in files with what models say of each, and what is wrong, as plain values.

    Raises:
        UserError: There is no such model, or there are too many crystals.
    """
    crystals, problems = uploads.read(files)
    found = [_crystal(crystals, row) for row in range(len(crystals))]
    rows = {crystals.origin(row): row for row in range(len(crystals))}
    for name in models:
        for row, told in _told(name, crystals).items():
            found[row]["predictions"].append({"model": name, **told})
    for problem in problems:
        place = rows.get(str(problem.place))
        if problem.severity != "error" and place is not None:
            found[place]["notes"].append(problem.message)
    wrong = [problem for problem in problems if problem.severity == "error"]
    return {
        "crystals": found,
        "problems": [{"file": str(one.place), "message": one.message} for one in wrong],
    }


def offered() -> list[dict[str, Any]]:
    """Return what is to be known of the checkpoints that can be used here; those to predict with first."""
    known = [described(name) for name in library.names() if not library.find(name).lacking]
    return sorted(known, key=lambda model: not model["chosen"])


def described(name: str) -> dict[str, Any]:
    """Return what is to be known of a model before it is asked.

    Raises:
        UserError: There is no such model.
    """
    if library.is_checkpoint(name):
        card: Mapping[str, Any] = msgspec.to_builtins(library.find(name).card)
        units = dict(zip(card["targets"], card["units"], strict=True))
    else:
        model = loaded(name)
        card, units = model.card, model.units
    training, metrics = card.get("training") or {}, card.get("metrics") or {}
    source = str(training.get("base") or training.get("source") or card.get("source", ""))
    there, theory = named.find(source).targets if named.known(source) else {}, card.get("theory") or {}
    targets = [
        {
            "name": target,
            "unit": unit,
            "about": there[target].description if target in there else "",
            "theory": theory.get(target, ""),
            "mae": (metrics.get(target) or {}).get("mae"),
        }
        for target, unit in units.items()
    ]
    about, folds = str(card.get("description", "")), card.get("cross_validation")
    # errors by cross-validation: it has learned from every crystal, so as to predict
    return {"name": name, "about": about, "targets": targets, "chosen": bool(folds)}


@lru_cache(maxsize=MODELS)
def loaded(name: str) -> "Answering":
    """Return a model, which stays in memory for the next question."""
    return chosen.load(name)


def _bound_memory() -> None:
    """Let what asks for too much memory fail at once, where the system can do that, instead of all else."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def _write(answers: IO[str], answer: Callable[[], dict[str, Any]]) -> None:
    """Write an answer, or the message of what is wrong with the question."""
    try:
        found = answer()
    except UserError as error:
        found = {"error": printable(redacted(str(error)))}
    answers.write(json.dumps(found) + "\n")
    answers.flush()


def _told(name: str, crystals: Crystals) -> dict[int, dict[str, Any]]:
    """Return what a model says of crystals, by row: answers and how far to trust them, or the problem."""
    model = loaded(name)
    questions = Questions(crystals, model.options)
    found: dict[int, dict[str, Any]] = {}
    for part in questions.parts():
        table = model.judged(crystals.select(part.rows), part.stores)
        *columns, words, unseen, distance = table.values()
        for place, row in enumerate(part.rows.tolist()):
            answers = {key: _plain(values[place]) for key, values in zip(table, columns, strict=False)}
            found[row] = {
                "answers": answers,
                "trust": str(words[place]),
                "unseen_elements": str(unseen[place]),
                "distance": _plain(distance[place]),
                "usual_distance": model.domain.limit if model.domain.measures else None,
            }
    if found and (learned := _learned(name)):
        rows = sorted(found)
        for row, those in zip(rows, nearest.nearest(learned, crystals.select(rows)), strict=True):
            found[row]["nearest"] = those
    return found | {row: {"problem": text} for row, text in questions.problems.items()}


# of the model that was asked last, and of one more to compare it with
@lru_cache(maxsize=2)
def _learned(name: str) -> nearest.Learned | None:
    """Return the training crystals of a model, where they are at hand."""
    model = loaded(name)
    if isinstance(model, Folded):  # of the first fold
        return nearest.learned(str(model.weights.parent / model.record.folds[0]), model.network)
    return nearest.learned(name, model.network if isinstance(model, chosen.Chosen) else model)


def _crystal(crystals: Crystals, row: int) -> dict[str, Any]:
    atoms = slice(crystals.offsets[row], crystals.offsets[row + 1])
    numbers = crystals.numbers[atoms].tolist()
    return {
        "id": str(crystals.ids[row]),
        "file": crystals.origin(row),
        "formula": formula(next(crystals.select([row]).compositions())),
        "lattice": crystals.lattice[row].tolist(),
        "elements": [symbol(number) for number in numbers],
        "frac_coords": crystals.frac_coords[atoms].tolist(),
        "notes": [],
        "predictions": [],
    }


def _plain(value: Any) -> float | str | None:  # noqa: ANN401 (a cell of a table)
    """Return a cell as JSON has it: None where there is no number."""
    if isinstance(value, str):
        return value
    number = float(np.float64(str(value)))
    return number if math.isfinite(number) else None
