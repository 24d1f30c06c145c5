"""Splits that the user gives: in a column of the table or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.data.splits.drawn import inner
from tlzoo.data.splits.ids import Rows, read_json, rows_by_id, rows_of
from tlzoo.data.splits.splitter import PARTS, Duplicates, Splitter, Table
from tlzoo.errors import UserError


@dataclass(frozen=True)
class FromColumn(Splitter):
    """Take the parts from a column of the table, with the values ``train``, ``val`` and ``test``.

    Crystals without a value in this column are not used.

    Attributes:
        column: Name of the column.
        val: Size of the validation part to draw from ``train`` if none is given: a fraction (below 1) or a
            number of crystals.
        seed: Seed of the random choice of these validation crystals.
        duplicates: ``drop`` removes crystals from training and validation if a later part has the same
            structure. By default they are kept, and counted in the notes.
    """

    column: str = "split"
    val: int | float = 0
    seed: int = 0
    duplicates: Duplicates | None = None

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Read the column."""
        known = table.crystals.known(self.column)
        values = table.crystals.column(self.column).astype(object)
        for row, value in enumerate(values):
            if known[row] and value not in ("", *PARTS):
                raise UserError(
                    f"{table.crystals.origin(row)}: the column {self.column!r} holds {value!r}; "
                    "wanted train, val, test or nothing"
                )
        rows = {name: np.flatnonzero(values == name) for name in PARTS}
        return with_validation(rows, table, val=self.val, seed=self.seed, source=f"column {self.column!r}")


@dataclass(frozen=True)
class Pretraining(Splitter):
    """Take the parts of the data set ``pretraining`` from its column ``part``.

    They are the same for every network, so that none is tested on crystals that another one was trained on.

    Attributes:
        max_atoms: Largest number of atoms per cell in training and validation; the test part keeps all cells.
    """

    apart = True  # its crystals were compared when the list of those kept out was made

    max_atoms: int | None = None

    def __post_init__(self) -> None:
        if self.max_atoms is not None and self.max_atoms < 1:
            raise UserError(f"max_atoms must be at least 1, got {self.max_atoms}")

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Read the column; leave large cells out of training and validation."""
        rows = FromColumn("part").divide(table)
        size = table.crystals.num_atoms
        largest = self.max_atoms or size.max()
        return {part: rows[part][(size[rows[part]] <= largest) | (part == "test")] for part in PARTS}


@dataclass(frozen=True)
class FromFile(Splitter):
    """Take the parts from a JSON file with lists ``train``, ``val`` and ``test``.

    Text entries are ids, whole numbers are rows counted from 0. The ``split.json`` of a run is such a file.
    The format of chemprop works, too: a list of splits, with ranges such as ``"0-7,9"``.

    Attributes:
        path: The file.
        index: Which split to take, if the file holds a list of them.
        val: Size of the validation part to draw from ``train`` if none is given: a fraction (below 1) or a
            number of crystals.
        seed: Seed of the random choice of these validation crystals.
        duplicates: ``drop`` removes crystals from training and validation if a later part has the same
            structure. By default they are kept, and counted in the notes.
    """

    path: str
    index: int = 0
    val: int | float = 0
    seed: int = 0
    duplicates: Duplicates | None = None

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Read the file."""
        content = read_json(Path(self.path))
        if isinstance(content, list):
            if not 0 <= self.index < len(content):
                raise UserError(
                    f"{self.path} holds {len(content)} split(s); index must be below that, got {self.index}"
                )
            content = content[self.index]
        if not isinstance(content, dict) or "train" not in content:
            raise UserError(f"{self.path} is no split: wanted an object with lists train, val and test")
        entries = {name: content.get(name, []) for name in PARTS}
        rows = {name: _entries(e, table.crystals, f"{name} in {self.path}") for name, e in entries.items()}
        return with_validation(rows, table, val=self.val, seed=self.seed, source=self.path)


def with_validation(
    rows: dict[str, Rows], table: Table, *, val: float, seed: int, source: str
) -> dict[str, Rows]:
    """Draw a validation part from the training part where a given split has none.

    Raises:
        UserError: There is none and none was asked for.
    """
    if len(rows["val"]) or not len(rows["train"]):
        return rows
    if not val:
        raise UserError(
            f"{source} has no validation part; mark some crystals 'val', or draw them from the training part "
            "with val: 0.1"
        )
    train = rows["train"][table.known[rows["train"]]]
    return inner(train, rows["test"], table.units(together=True), val=val, seed=[seed])


def _entries(entries: Any, crystals: Crystals, what: str) -> Rows:  # noqa: ANN401 (any JSON)
    if isinstance(entries, str):
        entries = _ranges(entries, what)
    kinds = {type(entry) for entry in entries} if isinstance(entries, list) else {type(entries)}
    if kinds == {str}:
        return rows_of(entries, rows_by_id(crystals.ids), what)
    if kinds - {int}:
        raise UserError(
            f"{what} must be a list of ids (all text) or rows (all whole numbers), got {str(entries)[:60]!r}"
        )
    if outside := [e for e in entries if not 0 <= e < len(crystals)]:
        raise UserError(f"{what} names row {outside[0]}, but the data have rows 0 to {len(crystals) - 1}")
    return np.array(entries, dtype=np.int64)


def _ranges(text: str, what: str) -> list[int]:
    rows: list[int] = []
    for piece in filter(None, (p.strip() for p in text.split(","))):
        first, _, last = piece.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise UserError(f"{what}: {piece!r} is no row or range of rows such as 0-7")
        rows.extend(range(int(first), int(last or first) + 1))
    return rows
