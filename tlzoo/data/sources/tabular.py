"""Tables with a structure in a column: CSV, TSV, parquet, JSON and JSONL."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.crystals.columnar import COLUMNAR, damaged_rows
from tlzoo.data.sources.ase import read_database
from tlzoo.data.sources.csvfile import read_rows, read_text
from tlzoo.data.sources.formula import FORMULA_NAMES, Formula, is_formula
from tlzoo.data.sources.optimade import STRUCTURAL, entry, is_optimade
from tlzoo.data.sources.parse import Source, is_atoms, is_structure, is_structure_dict, is_structure_text
from tlzoo.data.sources.problems import Place, Problem, option
from tlzoo.data.sources.records import ID_NAMES, STRUCTURE_NAMES, Columns, Record, Records, Table, find_column
from tlzoo.errors import UserError, no_such
from tlzoo.periodicity import SMALLEST

# What an entry of pymatgen says of itself, beside the data that it holds.
WRAPPING = {"@module", "@class", "@version", "data"}


class NoStructuresError(UserError):
    """No column of a table holds structures."""


def read_csv(path: Path, columns: Columns) -> Records:
    """Read a CSV or TSV file with the text of CIFs or paths, relative to the file, in a column.

    Raises:
        UserError: The file cannot be read as a table, or no column holds structures.
    """
    rows = read_rows(path, str(path))
    records, problems = records_of(rows.values, rows.places, str(path), columns, path.parent)
    return records, [*rows.problems, *problems]


def read_json(path: Path, columns: Columns) -> Records:
    """Read JSON or JSONL, perhaps gzipped: records, or a data frame as pandas or matminer write it.

    Raises:
        UserError: The file is not JSON, or of another shape, or no column holds structures.
    """
    text = read_text(path, str(path))
    if ".jsonl" in path.suffixes or ".ndjson" in path.suffixes:
        return _read_lines(text, path, columns)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: is not JSON ({error.msg}); is it complete?") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply to be crystals; is it damaged?") from error
    if isinstance(content, dict) and {"ids", "nextid"} <= set(content):
        return read_database(path, columns)
    if isinstance(content, dict) and _alone(content) is not content:
        return [Record(path.stem, Place(str(path)), content)], []
    rows = _rows(content)
    if rows is None:
        raise UserError(
            f"{path} is JSON of another shape; wanted a list of records, a data frame with the keys "
            "'columns' and 'data', or a pymatgen structure"
        )
    places = numbered(path, len(rows), "record")
    records, problems = records_of(rows, places, str(path), columns, path.parent)
    meta = content.get("meta") if isinstance(content, dict) else None
    if isinstance(meta, dict) and meta.get("more_data_available"):
        text = "is one page of an answer: it says that there are more crystals, which it does not hold"
        problems.append(Problem(Place(str(path)), "other crystals", text, "warning"))
    return records, problems


def read_parquet(path: Path, columns: Columns) -> Table | Records:
    """Read parquet in the columnar format, or with structures as text in a column.

    Raises:
        UserError: The file is damaged or no column holds structures.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"{path}: several columns are called {', '.join(map(repr, twice))}; rename them")
        if set(COLUMNAR) <= set(names) and columns.structure is None:
            return _columnar(path)
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} cannot be read as parquet: {error}; is it complete?") from error
    places = numbered(path, len(rows), "row")
    return records_of(rows, places, str(path), columns, path.parent)


def _columnar(path: Path) -> Table:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    places = numbered(path, len(table), "row")
    wrong = damaged_rows(table, path)
    kept = np.delete(np.arange(len(table)), list(wrong))
    crystals = Crystals.from_arrow(table.take(kept) if wrong else table, path)
    rows = np.repeat(np.arange(len(crystals)), crystals.num_atoms)
    infinite = np.zeros(len(crystals), dtype=bool)
    infinite[~np.isfinite(crystals.lattice).all(axis=(1, 2))] = True
    infinite[rows[~np.isfinite(crystals.frac_coords).all(axis=1)]] = True
    infinite &= crystals.structured
    flat = np.abs(np.linalg.det(np.nan_to_num(crystals.lattice))) < SMALLEST
    flat &= crystals.structured
    text = "has a flat cell; the lattice must be three independent vectors, in Å"
    wrong |= dict.fromkeys(kept[flat].tolist(), text)
    text = "has a cell or coordinates that are not finite numbers"
    wrong |= dict.fromkeys(kept[infinite].tolist(), text)
    problems = [Problem(places[row], "unreadable", text) for row, text in sorted(wrong.items())]
    if problems:
        crystals = crystals.select(np.flatnonzero(~(flat | infinite)))
        places = [place for row, place in enumerate(places) if row not in wrong]
    return Table(crystals, places, places, problems)


