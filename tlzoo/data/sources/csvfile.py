"""CSV and TSV files as rows of text, with the line in which each begins."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tlzoo.data.sources.problems import Place, Problem
from tlzoo.errors import UserError, no_such

UNPACKED = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}


@dataclass
class Rows:
    """A table of text: cells by column, row by row, and where each row begins.

    Problems are rows left out because they have too many or too few cells.
    """

    file: str
    columns: list[str]
    values: list[dict[str, str]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def checked(self, column: str) -> str:
        """Return the column's name.

        Raises:
            UserError: There is no such column; the message lists those there are.
        """
        if column not in self.columns:
            raise UserError(f"{self.file}: {no_such('column', column, self.columns)}")
        return column


def read_text(path: Path, label: str) -> str:
    """Return the text of a file, unpacked if it ends in ``.gz``, ``.bz2`` or ``.xz``.

    Raises:
        UserError: It is damaged or not UTF-8.
    """
    try:
        data = path.read_bytes()
        return UNPACKED.get(path.suffix, bytes)(data).decode("utf-8-sig")
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{label} cannot be read: {error}; is it complete?") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{label} is not UTF-8 text: {error}; save it as UTF-8") from error


def read_rows(path: Path, label: str, *, first_cells: Collection[str] = ()) -> Rows:
    """Read a CSV (comma, semicolon or tab) or TSV file, which the user calls ``label``.

    If the very first cell is one of ``first_cells`` it has no header; ``id_prop.csv`` has none if its second
    cell is a number. The columns are then ``id``, ``target``, ``target_2`` …

    Raises:
        UserError: The file is empty, two columns have the same name, or no row has as many cells as there
            are columns.
    """
    lines = _lines(read_text(path, label), path)
    if not lines:
        raise UserError(f"{label} is empty; wanted a header and rows")
    head = [cell.strip() for cell in lines[0][1]]
    if head[0] in first_cells or (path.name == "id_prop.csv" and len(head) > 1 and _is_number(head[1])):
        head = ["id", "target", *(f"target_{i}" for i in range(2, len(head)))][: len(head)]
    else:
        lines = lines[1:]
    if twice := sorted({name for name in head if head.count(name) > 1}):
        names = ", ".join(map(repr, twice))
        raise UserError(f"{label}, line 1: several columns are called {names}; rename them")
    rows = Rows(label, head)
    for line, cells in lines:
        if len(cells) == len(head):
            rows.values.append(dict(zip(head, cells, strict=True)))
            rows.places.append(Place(label, line))
        else:
            text = f"has {len(cells)} cells where {len(head)} are wanted ({', '.join(head)})"
            rows.problems.append(Problem(Place(label, line), "cells", text))
    if rows.problems and not rows.values:
        raise UserError(
            f"{rows.problems[0]}, and so has no row; is a column without a name, or does each row end with "
            "a separator?"
        )
    return rows


def may_be_units(rows: Rows, index: int) -> bool:
    """Whether a row is the first and, unlike the next, has no number: units, perhaps, as ``,eV``."""
    if index > 0 or len(rows.values) < 2:
        return False
    first, second = rows.values[0].values(), rows.values[1].values()
    return not any(map(_is_number, first)) and any(map(_is_number, second))


def _lines(text: str, path: Path) -> list[tuple[int, list[str]]]:
    # what Excel writes or wants for a first line, of which it makes no row
    told = re.match(r"\s*\"?sep=(.)\"?\r?\n", text, re.IGNORECASE)
    first = (text[told.end() :] if told else text).lstrip().partition("\n")[0]
    tabs = ".tsv" in path.suffixes or ("\t" in first and "," not in first)
    delimiter = "\t" if tabs else ";" if ";" in first and "," not in first else ","
    delimiter = told[1] if told else delimiter
    limit = csv.field_size_limit(sys.maxsize)  # a cell may hold a whole CIF
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        lines, begin = [], 1
        for cells in reader:
            if any(cell.strip() for cell in cells) and not (told and reader.line_num == 1):
                lines.append((begin, cells))
            begin = reader.line_num + 1
        return lines
    finally:
        csv.field_size_limit(limit)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
