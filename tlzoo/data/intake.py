"""Crystals from whatever a program has at hand: a name, a path, a table of pandas, structures of pymatgen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.sources import read
from tlzoo.data.sources.parse import is_structure
from tlzoo.data.sources.problems import raise_errors, remarks, tell
from tlzoo.data.sources.records import (
    ID_NAMES,
    Columns,
    Record,
    assemble,
    find_column,
    finish,
    sound,
    strange_structures,
)
from tlzoo.data.sources.repeats import SameId
from tlzoo.data.sources.tabular import numbered, records_of
from tlzoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

TABLE, LIST = "the data frame", "the list of structures"
WANTED = (
    "wanted the name of a data set, a path, a Crystals, a pandas DataFrame with a column of structures, "
    "or a list of pymatgen structures"
)


def crystals_from(
    data: Any,  # noqa: ANN401 (whatever a user gives; see the arguments)
    *,
    targets: Sequence[str] | None = None,
    labels: Mapping[str, Sequence[Any]] | None = None,
    units: Mapping[str, str] | None = None,
    id_column: str | None = None,
    structure_column: str | None = None,
    same_id: SameId | None = None,
) -> Crystals:
    """Return crystals with their columns.

    Args:
        data: The name of a data set or a path (see :func:`tlzoo.data.sources.read`); crystals; a pandas
            DataFrame with pymatgen structures, texts of CIFs, paths or dicts in a column, whose index gives
            the ids if no column does; or pymatgen structures, whose ``properties`` that are numbers or text
            are columns.
        targets: Columns that must be numbers, NaN or None where unknown; None: every column that mostly is.
        labels: Further columns by name, ``(crystals,)`` each, of structures in a list.
        units: Units of columns, where the data do not know them.
        id_column: Column of the ids; found by name if not given.
        structure_column: Column of the structures; found by name, then by content, if not given.
        same_id: What rows with one id are; see :func:`tlzoo.data.sources.read`.

    Raises:
        UserError: It is none of these, or something in it cannot be read; the message says what, by row.
    """
    if labels is not None and not _is_list(data):
        raise UserError(f"labels go with a list of structures, got them with {_told(data)}")
    if isinstance(data, Crystals):
        return replace(data, units={**data.units, **units}) if units else data
    if isinstance(data, str | Path):
        if named.known(str(data)):
            return named.load(str(data))
        columns = {"id_column": id_column, "structure_column": structure_column}
        return read(data, targets=targets, units=units, same_id=same_id, **columns)
    if hasattr(data, "itertuples"):
        known = Columns(id_column, structure_column)
        rows = _rows(data, known)
        places = numbered(TABLE, len(rows), "row")
        label, found = TABLE, records_of(rows, places, TABLE, known, Path())
    elif _is_list(data):
        label, found = LIST, (_records(data, labels or {}), [])
    else:
        raise UserError(f"no crystals can be made of {_told(data)}; {WANTED}")
    return sound(label, *finish(assemble(*found), targets=targets, units=units or {}, same_id=same_id))


def as_table(crystals: Crystals | Sequence[Structure]) -> Crystals:
    """Return a table of crystals as it is, and structures, which may be none, as one.

    Raises:
        UserError: A structure is empty or disordered, or no solid can be like that.
    """
    if isinstance(crystals, Crystals):
        return crystals
    table = Crystals.from_structures(crystals)
    places = [str(place) for place in numbered(LIST, len(table), "structure")]
    strange = list(strange_structures(replace(table, origins=places)).values())
    raise_errors(LIST, strange)
    tell(LIST, remarks(strange, LIST), len(table))
    return table


def _is_list(data: object) -> bool:
    return isinstance(data, Sequence) and all(map(is_structure, data))


def _told(data: object) -> str:
    kind = type(data).__name__
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        kind += f" of {type(next(item for item in data if not is_structure(item))).__name__}"
    return f"a value of type {kind}"


def _rows(table: pd.DataFrame, columns: Columns) -> list[Mapping[str, Any]]:
    if table.index.nlevels > 1 or table.index.name in table.columns:
        raise UserError(f"{TABLE} has an index that no column can hold: call reset_index(drop=True) on it")
    names = [str(name) for name in table.columns]
    # an index that is not the number of the row is an id, as in a table that is read from a file
    said = list(table.index) != list(range(len(table))) and not find_column(names, ID_NAMES)
    if said if columns.id is None else columns.id == table.index.name:
        table, names = table.reset_index(), [columns.id or "index", *names]
    table = table.astype(object).where(table.notna(), None)
    return [dict(zip(names, row, strict=True)) for row in table.itertuples(index=False, name=None)]


def _records(structures: Sequence[Any], labels: Mapping[str, Sequence[Any]]) -> list[Record]:
    for name, values in labels.items():
        if len(values) != len(structures):
            raise UserError(
                f"labels: {name!r} has {len(values)} values for {len(structures)} structures; wanted one "
                "each, None if unknown"
            )
    records = []
    for row, (structure, place) in enumerate(
        zip(structures, numbered(LIST, len(structures), "structure"), strict=True)
    ):
        facts = {str(name): v for name, v in structure.properties.items() if isinstance(v, Number | str)}
        facts |= {name: values[row] for name, values in labels.items()}
        records.append(Record(str(row), place, structure, facts))
    return records