def _read_lines(text: str, path: Path, columns: Columns) -> Records:
    rows, places, problems = [], [], []
    # not splitlines: JSON may hold other breaks than these within a string
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = Place(str(path), number)
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            text = f"is not JSON ({error.msg} at column {error.colno}); is it complete?"
            problems.append(Problem(place, "unreadable", text))
            continue
        except RecursionError:
            text = "is nested too deeply to be a crystal; is it damaged?"
            problems.append(Problem(place, "unreadable", text))
            continue
        if not isinstance(row, dict):
            problems.append(Problem(place, "unreadable", f"is a JSON {type(row).__name__}; wanted an object"))
            continue
        rows.append(_alone(row))
        places.append(place)
    records, more = records_of(rows, places, str(path), columns, path.parent) if rows else ([], [])
    return records, [*problems, *more]


def numbered(path: object, count: int, word: str) -> list[Place]:
    """Return the places of the rows of a file, whatever these are called."""
    return [Place(str(path), number, word) for number in range(1, count + 1)]


def _rows(content: object) -> list[Mapping[str, Any]] | None:
    """Rows of a list of records or of a data frame of any orient of pandas with labels; None if neither."""
    if isinstance(content, dict) and "columns" not in content:
        # answers of OPTIMADE and of the Materials Project, files of Alexandria
        content = next((content[name] for name in ("data", "entries") if name in content), content)
    if is_optimade(content):
        content = [content]
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return [_alone(row) for row in content]
    if not isinstance(content, dict) or not content:
        return None
    if "columns" in content and "data" in content:
        index = content.get("index", range(len(content["data"])))
        return [
            {"index": name, **dict(zip(content["columns"], row, strict=True))}
            for name, row in zip(index, content["data"], strict=True)
        ]
    values = list(content.values())
    if not all(isinstance(value, dict) for value in values):
        return None
    by_row = any(map(is_structure_dict, values[0].values()))
    if by_row and find_column(list(values[0]), STRUCTURE_NAMES):
        return [{"index": name, **row} for name, row in content.items()]
    keys = list(dict.fromkeys(key for value in values for key in value))
    return [{"index": key, **{name: value.get(key) for name, value in content.items()}} for key in keys]


