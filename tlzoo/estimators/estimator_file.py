"""How a fitted estimator lies in a folder: ``estimator.json`` beside its networks, no pickle."""

import importlib.metadata
import json
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlzoo.errors import UserError
from tlzoo.machine.files import write_text
from tlzoo.model.description import plain

FILE: Final = "estimator.json"
FORMAT: Final = 1


def is_estimator(folder: str | Path) -> bool:
    """Whether a folder holds a fitted estimator."""
    return (Path(folder) / FILE).is_file()


def begin(folder: Path) -> None:
    """Make a folder for an estimator; until :func:`write` it holds none.

    Raises:
        UserError: It holds something else, or cannot be made.
    """
    if not is_estimator(folder) and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds something else; choose another folder for the estimator")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}; choose another folder") from error


def write(folder: Path, estimator: Any, **facts: Any) -> Path:  # noqa: ANN401 (scikit-learn has no types)
    """Write what an estimator is; return the folder.

    Raises:
        UserError: One of its parameters is no data.
    """
    given = {name: _plain(value) for name, value in estimator.get_params(deep=False).items()}
    if not isinstance(given.get("random_state"), int | None):
        given["random_state"] = None  # a generator: the next fit draws anew
    try:
        content = plain(
            {
                "format": FORMAT,
                "class": type(estimator).__name__,
                "tlzoo": importlib.metadata.version("tlzoo"),
                "parameters": given,
                **facts,
            },
            type(estimator).__name__,
        )
    except TypeError as error:
        raise UserError(f"{error}: the estimator cannot be stored") from error
    write_text(folder / FILE, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return folder


def read(folder: Path) -> Mapping[str, Any]:
    """Return what a folder says of its estimator.

    Raises:
        UserError: It is damaged, or of a newer version.
    """
    again = "save the estimator again"
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        kinds = {"format": int, "class": str, "parameters": dict}
        wrong = [name for name, kind in kinds.items() if not isinstance(content[name], kind)]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{folder / FILE} is damaged ({error}): {again}") from error
    if wrong:
        raise UserError(f"{folder / FILE} is damaged ({wrong[0]} is {str(content[wrong[0]])[:60]}): {again}")
    if content["format"] > FORMAT:
        raise UserError(f"{folder} has format {content['format']}, this tlzoo reads {FORMAT}: upgrade tlzoo")
    found: Mapping[str, Any] = content
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 (a parameter)
    if isinstance(value, PathLike):
        return fspath(value)
    return value.item() if isinstance(value, np.generic) else value


def built(kind: type[Any], folder: Path, facts: Mapping[str, Any]) -> Any:  # noqa: ANN401 (an instance of the class)
    """Return an estimator with the parameters that a folder says.

    Raises:
        UserError: They are not those of its class.
    """
    try:
        return kind(**facts["parameters"])
    except TypeError as error:
        raise UserError(f"{folder / FILE} is damaged ({error}): save the estimator again") from error
