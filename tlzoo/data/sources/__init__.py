"""Crystals and labels from whatever a user has: one interface to files, folders, tables and databases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tlzoo import plugins
from tlzoo.crystals import Crystals
from tlzoo.data.sources.ase import read_database, read_extxyz
from tlzoo.data.sources.folder import (
    is_structure_file,
    lies_beside_structures,
    read_folder,
    structure_files,
    unzipped,
)
from tlzoo.data.sources.formula import Formula, is_formula, like_formula
from tlzoo.data.sources.problems import Place, Problem
from tlzoo.data.sources.reader import Reader
from tlzoo.data.sources.records import Columns, Record, Records, Table, assemble, finish, sound
from tlzoo.data.sources.repeats import SameId
from tlzoo.data.sources.tabular import NoStructuresError, numbered, read_csv, read_json, read_parquet
from tlzoo.errors import UserError

__all__ = ["Place", "Problem", "Reader", "holds_several", "read", "read_all"]

WANTED = (
    "a folder or .zip of CIF/POSCAR files, one such file, a table (.csv, .tsv, .parquet, .json, .jsonl), "
    ".extxyz or an ASE .db"
)

SPREADSHEETS = {".xlsx", ".xls", ".ods"}

READERS: dict[tuple[str, ...], Callable[[Path, Columns], Table | Records]] = {
    (".csv", ".tsv"): read_csv,
    (".parquet", ".pq"): read_parquet,
    (".json", ".jsonl", ".ndjson"): read_json,
    (".xyz", ".extxyz"): read_extxyz,
    (".db",): read_database,
}


def read(
    path: str | Path,
    *,
    targets: Sequence[str] | None = (),
    id_column: str | None = None,
    structure_column: str | None = None,
    units: Mapping[str, str] | None = None,
    same_id: SameId | None = None,
) -> Crystals:
    """Read crystals and their columns from files: all of them, or none.

    Args:
        path: A folder of structure files, with or without a CSV of labels; the CSV itself; a zip archive of
            such a folder; a single CIF or POSCAR file; a CSV, TSV, parquet, JSON or JSONL table with
            structures or paths in a column, or formulas in a column ``formula`` or ``composition``; an
            extended XYZ file; an ASE database; or a formula, if there is no file of that name.
        targets: Columns that must be numbers (empty cells are unknown, NaN). Every structure file must then
            have a row in the CSV. None: all columns that are mostly numbers; ``()``: no column.
        id_column: Column with the ids; by default it is recognised by its name.
        structure_column: Column with the structures; by default it is recognised by its name or content.
        units: Units of columns, if the file does not state them.
        same_id: What to do with several rows that have the same id: ``average`` treats them as one crystal
            with the mean of their numbers, if they have the same structure; ``rename`` keeps them apart by
            appending a number to the id; None is an error.

    Raises:
        UserError: Something cannot be read; the message lists the first ten problems by file and row.
    """
    options = {"id_column": id_column, "structure_column": structure_column}
    return sound(str(path), *read_all(path, targets=targets, units=units, same_id=same_id, **options))


def read_all(
    path: str | Path,
    *,
    targets: Sequence[str] | None = (),
    id_column: str | None = None,
    structure_column: str | None = None,
    units: Mapping[str, str] | None = None,
    same_id: SameId | None = None,
) -> tuple[Crystals, list[Problem]]:
    """Read what can be read, and say by file and row what cannot; arguments of `read`.

    Returns:
        The good rows in the order of the input, and the problems: errors are of rows left out or columns
        missing.

    Raises:
        UserError: Nothing at all can be read from the path.
    """
    if not str(path).strip():
        raise UserError(f"an empty name stands for no crystals; wanted {WANTED}")
    path = Path(path)
    if not path.exists() and is_formula(str(path)):
        text = str(path)
        return finish(
            assemble([Record(text, Place(text), Formula(text))]), targets=targets, units=units or {}
        )
    if not path.exists():
        formula = f"; nor is it a formula: {why}" if (why := like_formula(str(path))) else ""
        raise UserError(f"{path} does not exist; wanted {WANTED}{formula}")
    labels_wanted = targets is None or len(targets) > 0
    if path.name == "id_prop.csv" and structure_column is None and structure_files(path.parent):
        path = path.parent
    found = _open(path, Columns(id_column, structure_column), labels_wanted=labels_wanted)
    if not isinstance(found, Table):
        found = assemble(*found)
    return finish(found, targets=targets, units=units or {}, same_id=same_id)


def holds_several(path: Path) -> bool:
    """Whether the name is that of a table or an archive, not of a file with one structure."""
    kinds = {suffix.lower() for suffix in path.suffixes}
    several = {ending for endings in READERS for ending in endings} - {".json"}
    return bool(kinds & (several | {".zip"})) and not is_structure_file(path)


def _open(path: Path, columns: Columns, *, labels_wanted: bool) -> Table | Records:
    kinds = {suffix.lower() for suffix in path.suffixes}
    if path.is_file() and ".zip" in kinds:
        with unzipped(path) as folder:  # parsed here, before the temporary folder goes
            found = read_folder(folder, str(path), id_column=columns.id, labels_wanted=labels_wanted)
            return assemble(*found)
    if path.is_dir():
        return read_folder(path, str(path), id_column=columns.id, labels_wanted=labels_wanted)
    for endings, reader in READERS.items():
        if kinds & set(endings):
            return _read_table(reader, path, columns)
    if is_structure_file(path):
        return [Record(path.stem if path.suffix else path.name, Place(str(path)), path)], []
    for kind in plugins.classes(Reader):
        if kinds & set(kind.endings):
            crystals = kind().read(path)
            places = numbered(path, len(crystals), "crystal")
            return Table(crystals, places, places, [])
    hint = "; save it as .csv" if path.suffix.lower() in SPREADSHEETS else ""
    raise UserError(f"{path} is of no known kind; wanted {WANTED}{hint}")


def _read_table(
    reader: Callable[[Path, Columns], Table | Records], path: Path, columns: Columns
) -> Table | Records:
    try:
        return reader(path, columns)
    except NoStructuresError:
        if not lies_beside_structures(path):
            return reader(path, replace(columns, formulas=True))
    folder = path.parent
    try:
        return read_folder(folder, str(folder), id_column=columns.id, labels_wanted=True, table=path)
    except UserError:
        # a table of formulas that happens to lie beside structures
        with suppress(NoStructuresError):
            return reader(path, replace(columns, formulas=True))
        raise