def _alone(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row with a structure that is the whole row in a column; others as they are."""
    return {"structure": row} if is_structure_dict(row) and not is_optimade(row) else row


def _row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row with its structure and its labels in columns of their own."""
    if is_optimade(row):
        row = entry(row)
        labels = {name: value for name, value in row.items() if name not in STRUCTURAL}
        return {"structure": {name: row[name] for name in STRUCTURAL if name in row}, **labels}
    if row.get("@class") == "ComputedStructureEntry" and isinstance(row.get("data"), Mapping):
        return {**row["data"], **{name: value for name, value in row.items() if name not in WRAPPING}}
    return row


def records_of(
    rows: Sequence[Mapping[str, Any]], places: Sequence[Place], label: str, columns: Columns, folder: Path
) -> Records:
    """Find the columns of ids and structures, and return the crystals of a table, to be parsed.

    ``label`` is what the table is called in messages, ``folder`` what paths are relative to.

    Raises:
        UserError: A column is not there, or none holds structures.
    """
    rows = [_row(row) for row in rows] if columns.structure is None else rows
    names = list(dict.fromkeys(name for row in rows for name in row))
    structure = _structure_column(rows, names, label, columns.structure, folder, formulas=columns.formulas)
    by_formula = _holds_formulas(rows, structure, folder, asked=columns.structure is not None)
    id_column = columns.id or find_column([name for name in names if name != structure], ID_NAMES)
    if id_column is not None and id_column not in names:
        raise UserError(f"{label}: {no_such('column', id_column, names)}")
    records, problems = [], []
    texts = [str(row.get(structure)).strip() for row in rows] if by_formula else []
    telling = len(set(texts)) == len(texts)
    for number, (row, place) in enumerate(zip(rows, places, strict=True), start=1):
        source = _source(row.get(structure), folder, by_formula=by_formula)
        said = row.get(id_column) if id_column else None
        unknown = said is None or (isinstance(said, float) and math.isnan(said))
        name = "" if unknown else str(said).strip()
        if source is None:
            text = f"column {structure!r} is empty; wanted a {'formula' if by_formula else 'structure'}"
            problems.append(Problem(place, "no structure", text))
        elif isinstance(source, Path) and not os.path.isfile(source):  # noqa: PTH113 (the name may be too long)
            shown = str(row[structure])
            shown = shown if len(shown) <= 200 else f"{shown[:199]}…"
            text = f"column {structure!r} names {shown!r}, which is no file"
            problems.append(Problem(place, "missing file", text))
        elif id_column and not name:
            text = f"column {id_column!r} is empty; every crystal needs an id"
            problems.append(Problem(place, "missing id", text))
        else:
            if not name and isinstance(source, Path):
                name = source.stem
            elif not name:
                name = source.text if isinstance(source, Formula) and telling else str(number)
            values = {key: value for key, value in row.items() if key not in {structure, id_column}}
            records.append(Record(name, place, source, values))
    return records, problems


def _source(value: Any, folder: Path, *, by_formula: bool) -> Source | None:  # noqa: ANN401 (whatever a cell holds)
    if by_formula:
        return Formula(str(value).strip()) if _there(value) and str(value).strip() else None
    if isinstance(value, Mapping | Path) or is_structure(value) or is_atoms(value):
        return folder / value if isinstance(value, Path) else value
    if not isinstance(value, str) or not value.strip():
        return None
    return value if is_structure_text(value) else folder / value.strip()


def _there(value: Any) -> bool:  # noqa: ANN401 (whatever a cell holds)
    """Whether a cell holds something; atoms of ASE and arrays are neither true nor false."""
    return value is not None and not (isinstance(value, str | float | int) and not value)


def _holds_structures(rows: Sequence[Mapping[str, Any]], name: str, folder: Path) -> bool:
    """Whether the first value of a column is a structure, the text of one, or the path of a file."""
    value = next((row[name] for row in rows if _there(row.get(name))), None)
    if any(kind(value) for kind in (is_structure, is_atoms, is_structure_dict, is_structure_text)):
        return True
    if isinstance(value, Path):
        return True
    return isinstance(value, str) and len(value) < 255 and "\n" not in value and (folder / value).is_file()


def _holds_formulas(rows: Sequence[Mapping[str, Any]], name: str, folder: Path, *, asked: bool) -> bool:
    """Whether a column that counts holds formulas: it is called so, or somebody says that it counts."""
    if _holds_structures(rows, name, folder):
        return False
    value = next((row[name] for row in rows if _there(row.get(name))), None)
    return name.strip().lower() in FORMULA_NAMES or (asked and isinstance(value, str) and is_formula(value))


def _structure_column(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    label: str,
    wanted: str | None,
    folder: Path,
    *,
    formulas: bool,
) -> str:
    if wanted is not None:
        if wanted not in names:
            raise UserError(f"{label}: {no_such('column', wanted, names)}")
        return wanted
    found = find_column(names, STRUCTURE_NAMES)
    if found is not None:
        return found
    holding = [name for name in names if _holds_structures(rows, name, folder)]
    if len(holding) == 1:
        return holding[0]
    if holding:
        raise UserError(
            f"{label}: the columns {', '.join(map(repr, holding))} all hold structures; say which counts "
            f"{option('structure_column', 'NAME')}, or remove the others"
        )
    formula = find_column(names, FORMULA_NAMES)
    if formula is not None and formulas:
        return formula
    raise NoStructuresError(
        f"{label}: no column holds structures (the text of a CIF or POSCAR, a path, or a structure dict) or "
        "is called formula or composition; "
        f"there are: {', '.join(names) or 'none'}; name it with structure_column"
    )
