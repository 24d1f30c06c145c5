"""Files name crystals by id, never by row: a row changes when somebody adds a crystal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError

Rows = NDArray[np.int64]


def rows_by_id(ids: Sequence[str] | NDArray[np.object_]) -> dict[str, int]:
    """Return the row of each identifier.

    Raises:
        UserError: An identifier occurs twice, so that it names no crystal.
    """
    where = {str(name): row for row, name in enumerate(ids)}
    if len(where) < len(ids):
        names = [str(name) for name in ids]
        twice = next(name for row, name in enumerate(names) if where[name] != row)
        raise UserError(
            f"the id {twice!r} occurs {names.count(twice)} times in the data; a split names crystals by id: "
            "give every crystal its own"
        )
    return where


def rows_of(names: Sequence[str], where: Mapping[str, int], what: str) -> Rows:
    """Return the rows of identifiers.

    Raises:
        UserError: Some are unknown; the message names the first few.
    """
    if unknown := [str(name) for name in names if str(name) not in where]:
        raise UserError(
            f"{len(unknown)} of {len(names)} ids of {what} are not in the data ({len(where)} crystals), "
            f"among them {', '.join(unknown[:5])}; is it a split of this data set?"
        )
    return np.array([where[str(name)] for name in names], dtype=np.int64)


def ids_sha256(ids: Iterable[str]) -> str:
    r"""Return SHA-256 of the sorted identifiers, one a line, in hexadecimal: which crystals, in any order.

    >>> ids_sha256(["b", "a"]) == ids_sha256(["a", "b"]) == hashlib.sha256(b"a\nb").hexdigest()
    True
    """
    return hashlib.sha256("\n".join(sorted(map(str, ids))).encode()).hexdigest()


def read_json(path: Path) -> Any:  # noqa: ANN401 (any JSON)
    """Read a JSON file.

    Raises:
        UserError: The file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the split {path} cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:
        raise UserError(f"the split {path} is no JSON: {error}") from error
