"""A comparison that is finished: shown again without computing anything, as long as nothing has changed.

``comparison.json`` holds what was asked, the SHA-256 of all that was read for it and of what came out, and
what was said.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tlzoo
from tlzoo.cards.library import locate
from tlzoo.data import named
from tlzoo.machine.files import write_text

if TYPE_CHECKING:
    from tlzoo.data.labelled_table import LabelledTable
    from tlzoo.transfer.finetune.finetune_request import Request

FILE: Final = "comparison.json"
FORMAT: Final = 1

# What a finished comparison leaves in its directory, and each of its trainings in its own.
RESULTS: Final = (
    *("model.safetensors", "model.json", "verdict.json", "verdict.md"),
    *("transfer.yaml", "scratch.yaml"),
)
# What all models predict for the test part, ``id``, ``known`` and a column each; not in older comparisons.
TESTED: Final = "test-predictions.csv"
# What it leaves if a number is learned, what answers and the head on frozen features; and that.
ANSWERS: Final = ("answer.json", "frozen/features.json", "frozen/features.safetensors", TESTED)
TRAININGS: Final = ("config.yaml", "metrics.json", "predictions.csv", "model.safetensors", "model.json")

# What of a model in a run directory counts: also others that answer with it, and which crystals it has seen.
MODEL: Final = ("model.safetensors", "ensemble.json", "split.json")


def keep(
    request: "Request", table: "LabelledTable", trees: Iterable[Mapping[str, Any]], said: Sequence[str]
) -> None:
    """Write down that a comparison of the crystals in a table is finished.

    Of every file or data set that the configurations of its trainings name the content is remembered, and of
    the crystals themselves: a table may name further files.
    """
    first, *others = trees
    texts = {text for tree in (first, *others) for text in _texts(tree)} - {request.source}
    runs = [path for name in TRAININGS for path in request.run_dir.glob(f"*/*/{name}")]
    answers = [path for name in ANSWERS if (path := request.run_dir / name).is_file()]
    made = [*(request.run_dir / name for name in RESULTS), *answers, *sorted(runs)]
    record = {
        "format": FORMAT,
        "asked": _asked(request),
        "data": first["data"],
        "crystals": _crystals(table),
        "read": {text: found for text in sorted(texts) if (found := _content(text))},
        "made": {path.relative_to(request.run_dir).as_posix(): _sha256([path], path.parent) for path in made},
        "said": list(said),
    }
    write_text(request.run_dir / FILE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def shown(request: "Request") -> list[str] | None:
    """Return what was said of a finished comparison; None if it is not, or something has changed since."""
    path = request.run_dir / FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        same = (
            record["format"] == FORMAT
            and record["asked"] == _asked(request)
            and all(_content(text) == found for text, found in record["read"].items())
            and all(
                _sha256([path], path.parent) == found
                for path, found in ((request.run_dir / name, found) for name, found in record["made"].items())
            )
            and record["crystals"] == _crystals(_table(record["data"]))
        )
        said: list[str] = record["said"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # whatever is there, computing says what is wrong with it
    return said if same else None


def _asked(request: "Request") -> dict[str, Any]:
    """Return a request as plain data, with the texts of its files and the hashes of its models."""
    asked = {
        **request.facts(),
        "configs": [Path(path).read_text(encoding="utf-8") for path in request.configs],
    }
    models = {start: _model(start) for start in request.starts}
    plain: dict[str, Any] = json.loads(json.dumps({**asked, "models": models}, default=str))
    return {**plain, "tlzoo": tlzoo.__version__}


def _model(start: str) -> str:
    """Return the hash of the weights of a model, and of what else counts of a run directory."""
    folder = Path(start)
    if not folder.is_dir():
        return _sha256([weights := locate(start)], weights.parent)
    return _sha256([path for name in MODEL for path in sorted(folder.rglob(name))], folder)


def _table(section: Mapping[str, Any]) -> "LabelledTable":
    """Return the crystals that a section ``data`` names, read anew."""
    # it imports pandas, which the help must not wait for
    from tlzoo.data.labelled_table import READING, LabelledTable

    return LabelledTable(section["source"], **{name: section.get(name) for name in READING})


def _crystals(table: "LabelledTable") -> str:
    """Return the hash of crystals and labels."""
    crystals = table.crystals
    labels = {name: [str(value) for value in crystals.column(name)] for name in table.targets}
    facts = [crystals.content_hash, [str(name) for name in crystals.ids], labels, table.units]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _texts(tree: object) -> Iterator[str]:
    """Yield all texts in a tree of plain data, keys too: some are names of data."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(tree, Sequence):
        for value in tree:
            yield from _texts(value)


def _content(text: str) -> str | None:
    """Return the hash of the file, the folder or the data set that a text names; None if it names none."""
    if named.known(text):
        return _sha256(named.files(text), Path()) or None  # what was read is on this machine
    path = Path(text)
    if not text or len(text) > 4096 or not path.exists():  # 4096: PATH_MAX, longer ones are an OSError
        return None
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return _sha256(files, path.parent)


def _sha256(paths: Sequence[Path], folder: Path) -> str:
    """Return one hash of the contents of files and their names below a folder; empty if there are none."""
    if not paths:
        return ""
    together = hashlib.sha256()
    for path in paths:
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        with path.open("rb") as file:
            together.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return together.hexdigest()
