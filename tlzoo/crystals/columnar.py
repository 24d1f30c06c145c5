"""The columnar format: crystals in parquet, flat arrays that are read in seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals.columns import as_column
from tlzoo.crystals.elements import SYMBOLS
from tlzoo.errors import UserError, first_line
from tlzoo.machine import runtime
from tlzoo.machine.files import whole

# The columns that every file has.
COLUMNAR = ("id", "lattice", "numbers", "frac_coords")

READ = 4096  # crystals that are in memory twice while a file is read: as it holds them, and as arrays


class Fields(TypedDict):
    """What a table of crystals is made of; see :class:`tlzoo.Crystals`."""

    ids: NDArray[np.object_]
    lattice: NDArray[np.float64]
    offsets: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    frac_coords: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]


def write(path: str | Path, crystals: Fields, **metadata: Any) -> None:  # noqa: ANN401 (anything JSON can hold)
    """Write a file; see :meth:`tlzoo.Crystals.write_parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    offsets = crystals["offsets"]
    columns: dict[str, Any] = {
        "id": pa.array(crystals["ids"], type=pa.string()),
        "lattice": pa.FixedSizeListArray.from_arrays(pa.array(crystals["lattice"].reshape(-1)), 9),
        "numbers": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(crystals["numbers"])),
        "frac_coords": pa.ListArray.from_arrays(
            pa.array(3 * offsets, pa.int32()),
            pa.array(crystals["frac_coords"].astype(np.float32).reshape(-1)),
        ),
    }
    columns |= {name: pa.array(values, from_pandas=True) for name, values in crystals["columns"].items()}
    note = json.dumps({"rows": len(crystals["ids"]), "units": dict(crystals["units"]), **metadata})
    table = pa.table(columns).replace_schema_metadata({"tlzoo": note})
    with whole(Path(path)) as partial:
        pq.write_table(table, partial, compression="zstd")


def read(path: str | Path) -> Fields:
    """Read a file; see :meth:`tlzoo.Crystals.read_parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        if file.metadata.num_rows <= READ or not set(COLUMNAR) <= set(names):
            return fields_of(file.read(), path)
        crystals = _empty(file.metadata)
        first = 0
        for batch in file.iter_batches(READ, columns=list(COLUMNAR), use_threads=False):
            _fill(crystals, first, fields_of(pa.Table.from_batches([batch]), path))
            first += len(batch)
        table = file.read([name for name in names if name not in COLUMNAR])
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} cannot be read as parquet: {error}") from error
    except UserError:
        # said again with the rows of the file, not of the batch
        return fields_of(pq.read_table(path), path)
    crystals["columns"], crystals["units"] = _columns(table), note_of(table.schema, path).get("units", {})
    del table
    runtime.give_back()
    return crystals


def fields_of(table: Any, path: str | Path, *, start: int = 0) -> Fields:  # noqa: ANN401 (pyarrow has no types)
    """Return the crystals of a ``pyarrow.Table``; see :meth:`tlzoo.Crystals.from_arrow`."""
    wrong = damaged_rows(table, path)
    if wrong:
        row = min(wrong)
        more = f"; so are {len(wrong) - 1} more rows" if len(wrong) > 1 else ""
        raise UserError(f"{path}, row {start + row + 1} {wrong[row]}{more}; write it again")
    lattice, numbers, frac_coords = (_values(table, name)[0] for name in COLUMNAR[1:])
    return Fields(
        ids=np.array([str(name) for name in table["id"].to_pylist()], dtype=object),
        lattice=lattice.astype(np.float64).reshape(-1, 3, 3),
        offsets=np.concatenate([[0], np.cumsum(_values(table, "numbers")[1])]).astype(np.int64),
        numbers=numbers.astype(np.uint8),
        frac_coords=frac_coords.astype(np.float64).reshape(-1, 3),
        columns=_columns(table),
        units=note_of(table.schema, path).get("units", {}),
    )


