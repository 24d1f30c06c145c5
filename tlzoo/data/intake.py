"""Crystals from whatever a program has at hand: a name, a path, a table of pandas, structures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.sources import holds_several, read
from tlzoo.data.sources.formula import Formula, is_formula
from tlzoo.data.sources.parse import is_atoms, is_structure, is_structure_dict, is_structure_text
from tlzoo.data.sources.problems import Place, Problem
from tlzoo.data.sources.records import (
    ID_NAMES,
    Columns,
    Record,
    assemble,
    find_column,
    finish,
    sound,
)
from tlzoo.data.sources.repeats import SameId
from tlzoo.data.sources.tabular import numbered, records_of
from tlzoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms
    from pymatgen.core import Structure

    # What is one crystal, and what are crystals; `crystals_from` says what each means.
    One: TypeAlias = Structure | Atoms | Mapping[str, Any] | str | Path
    Data: TypeAlias = Crystals | pd.DataFrame | pd.Series[Any] | Iterable[One] | One
else:
    One = Data = Any  # neither pandas, pymatgen nor ase is imported for it

TABLE, LIST = "the data frame", "the list of structures"
WANTED = (
    "wanted the name of a data set, a path, a Crystals, a pandas DataFrame with a column of structures, "
    "or one or a list of pymatgen structures, ASE atoms or paths of structure files"
)


def crystals_from(
    data: Data,
    *,
    targets: Sequence[str] | None = None,
    labels: Mapping[str, Sequence[Any]] | None = None,
    units: Mapping[str, str] | None = None,
    id_column: str | None = None,
    structure_column: str | None = None,
    same_id: SameId | None = None,
) -> Crystals:
    """Read crystals, with their columns, from whatever you have.

    Args:
        data: One of these:

            - the name of a data set or a path: a structure file, a folder, a table
              (see :func:`tlzoo.data.sources.read`);
            - crystals;
            - a pandas DataFrame with structures, texts of CIFs, paths or dicts in a column, or without these
              with formulas in a column ``formula`` or ``composition``, whose index gives
              the ids if no column does, and whose ``attrs["units"]`` may name units; or such a column alone;
            - a pymatgen structure, ASE atoms, the dict of a structure or the text of a CIF;
            - a formula, for what reads formulas: text that is no path;
            - a list or array of these, or of paths of structure files. Ids are the names of the files, else
              numbers from 0; ``properties`` of structures and ``info`` of atoms that are numbers or text are
              columns.
        targets: Columns that must be numbers, with NaN or None for unknown values. By default all columns
            that are mostly numbers.
        labels: For a list of structures: further columns by name, ``(crystals,)`` each.
        units: Units of columns, if the data do not state them.
        id_column: Column with the ids; by default it is recognised by its name.
        structure_column: Column with the structures; by default it is recognised by its name or content.
        same_id: What to do with several rows that have the same id; see :func:`tlzoo.data.sources.read`.

    Raises:
        UserError: It is none of these, or something in it cannot be read; the message says what, by row.
    """
    data = _plain(data)
    if labels is not None and not isinstance(data, list):
        raise UserError(f"labels go with a list of structures, got them with a value of type {_kind(data)}")
    if isinstance(data, Crystals):
        return replace(data, units={**data.units, **units}) if units else data
    if isinstance(data, str | Path):
        if named.known(str(data)):
            return named.load(str(data))
        columns = {"id_column": id_column, "structure_column": structure_column}
        return read(data, targets=targets, units=units, same_id=same_id, **columns)
    if isinstance(data, list):
        label, found = LIST, _records(data, labels or {})
    else:
        # those that the table brings along may be of columns that it has no more
        known_units = data.attrs.get("units", {}).items()
        units = {**{name: unit for name, unit in known_units if name in data.columns}, **(units or {})}
        known = Columns(id_column, structure_column, formulas=True)
        rows = _rows(data, known)
        places = numbered(TABLE, len(rows), "row")
        label, found = TABLE, records_of(rows, places, TABLE, known, Path())
    return sound(label, *finish(assemble(*found), targets=targets, units=units or {}, same_id=same_id))


def as_table(data: Data) -> Crystals:
    """Return crystals of which no column is asked for, as :func:`crystals_from` does.

    A list or data frame may be empty, and have one id several times: the later ones get a number.

    Raises:
        UserError: It is no crystals, one cannot be read, or no solid can be like that.
    """
    data = _plain(data)
    if isinstance(data, str | Path | Crystals):
        return crystals_from(data, targets=())
    return crystals_from(data, targets=(), same_id="rename") if len(data) else Crystals.from_structures([])


def _plain(data: Any) -> Any:  # noqa: ANN401 (whatever a user gives)
    """Return a name or path, crystals, a data frame, or a list of what may be one crystal each."""
    if isinstance(data, str) and not data.strip():
        raise UserError(f"no crystals can be made of an empty text; {WANTED}")
    if _is_one(data):
        text = isinstance(data, str) and is_structure_text(data)
        return [data] if text or not isinstance(data, str | Path) else data
    if isinstance(data, Crystals) or hasattr(data, "itertuples"):
        return data
    if hasattr(data, "to_frame"):  # a column of a data frame
        return data.to_frame("structure" if data.name is None else str(data.name))
    return _items(data)


def _items(data: Any) -> list[Any]:  # noqa: ANN401 (whatever a user gives)
    """Return what may be one crystal each."""
    if isinstance(data, np.ndarray):
        data = data.reshape(-1) if data.shape[1:] == (1,) else data
    elif isinstance(data, Mapping | bytes | bytearray) or not isinstance(data, Iterable):
        raise UserError(f"no crystals can be made of a value of type {_kind(data)}; {WANTED}")
    items = list(data)
    for number, item in enumerate(items, start=1):
        if not _is_one(item):
            raise UserError(
                f"no crystals can be made of a value of type {_kind(data)} of {_kind(item)} (number {number} "
                f"of {len(items)}); {WANTED}"
            )
    return items


def _is_one(item: object) -> bool:
    return isinstance(item, str | Path) or is_structure(item) or is_atoms(item) or is_structure_dict(item)


def _kind(data: object) -> str:
    return type(data).__name__


def _rows(table: pd.DataFrame, columns: Columns) -> list[Mapping[str, Any]]:
    if table.index.nlevels > 1 or table.index.name in table.columns:
        raise UserError(f"{TABLE} has an index that no column can hold: call reset_index(drop=True) on it")
    names = [str(name) for name in table.columns]
    # rows keep their names, also where these are numbers: parts of a table agree with the whole
    if not find_column(names, ID_NAMES) if columns.id is None else columns.id == table.index.name:
        table, names = table.reset_index(), [columns.id or "index", *names]
    table = table.astype(object).where(table.notna(), None)
    return [dict(zip(names, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def _records(items: Sequence[Any], labels: Mapping[str, Sequence[Any]]) -> tuple[list[Record], list[Problem]]:
    for name, values in labels.items():
        if len(values) != len(items):
            raise UserError(
                f"labels: {name!r} has {len(values)} values for {len(items)} structures; wanted one "
                "each, None if unknown"
            )
    records, problems = [], []
    names = _names(items)
    for row, (item, place) in enumerate(zip(items, numbered(LIST, len(items), "structure"), strict=True)):
        source, problem = _source(item, place)
        if problem is not None:
            problems.append(problem)
            continue
        facts = getattr(item, "properties", None) or getattr(item, "info", None) or {}
        facts = {str(name): v for name, v in facts.items() if isinstance(v, Number | str)}
        facts |= {name: values[row] for name, values in labels.items()}
        records.append(Record(names[row], place, source, facts))
    return records, problems


def _names(items: Sequence[Any]) -> list[str]:
    """Return ids: the names of files, their paths where several have one name, else the number of the row."""
    paths = [Path(item) if _is_path(item) else None for item in items]
    stems = ["" if path is None else path.stem if path.suffix else path.name for path in paths]
    many = Counter(stems)
    return [
        str(row) if path is None else stem if many[stem] == 1 else str(path)
        for row, (path, stem) in enumerate(zip(paths, stems, strict=True))
    ]


def _is_path(item: object) -> bool:
    return isinstance(item, Path) or (isinstance(item, str) and not is_structure_text(item))


def _source(item: Any, place: Place) -> tuple[Any, Problem | None]:  # noqa: ANN401 (one crystal, see above)
    """Return what is parsed, and what is wrong with it as one crystal."""
    if not _is_path(item):
        return item, None
    path = Path(item)
    if isinstance(item, str) and not path.exists() and is_formula(item):
        return Formula(item), None
    if path.is_dir() or holds_several(path):
        what = "is a folder" if path.is_dir() else "is a file of several crystals"
        text = f"{str(item)!r} {what}; give it alone, or list the structure files in it"
        return path, Problem(place, "no structure", text)
    if not path.is_file():
        return path, Problem(place, "missing file", f"{str(item)[:200]!r} is no file")
    return path, None
