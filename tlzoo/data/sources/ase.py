"""Extended XYZ files and ASE databases."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tlzoo.data.sources.extxyz import PLAIN, divided, fields, frame_lines, named
from tlzoo.data.sources.parse import Sites, sites_of
from tlzoo.data.sources.problems import Place, Problem, StructureError
from tlzoo.data.sources.records import ID_NAMES, Columns, Record, Records, find_column
from tlzoo.errors import UserError, no_such

if TYPE_CHECKING:
    from ase import Atoms

# What of a frame or row could be read: its number, the atoms or why there are none, and its columns.
Found: TypeAlias = "tuple[int, Atoms | Exception, Mapping[str, Any]]"


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
    for number, frame in enumerate(frame_lines(iter(lines)), start=1):
        facts: dict[str, str] = {}
        try:
            # ase gets no more than the structure: it neither reads the labels nor makes results of them
            structure, facts = divided(fields(frame[1]))
            size = 2 + int(frame[0])
            comment = " ".join(f'{name}="{text}"' for name, text in structure.items())
            frame[1] = f"{comment}\n"
            frame[2:size] = named(frame[2:size], structure.get("Properties", PLAIN))
            atoms: Atoms | Exception = next(read_xyz(StringIO("".join(frame)), 0))
        except Exception as error:  # noqa: BLE001 (ase raises anything on damaged text)
            atoms = error
        yield number, atoms, facts
    if number == 0:
        raise UserError(f"{path} is empty; wanted extended XYZ")


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
                    problems.append(_unreadable(place, atoms))
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


def _unreadable(place: Place, error: Exception) -> Problem:
    if isinstance(error, StructureError):
        return Problem(place, error.kind, str(error))
    text = f"cannot be read ({type(error).__name__}: {error}); is it complete?"
    return Problem(place, "unreadable", text)


def _record(place: Place, sites: Sites, facts: Mapping[str, Any], name: str | None, default: str) -> Record:
    values = {
        key: value.item() if isinstance(value, np.generic) else value
        for key, value in facts.items()
        if key != name and isinstance(value, numbers.Number | str | np.generic)
    }
    return Record(str(facts[name]) if name is not None and name in facts else default, place, sites, values)