def damaged_rows(table: Any, path: str | Path) -> dict[int, str]:  # noqa: ANN401 (pyarrow has no types)
    """Return what is wrong with rows of a ``pyarrow.Table`` in the columnar format, of a file.

    No id, not 9 numbers in the lattice, no atoms, not 3 coordinates for each of them, or something among the
    atomic numbers that is none. Whether lattice and coordinates make a crystal is not looked at.

    Raises:
        UserError: The table lacks one of the four structure columns, has one twice, or of another type.
    """
    import pyarrow.types as of

    if missing := [name for name in COLUMNAR if name not in table.column_names]:
        raise UserError(
            f"{path} lacks the column(s) {', '.join(missing)} of the columnar format; "
            f"it has: {', '.join(table.column_names)}"
        )
    for name in COLUMNAR:
        if table.column_names.count(name) > 1:
            raise UserError(f"{path}: several columns are called {name!r}; rename them")
        kind = table.schema.field(name).type
        is_list = of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind)
        numeric = is_list and (of.is_integer(kind.value_type) or of.is_floating(kind.value_type))
        if not numeric and name != "id" and len(table):
            raise UserError(f"{path}: column {name!r} is of the type {kind}; wanted a list of numbers a row")
    (_, nines), (numbers, atoms), (_, threes) = (_values(table, name) for name in COLUMNAR[1:])
    wrong: dict[int, str] = {}
    for row in np.flatnonzero((nines != 9) | (atoms == 0) | (threes != 3 * atoms)).tolist():
        wrong[row] = (
            "is damaged: wanted 9 numbers in each lattice, and 3 in frac_coords for each of the atoms in "
            f"numbers, at least one; got {nines[row]}, {threes[row]} and {atoms[row]} atoms"
        )
    bad = ~((numbers >= 1) & (numbers < len(SYMBOLS)) & (numbers == np.floor(numbers)))
    places = np.flatnonzero(bad)
    rows, first = np.unique(np.repeat(np.arange(len(table)), atoms)[places], return_index=True)
    for row, number in zip(rows.tolist(), numbers[places[first]].tolist(), strict=True):
        wrong[row] = f"has {number} in numbers, which is no atomic number (1 to {len(SYMBOLS) - 1})"
    for row in np.flatnonzero(table["id"].is_null(nan_is_null=True).to_numpy()).tolist():
        wrong[row] = "has no id; every crystal needs one"
    return wrong


def note_of(schema: Any, path: str | Path) -> dict[str, Any]:  # noqa: ANN401 (pyarrow has no types)
    """Return what the schema of a file in the columnar format says of it, beside names and types.

    Raises:
        UserError: It is no JSON, or of another shape.
    """
    about = f"{path}: what its schema says under the key tlzoo"
    try:
        note = json.loads((schema.metadata or {}).get(b"tlzoo", b"{}"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: what its schema says under the key tlzoo is no JSON: {first_line(error)}"
        ) from error
    for name in ("units", "columns"):
        told = note.get(name, {}) if isinstance(note, dict) else None
        if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
            raise UserError(f"{about} has no texts in {name!r}")
    return cast("dict[str, Any]", note)


def _empty(metadata: Any) -> Fields:  # noqa: ANN401 (pyarrow has no types)
    """Return crystals to be filled in, as many as a file says that it holds."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    atoms = sum(one.num_values for one in columns if one.path_in_schema.split(".")[0] == "numbers")
    return Fields(
        ids=np.empty(metadata.num_rows, dtype=object),
        lattice=np.empty((metadata.num_rows, 3, 3)),
        offsets=np.zeros(metadata.num_rows + 1, dtype=np.int64),
        numbers=np.empty(atoms, dtype=np.uint8),
        frac_coords=np.empty((atoms, 3)),
        columns={},
        units={},
    )


def _fill(crystals: Fields, first: int, part: Fields) -> None:
    """Put crystals where they belong, from a row on; those before are there."""
    size = len(part["ids"])
    rows, atom = slice(first, first + size), crystals["offsets"][first]
    atoms = slice(atom, atom + len(part["numbers"]))
    crystals["ids"][rows], crystals["lattice"][rows] = part["ids"], part["lattice"]
    crystals["offsets"][first + 1 : first + size + 1] = atom + part["offsets"][1:]
    crystals["numbers"][atoms], crystals["frac_coords"][atoms] = part["numbers"], part["frac_coords"]


def _columns(table: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401 (pyarrow has no types)
    """Return the further columns of a table in the columnar format."""
    others = [name for name in table.column_names if name not in COLUMNAR]
    return {name: as_column(table[name].to_numpy(zero_copy_only=False)) for name in others}


def _values(table: Any, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:  # noqa: ANN401 (pyarrow has no types)
    """Return all values of a column of lists, and how many each row has; NaN and 0 where there are none."""
    import pyarrow.compute as pc

    column = table[name].combine_chunks()
    values: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return values, lengths.astype(np.int64)
