"""Extended XYZ files and ASE databases."""

from __future__ import annotations

import numbers
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tlzoo.data.sources.parse import Sites, sites_of
from tlzoo.data.sources.problems import Place, Problem
from tlzoo.data.sources.records import ID_NAMES, Columns, Record, Records, find_column
from tlzoo.errors import UserError, no_such

if TYPE_CHECKING:
    from ase import Atoms

# What of a frame or row could be read: its number, the atoms or why there are none, and its columns.
Found: TypeAlias = "tuple[int, Atoms | Exception, Mapping[str, Any]]"

# What is escaped or quoted in the comment line of extended XYZ, and a key there with its value, if any.
PART = r"""\\.|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{[^}]*\}|\[[^\]]*\]"""
FIELD = re.compile(rf"""((?:{PART}|[^\s"'{{\[\\=])+)(?:\s*=\s*((?:{PART}|[^\s"'{{\[\\])+))?""")
# Keys that are the structure itself, in any case, and as ase knows them.
STRUCTURAL = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}


def read_extxyz(path: Path, columns: Columns) -> Records:
    """Read extended XYZ: one crystal a frame, the keys of its comment line are the columns, as written.

    Raises:
        UserError: The file is empty or no frame can be read.
    """
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path)) as file:
        return frames(file, path, columns)


def frames(lines: Iterable[str], path: Path, columns: Columns, stem: str = "") -> Records:
    """Read the lines of extended XYZ as :func:`read_extxyz` does; ``path`` is what the file is called.

    Crystals without an id are numbered behind the stem, that of the path by default.
    """
    return _collect(_frames(lines, path), path, columns.id, "frame", stem)


def read_database(path: Path, columns: Columns) -> Records:
    """Read an ASE database: one crystal a row, its key-value pairs are the columns.

    Raises:
        UserError: The file is no ASE database.
    """
    return _collect(_rows(path), path, columns.id, "row")


def _frames(lines: Iterable[str], path: Path) -> Iterator[Found]:
    from ase.io.extxyz import read_xyz

    number = 0
    for number, frame in enumerate(_frame_lines(iter(lines)), start=1):
        facts: dict[str, str] = {}
        try:
            facts = fields(frame[1])
            # no more than that, so that ase neither reads the labels nor makes results of them
            known = {key: STRUCTURAL[key.lower()] for key in list(facts) if key.lower() in STRUCTURAL}
            frame[1] = " ".join(f'{name}="{facts.pop(key)}"' for key, name in known.items()) + "\n"
            atoms: Atoms | Exception = next(read_xyz(StringIO("".join(frame)), 0))
        except Exception as error:  # noqa: BLE001 (ase raises anything on damaged text)
            atoms = error
        yield number, atoms, facts
    if number == 0:
        raise UserError(f"{path} is empty; wanted extended XYZ")


def _frame_lines(lines: Iterator[str]) -> Iterator[list[str]]:
    """Yield the lines of each frame: the count of atoms, the comment, the atoms, and vectors of old files.

    Raises:
        ValueError: A count is none, or there are fewer lines than it says.
    """
    frame: list[str] = []
    for line in lines:
        if frame and line.lstrip().startswith("VEC"):
            frame.append(line)
        elif count := line.strip().removeprefix("\ufeff"):
            if frame:
                yield frame
            if not count.isdecimal():
                raise ValueError(f"wanted the number of atoms of a frame, got {count[:60]!r}")
            frame = [f"{count}\n", *islice(lines, int(count) + 1)]
            if len(frame) < int(count) + 2:
                raise ValueError(f"{count} atoms are announced, {max(len(frame) - 2, 0)} are there")
    if frame:
        yield frame


def fields(comment: str) -> dict[str, str]:
    """Return the values of the comment line of a frame by key, as they are written there, without quotes.

    A key alone is true, which is written ``T``.

    Raises:
        ValueError: A key has two values.

    >>> fields('id=007 gap="1.0 2.0" relaxed')
    {'id': '007', 'gap': '1.0 2.0', 'relaxed': 'T'}
    """
    found: dict[str, str] = {}
    for key, value in FIELD.findall(comment):
        name, text = _bare(key), _bare(value) if value else "T"
        if found.setdefault(name, text) != text:
            raise ValueError(f"{name!r} has two values, {found[name]!r} and {text!r}")
    return found


def _bare(word: str) -> str:
    """Return a word without quotes and escapes."""
    inner = re.sub(PART, lambda part: part[0] if part[0][0] == "\\" else part[0][1:-1], word)
    return re.sub(r"\\(.)", r"\1", inner)


def _rows(path: Path) -> Iterator[Found]:
    from ase.db import connect

    with connect(path) as database:  # without this, select leaves its connection open
        for row in database.select():
            results = {name: row[name] for name in ("energy", "free_energy", "magmom") if name in row}
            # not row[name]: of volume, mass, charge and others that is what ase computes from the cell
            stored = {name: vars(row)[name] for name in row.key_value_pairs}
            try:
                atoms: Atoms | Exception = row.toatoms()
            except Exception as error:  # noqa: BLE001 (ase raises anything on damaged rows)
                atoms = error
            yield row.id, atoms, {**results, **stored}


def _collect(
    source: Iterable[Found], path: Path, id_column: str | None, word: str, stem: str = ""
) -> Records:
    found: list[tuple[int, Place, Sites, Mapping[str, Any]]] = []
    problems: list[Problem] = []
    number = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ase warns of its own renaming of keys
            for number, atoms, facts in source:
                place = Place(str(path), number, word)
                if isinstance(atoms, Exception):
                    text = f"cannot be read ({type(atoms).__name__}: {atoms}); is it complete?"
                    problems.append(Problem(place, "unreadable", text))
                    continue
                try:
                    sites, note = sites_of(atoms)
                except ValueError as error:
                    problems.append(Problem(place, "not periodic", str(error)))
                    continue
                problems += [Problem(place, "note", note, "note")] if note else []
                found.append((number, place, sites, facts))
    except UserError:
        raise
    except Exception as error:
        text = f"cannot be read after {word} {number} ({type(error).__name__}: {error}); is it complete?"
        if number == 0:
            raise UserError(f"{path} {text.replace(f' after {word} 0', '')}") from error
        problems.append(Problem(Place(str(path), number + 1, word), "unreadable", text))
    keys = list(dict.fromkeys(key for *_, facts in found for key in facts))
    name = find_column(keys, [id_column.lower()] if id_column else ID_NAMES)
    if id_column and name is None and found:
        raise UserError(f"{path}: {no_such('key', id_column, keys)}")
    records = [
        _record(place, sites, facts, name, f"{stem or path.stem}-{number}")
        for number, place, sites, facts in found
    ]
    return records, problems


def _record(place: Place, sites: Sites, facts: Mapping[str, Any], name: str | None, default: str) -> Record:
    values = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in facts.items()
        if key != name and isinstance(value, numbers.Number | str | np.generic)
    }
    return Record(str(facts[name]) if name is not None and name in facts else default, place, sites, values)
