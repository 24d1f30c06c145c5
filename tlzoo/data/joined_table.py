"""One table of several: columns joined by id, rows appended; nothing is lost or guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals, as_column, known_values
from tlzoo.crystals.columnar import COLUMNAR, note_of
from tlzoo.data import named
from tlzoo.data.intake import crystals_from
from tlzoo.data.overlap import common
from tlzoo.data.perturbed import LEARNED, PART, copied
from tlzoo.errors import UserError
from tlzoo.machine.files import read_table

# Numbers that differ by less are one, written with fewer digits: float32 has seven.
ROUNDING = 1e-6


class Facts(NamedTuple):
    """What is known of crystals by id: columns, ``(crystals,)`` each, and their units."""

    ids: NDArray[np.object_]
    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str] = {}


def read(name: str) -> Crystals | Facts:
    """Read what is to be joined: a data set or file of crystals, or a table of `tlzoo embed` or `predict`.

    Raises:
        UserError: It cannot be read, or has no ids.
    """
    path = Path(name)
    if named.known(name) or path.suffix not in {".csv", ".parquet"} or not path.is_file():
        return crystals_from(name, targets=())
    note: dict[str, Any] = {}
    if path.suffix == ".parquet":
        schema = _schema(path)
        if set(COLUMNAR) <= set(schema.names):
            return crystals_from(name, targets=())
        note = note_of(schema, path)
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{name} cannot be read: {error}") from error
    if "id" not in table.columns:
        raise UserError(f"{name} has no column 'id', by which it could be joined")
    if empty := np.flatnonzero(table["id"].isna()).tolist():
        raise UserError(f"{name}, row {empty[0] + 1} has no id")
    ids = np.array([str(each) for each in table["id"]], dtype=object)
    # an empty column, such as `unseen_elements` mostly is, says nothing, not even whether it is text
    nothing = (table.isna() | (table == "")).all()
    table = table.loc[:, ~nothing]
    columns = {str(column): as_column(table[column].to_numpy()) for column in table if column != "id"}
    return Facts(ids, columns, note.get("units", {}))


def joined(name: str, table: Crystals, others: Mapping[str, Crystals | Facts]) -> Crystals:
    """Return a table with the columns and rows of others, by their names, in order.

    Facts need crystals that are there. The crystals of a table are appended; those of a table with the column
    ``part`` are in the part of the crystal that they are a perturbed copy of, others in the part that they
    say. The test part stays what it is, and none of its structures comes back.

    Raises:
        UserError: An id is nowhere, or twice; a column has another value or unit in two of them; a crystal
            is in no part, or must not be learned from.
    """
    _distinct(table.ids, name)
    result = replace(table, origins=())
    for other, more in others.items():
        if isinstance(more, Crystals):
            longer, rows = _appended(result, more, other), _in_parts(result, more, other)
            result = _filled(longer, Facts(rows.ids, rows.columns, rows.units), other)
        else:
            result = _filled(result, more, other)
    return result


def base_of(source: str) -> str:
    """Return the data set that a data set or file was joined to; of another one its own name."""
    path = Path(named.find(source).file) if named.known(source) else Path(source)
    if path.suffix != ".parquet" or not path.is_file():
        return source
    return str(note_of(_schema(path), path).get("base") or source)


def theories(source: str, targets: Sequence[str]) -> dict[str, str]:
    """Return by which method labels of a data set, or a file joined to one, were had, where it is known."""
    base = base_of(source)
    known = named.find(base).theories if named.known(base) else {}
    return {name: known[name] for name in targets if name in known}


def _schema(path: Path) -> Any:  # noqa: ANN401 (pyarrow has no types)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} cannot be read as parquet: {error}; is it complete?") from error


def _distinct(ids: Sequence[Any] | NDArray[np.object_], name: str) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, each in enumerate(map(str, ids)):
        if (first := rows.setdefault(each, row)) != row:
            raise UserError(f"{name}, row {row + 1}: the id {each!r} is in row {first + 1}, too")
    return rows


def _in_parts(table: Crystals, more: Crystals, name: str) -> Crystals:
    """Return crystals that are to be appended with the part that they are in."""
    parents = copied(more)
    if PART not in table.columns:
        if parents:
            raise UserError(
                f"{name}, row {min(parents) + 1} is a copy of {parents[min(parents)]!r}; without a column "
                f"{PART!r} (train, val, test) one of the two might be learned from, the other be for the test"
            )
        return more
    part_of = dict(zip(table.ids, table.columns[PART], strict=True))
    parts = np.full(len(more), None, dtype=object)
    if PART in more.columns:
        parts[more.known(PART)] = more.columns[PART][more.known(PART)]
    for row, said in enumerate(parts.tolist()):
        try:
            parts[row] = _part(parents.get(row), said, part_of)
        except ValueError as error:
            raise UserError(
                f"{name}, row {row + 1} ({more.ids[row]}) {error}; correct it or leave it out"
            ) from error
    _check_apart(table, more, [row for row in range(len(more)) if row not in parents], name)
    return replace(more, columns={**more.columns, PART: parts})


def _part(parent: str | None, said: str | None, part_of: Mapping[str, str | None]) -> str:
    """Return the part of a crystal that is to be appended, a copy or not, which may say it."""
    part = said if parent is None else part_of.get(parent)
    if parent is not None and parent not in part_of:
        raise ValueError(f"is a copy of {parent!r}, which is not in the table")
    if said not in {None, part}:
        raise ValueError(f"is in the part {said}, {parent!r} in the part {part}")
    if part not in LEARNED:
        raise ValueError(f"would be in the part {part or 'none'}; only train and val get more crystals")
    return str(part)


def _check_apart(table: Crystals, more: Crystals, rows: Sequence[int], name: str) -> None:
    """Make sure that crystals are none that the table has for the test."""
    tests = np.flatnonzero(table.columns[PART] == "test")
    if not len(rows) or not len(tests):
        return
    found, compared = common(more.select(rows), table.select(tests))
    if found.any():
        row = rows[int(found.argmax())]
        raise UserError(
            f"{name}, row {row + 1} ({more.ids[row]}) {'has' if compared else 'may have'} the structure of a "
            f"test crystal, as {found.sum() - 1} more {'have' if compared else 'may'}; leave them out"
        )


def _appended(table: Crystals, more: Crystals, name: str) -> Crystals:
    """Return a table with the structures of another one; nothing else is known of them."""
    there = _distinct(table.ids, "the table")
    _distinct(more.ids, name)
    if twice := [row for row, each in enumerate(more.ids) if str(each) in there]:
        raise UserError(
            f"{name}, row {twice[0] + 1}: there is a crystal {more.ids[twice[0]]!r} in the table already"
            + (f", and {len(twice) - 1} more are" if twice[1:] else "")
        )
    columns = {key: _unknown(values, len(more)) for key, values in table.columns.items()}
    return Crystals.concatenated([table, replace(more, columns=columns, units=table.units, origins=())])


def _unknown(like: NDArray[Any], size: int) -> NDArray[Any]:
    return np.full(size, None, dtype=object) if like.dtype == object else np.full(size, np.nan)


def _filled(table: Crystals, facts: Facts, name: str) -> Crystals:
    """Return a table with further facts of its crystals."""
    there = _distinct(table.ids, "the table")
    _distinct(facts.ids, name)
    rows = np.array([there.get(str(each), -1) for each in facts.ids], dtype=np.int64)
    if (unknown := np.flatnonzero(rows < 0)).size:
        more = f", nor are {len(unknown) - 1} more" if unknown.size > 1 else ""
        raise UserError(
            f"{name}, row {unknown[0] + 1}: {facts.ids[unknown[0]]!r} is no crystal of the table{more}; "
            "name the table that has it before, or leave it out"
        )
    columns, units = dict(table.columns), dict(table.units)
    for column, values in facts.columns.items():
        if column in COLUMNAR:
            raise UserError(f"{name}: the column {column!r} belongs to structures; rename it")
        unit = facts.units.get(column, "")
        if unit and units.setdefault(column, unit) != unit:
            raise UserError(f"{name}: {column!r} is in {unit}, in the table in {units[column]}; rename it")
        kept = values if values.dtype == object else values.astype(np.float64)
        old = columns.get(column, _unknown(kept, len(table)))
        columns[column] = _with(old, kept, rows, column, facts.ids, name)
    return replace(table, columns=columns, units=units)


def _with(
    old: NDArray[Any],
    new: NDArray[Any],
    rows: NDArray[np.int64],
    column: str,
    ids: NDArray[np.object_],
    name: str,
) -> NDArray[Any]:
    """Return a column with further values in some rows."""
    before, known = known_values(old), known_values(new)
    if old.dtype != new.dtype and not before.any():
        old = _unknown(new, len(old))
    elif old.dtype != new.dtype and known.any():
        kinds = ("text", "numbers") if new.dtype == object else ("numbers", "text")
        raise UserError(f"{name}: {column!r} is {kinds[0]}, in the table {kinds[1]}; rename it")
    both = known & before[rows]
    if old.dtype == object:
        differ = both & np.array([a != b for a, b in zip(old[rows], new, strict=True)], dtype=bool)
    else:
        differ = both & ~np.isclose(old[rows], new, rtol=ROUNDING, atol=0)
    if differ.any():
        row = int(differ.argmax())
        raise UserError(
            f"{name}, row {row + 1}: {column!r} of {ids[row]!r} is {new[row]}, in the table "
            f"{old[rows[row]]}, and {differ.sum() - 1} more differ; rename one of the columns or leave it out"
        )
    result = old.copy()
    fresh = known & ~both
    result[rows[fresh]] = new[fresh]
    return result
