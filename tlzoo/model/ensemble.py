"""Trainings that answer together: a file in a run directory names those that belong to its model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tlzoo.errors import UserError
from tlzoo.machine.files import write_text

FILE: Final = "ensemble.json"
FORMAT: Final = 1


def write(model: Path, others: Sequence[Path]) -> None:
    """Let the model of a run directory answer together with others, below that directory; none undoes it."""
    path = model.with_name(FILE)
    if not others:
        path.unlink(missing_ok=True)
        return
    names = [other.relative_to(model.parent).as_posix() for other in others]
    write_text(path, json.dumps({"format": FORMAT, "others": names}, indent=1) + "\n")


def others(model: Path) -> list[Path]:
    """Return the weights that answer together with a model's own; none if it stands alone.

    Raises:
        UserError: The file that names them is damaged, or leaves the run directory.
    """
    path = model.with_name(FILE)
    if model.name != "model.safetensors" or not path.is_file():
        return []
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        names = content["others"] if content["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, LookupError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{path} is damaged or of another version; `tlzoo finetune` writes it anew, and without it "
            f"{model} answers alone"
        )
    found = [model.parent / name for name in names]
    if outside := [name for name in found if not name.resolve().is_relative_to(model.parent.resolve())]:
        raise UserError(f"{path} names {outside[0]}, which is not in the run directory")
    return found
