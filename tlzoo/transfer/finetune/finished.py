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
    from tlzoo.transfer.finetune.finetune_request import Request

FILE: Final = "comparison.json"
FORMAT: Final = 1
UNKNOWN: Final = "unknown"

# What a finished comparison leaves in its directory, trainings aside.
RESULTS: Final = ("model.safetensors", "model.json", "verdict.json", "verdict.md")


def keep(request: "Request", trees: Iterable[Mapping[str, Any]], said: Sequence[str]) -> None:
    """Write down that a comparison is finished.

    Of every file or data set that the configurations of its trainings name the content is remembered.
    """
    named_there = {text for tree in trees for text in _texts(tree)} | {request.source}
    runs = sorted(path.relative_to(request.run_dir) for path in request.run_dir.glob("*/*/metrics.json"))
    made = [*map(Path, RESULTS), *runs]
    record = {
        "format": FORMAT,
        "asked": _asked(request),
        "read": {text: found for text in sorted(named_there) if (found := _content(text))},
        "made": {path.as_posix(): _sha256([request.run_dir / path]) for path in made},
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
            and all(_content(text) == found != UNKNOWN for text, found in record["read"].items())
            and all(_sha256([request.run_dir / name]) == found for name, found in record["made"].items())
        )
        said: list[str] = record["said"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # whatever is there, computing says what is wrong with it
    return said if same else None


def _asked(request: "Request") -> dict[str, Any]:
    """Return a request as plain data, with the texts of its files and the hashes of its models."""
    asked = {**vars(request), "configs": [Path(path).read_text(encoding="utf-8") for path in request.configs]}
    models = {start: _sha256([locate(start)]) for start in request.starts}
    plain: dict[str, Any] = json.loads(json.dumps({**asked, "models": models}, default=str))
    return {**plain, "tlzoo": tlzoo.__version__}


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
        return _sha256(named.files(text)) or UNKNOWN
    path = Path(text)
    if not text or len(text) > 4096 or not path.exists():  # 4096: PATH_MAX, longer ones are an OSError
        return None
    return _sha256([path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()))


def _sha256(paths: Sequence[Path]) -> str:
    """Return one hash of the names and contents of files; empty if there are none."""
    if not paths:
        return ""
    together = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            together.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return together.hexdigest()
