"""What is wrong or unusual with an input, and where."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from tlzoo.errors import UserError
from tlzoo.machine.remarks import remark

SHOWN = 10

# What is said of an input as a whole, or of its table of labels, not of crystals.
WHOLE = {
    "classes",
    "duplicate id",
    "numbers as text",
    "other crystals",
    "other files",
    "other folders",
    "other tables",
    "start and end",
    "unnamed column",
}

# Of what is unusual in the same way so many places are named.
NAMED = 3

# What differs between notes that say the same of other crystals: numbers, labels such as O1, what is quoted.
_ONE = r"""(?:'[^']*'|"[^"]*"|[^\s,;:]*\d[^\s,;:]*)"""
PARTICULAR = re.compile(rf"{_ONE}(?:(?:,| and) {_ONE})*")


class StructureError(ValueError):
    """What is wrong with a structure, with the kind that problems are counted by."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


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


def option(name: str, value: str) -> str:
    """Say how commands are told how a table is to be read.

    >>> option("same_id", "average")
    '(`--same-id average`, of `tlzoo fit` `--data.same_id average`, in the YAML of `--config` under data)'
    """
    flag = name.replace("_", "-")
    return (
        f"(`--{flag} {value}`, of `tlzoo fit` `--data.{name} {value}`, in the YAML of `--config` under data)"
    )


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
        lines.append(f"  … and {len(wrong) - SHOWN} more{_listed(path)}")
    raise UserError("\n".join([f"{path} has {len(wrong)} problems:", *lines]))


class Remark(NamedTuple):
    """What is unusual in the same way about some crystals of an input.

    Attributes:
        size: How many these are; 0 if it is said of the input as a whole.
        names: The first of them.
        text: What is unusual.
        alike: Whether it is the same of all; else the text is that of the first.
    """

    size: int
    names: tuple[str, ...]
    text: str
    alike: bool

    def line(self, label: str, total: int) -> str:
        """Say it of an input that is called ``label`` and has so many crystals."""
        if self.names == (label,):
            return f"{label}: {self.text}"
        names = ", ".join(self.names) + (", …" if self.size > len(self.names) else "")
        if self.size == 0:
            return f"{label}, {names}: {self.text}"
        of_first = "" if self.alike else f"; {self.names[0]}"
        return f"{label}: {self.size:,} of {total:,} crystals ({names}){of_first}: {self.text}"


Remarks: TypeAlias = Mapping[str, Remark]


def remarks(problems: Iterable[Problem], label: str) -> Remarks:
    """Return what is unusual about an input that is called ``label``, each kind once; warnings first.

    What is wrong is not among it, nor what is said of the same places.
    """
    problems = list(problems)
    wrong = {str(problem.place) for problem in problems if problem.severity == "error"}
    found: dict[str, dict[str, str]] = {}
    for severity in ("warning", "note"):
        for problem in problems:
            place = str(problem.place)
            if problem.severity == severity and place not in wrong:
                # all that the parsers say is of one kind
                kind = PARTICULAR.sub("#", problem.message) if problem.kind == "note" else problem.kind
                found.setdefault(kind, {}).setdefault(place, problem.message)
    return {kind: _remark(kind, texts, label) for kind, texts in found.items()}


def _remark(kind: str, texts: Mapping[str, str], label: str) -> Remark:
    names = [place if place == label else place.removeprefix(label).lstrip("/, ") for place in texts]
    first, *others = texts.values()
    size = 0 if kind in WHOLE else len(names)
    return Remark(size, tuple(names[:NAMED]), first, all(text == first for text in others))


def remarks_of(text: str | bytes) -> Remarks:
    """Return the remarks that were written down as JSON."""
    return {
        kind: Remark(size, tuple(names), said, alike)
        for kind, (size, names, said, alike) in json.loads(text).items()
    }


def together(parts: Iterable[Remarks]) -> Remarks:
    """Return the remarks on all parts of an input, in their order."""
    found: dict[str, Remark] = {}
    for part in parts:
        for kind, new in part.items():
            old = found.get(kind, Remark(0, (), new.text, alike=True))
            names = (*old.names, *new.names)[:NAMED]
            alike = old.alike and new.alike and old.text == new.text
            found[kind] = Remark(old.size + new.size, names, old.text, alike)
    return found


def tell(label: str, found: Remarks, total: int) -> None:
    """Say what is unusual about an input of so many crystals: a line for each kind, not for each crystal."""
    lines = [one.line(label, total) for one in found.values()]
    more = f"{label}: … and {len(lines) - SHOWN} more kinds of remarks{_listed(label)}"
    remark(label, [*lines[:SHOWN], more] if len(lines) > SHOWN else lines)


def _listed(label: str) -> str:
    return f": `tlzoo data check {label}` lists all" if Path(label).exists() else ""
