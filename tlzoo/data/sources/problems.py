"""What is wrong with an input, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from tlzoo.errors import UserError

SHOWN = 10


class Place(NamedTuple):
    """Where something was read.

    Attributes:
        file: The file as the user would name it; ``archive.zip/a.cif`` for a member of an archive.
        row: Line of a text file as an editor counts (from 1), or row, record, frame of other files;
            None is all of it.
        word: What ``row`` counts.
    """

    file: str
    row: int | None = None
    word: str = "line"

    def __str__(self) -> str:
        return self.file if self.row is None else f"{self.file}, {self.word} {self.row}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        place: File and row.
        kind: Short name to count by, such as ``"unreadable"`` or ``"duplicate id"``.
        message: What came, what was wanted, what to do.
        severity: An error leaves the row out (or stops the reading); warnings and notes do not.
    """

    place: Place
    kind: str
    message: str
    severity: Literal["error", "warning", "note"] = "error"

    @property
    def file(self) -> str:
        """The file, as the user would name it."""
        return self.place.file

    @property
    def row(self) -> int | None:
        """Line, row, record or frame in the file, from 1."""
        return self.place.row

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def raise_errors(path: str, problems: Sequence[Problem]) -> None:
    """Raise one error for all errors among the problems of an input, if there are any.

    Raises:
        UserError: There are errors; the message counts them and lists the first ten.
    """
    wrong = [problem for problem in problems if problem.severity == "error"]
    if not wrong:
        return
    if len(wrong) == 1:
        raise UserError(str(wrong[0]))
    lines = [f"  {problem}" for problem in wrong[:SHOWN]]
    if len(wrong) > SHOWN:
        more = f": `tlzoo data check {path}` lists all" if Path(path).exists() else ""
        lines.append(f"  … and {len(wrong) - SHOWN} more{more}")
    raise UserError("\n".join([f"{path} has {len(wrong)} problems:", *lines]))
