"""Crystals with a known property, of one table or of several that hold the same quantity."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.duplicates import duplicate_groups
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.errors import UserError
from tlzoo.model.known_crystals import known_crystals
from tlzoo.transfer.features.layers import DESCRIPTORS, parts_of

Values = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Repeat:
    """A crystal that an earlier table holds, too.

    Attributes:
        id: Its id in this table.
        value: What this table says of it; not learned from.
        first: Its id in the earlier table.
        first_value: What is learned instead.
    """

    id: str
    value: float
    first: str
    first_value: float


@dataclass(frozen=True, eq=False)
class Table:
    """A table and what is learned from it.

    Attributes:
        ids: Crystals that are learned from.
        repeats: Those that are not, because an earlier table holds them.
    """

    source: str
    target: str
    ids: Sequence[str]
    repeats: Sequence[Repeat] = ()


@dataclass(frozen=True, eq=False)
class Labels:
    """What there is to learn.

    Attributes:
        data: The tables as they were read.
        rows: Of each table the crystals that are learned from.
        tables: The same in words.
        crystals: They, table after table; the only column is the target.
        truth: Their targets, in the unit, ``(crystals,)``.
        target: Name of the property, that of the first table's column.
        unit: Its unit; empty if unknown.
        base: What is nearly the target, if there is such a column, ``(crystals,)``.
    """

    data: Sequence[LabelledTable]
    rows: Sequence[Rows]
    tables: Sequence[Table]
    crystals: Crystals
    truth: Values
    target: str
    unit: str
    base: Values | None = None

    def seen(self, model: str) -> int | None:
        """Count crystals that a model learned from; None if nobody can tell."""
        parts = [part for part in parts_of(model) if part != DESCRIPTORS]
        found = [
            known_crystals(parts, data.crystals, rows, data.source).mask
            for data, rows in zip(self.data, self.rows, strict=True)
        ]
        told = [int(mask.sum()) for mask in found if mask is not None]
        return sum(told) if told else None


def read(
    sources: Sequence[str],
    targets: Sequence[str] | None,
    unit: str | None,
    *,
    log: bool,
    base: str | None = None,
) -> Labels:
    """Read the tables; of a structure that several hold the first says what is learned.

    Args:
        sources: Paths or names.
        targets: Their columns, one for all or one for each; None for the only ones that they have.
        unit: The unit, where a table does not say.
        log: Whether logarithms are to be learned.
        base: A column that all tables have, which is nearly the target.

    Raises:
        UserError: A table cannot be read, too little is known, or the tables hold different quantities.
    """
    named = columns(sources, targets)
    data = [
        LabelledTable(
            source, targets=[column] if column else None, units={column: unit} if column and unit else None
        )
        for source, column in zip(sources, named, strict=True)
    ]
    found = [known(each, log=log) for each in data]
    units = [each.units[0] for each in data]
    if len({text for text in units if text}) > 1:
        pairs = zip(data, units, strict=True)
        listing = "; ".join(f"{each.source}: {each.targets[0]} in {text or '?'}" for each, text in pairs)
        raise UserError(f"the tables must hold the same quantity in the same unit, got {listing}")
    target = data[0].targets[0]
    parts = []
    for each, (rows, truth) in zip(data, found, strict=True):
        some = each.crystals.select(rows)
        near = {} if base is None else {base: base_of(some, base, units[0], log=log)}
        parts.append(replace(some, columns={target: truth} | near, units={}))
    everything = Crystals.concatenated(parts)
    kept, repeats = _first(everything, everything.columns[target], [len(part) for part in parts])
    ends = np.cumsum([0, *(len(part) for part in parts)])
    within = [kept[(kept >= start) & (kept < end)] for start, end in pairwise(ends)]
    crystals = everything.select(kept)
    return Labels(
        data,
        [rows[places - start] for (rows, _), places, start in zip(found, within, ends, strict=False)],
        [
            Table(each.source, each.targets[0], list(everything.ids[places]), repeated)
            for each, places, repeated in zip(data, within, repeats, strict=True)
        ],
        replace(crystals, columns={target: crystals.columns[target]}),
        crystals.columns[target],
        target,
        next((text for text in units if text), ""),
        None if base is None else crystals.columns[base],
    )


def known(data: LabelledTable, *, log: bool) -> tuple[Rows, Values]:
    """Return the rows with a known target and their targets.

    Raises:
        UserError: There are several targets, hardly any known label, or one that has no logarithm.
    """
    if len(data.targets) != 1:
        raise UserError(f"wanted one number per crystal to learn, got {', '.join(data.targets)}")
    name = data.targets[0]
    labels = data.labels(np.arange(len(data.crystals)))[:, 0].astype(np.float64)
    rows = np.flatnonzero(~np.isnan(labels))
    labels = labels[rows]
    if len(rows) < 3 or np.ptp(labels) == 0:
        raise UserError(
            f"{name} has {len(rows)} known value(s) in {data.source}, {len(np.unique(labels))} of them "
            "different: there is nothing to learn"
        )
    if log and (wrong := np.flatnonzero(labels <= 0)).size:
        row = int(rows[wrong[0]])
        raise UserError(
            f"{name} of {data.crystals.origin(row)} is {labels[wrong[0]]:g}, which has no logarithm "
            f"({wrong.size} of {len(rows)} are not positive); leave out --log, or these crystals"
        )
    return rows, labels


def base_of(crystals: Crystals, column: str, unit: str, *, log: bool) -> Values:
    """Return what is nearly the target of crystals, or, where that is learned, its logarithm.

    Raises:
        UserError: There is no such column of numbers, it has another unit, or a crystal has no value in it.
    """
    values = crystals.column(column)
    if values.dtype == object:
        raise UserError(f"the base {column} must be a column of numbers")
    known = crystals.units.get(column, "")
    if known and unit and known != unit:
        raise UserError(f"the base {column} is in {known}, what is learned from it in {unit}")
    if (wrong := np.flatnonzero(np.isnan(values))).size:
        raise UserError(
            f"{crystals.origin(int(wrong[0]))} has no value of the base {column} ({wrong.size} of "
            f"{len(values)} have none); leave these crystals out"
        )
    if log and (wrong := np.flatnonzero(values <= 0)).size:
        row = int(wrong[0])
        raise UserError(
            f"the base {column} of {crystals.origin(row)} is {values[row]:g}: it has no logarithm"
        )
    found: Values = np.log(values) if log else np.asarray(values, dtype=np.float64)
    return found


def described(table: Table, *, log: bool) -> str:
    """Say how many crystals of a table an earlier one holds, and how far what they say is apart."""
    size = len(table.repeats)
    apart = [abs(_learned(one.value, log=log) - _learned(one.first_value, log=log)) for one in table.repeats]
    worst = table.repeats[int(np.argmax(apart))]
    return (
        f"{size} of {size + len(table.ids)} crystals of {table.source} are in an earlier table, which is "
        f"believed; {'ln ' if log else ''}{table.target} differs by {np.median(apart):.2g} (median), most in "
        f"{worst.id}: {worst.value:.4g}, there {worst.first_value:.4g}"
    )


def content(table: Table) -> dict[str, Any]:
    """Return what was learned from a table as plain data."""
    repeats = [vars(repeat) for repeat in table.repeats]
    return {
        "source": table.source,
        "target": table.target,
        "crystals": len(table.ids),
        "in an earlier table": repeats,
    }


def columns(sources: Sequence[str], targets: Sequence[str] | None) -> Sequence[str | None]:
    """Return the column to learn of each table; None for the only one that it has.

    Raises:
        UserError: They are not as many, or a table is named twice.
    """
    if not sources:
        raise UserError("name at least one table to learn from")
    if len(set(sources)) < len(sources):
        raise UserError(f"a table is named twice: {', '.join(sources)}")
    if not targets:
        return [None] * len(sources)
    if len(targets) not in {1, len(sources)}:
        listing = f"{len(targets)}: {', '.join(targets)}"
        raise UserError(f"{len(sources)} tables have one column to learn, or one each; got {listing}")
    return targets if len(targets) == len(sources) else [*targets] * len(sources)


def _first(crystals: Crystals, values: Values, sizes: Sequence[int]) -> tuple[Rows, list[list[Repeat]]]:
    """Return the rows of structures that no earlier table holds, and for each table the others.

    ``values`` are those of the target, ``(crystals,)``.
    """
    table = np.repeat(np.arange(len(sizes)), sizes)
    repeats: list[list[Repeat]] = [[] for _ in sizes]
    if len(sizes) == 1:
        return np.arange(len(crystals)), repeats
    first = duplicate_groups(crystals, progress=False)
    for row in np.flatnonzero(table[first] < table).tolist():
        one, other = row, int(first[row])
        facts = (str(crystals.ids[one]), float(values[one]), str(crystals.ids[other]), float(values[other]))
        repeats[table[row]].append(Repeat(*facts))
    return np.flatnonzero(table[first] == table), repeats


def _learned(value: float, *, log: bool) -> float:
    return float(np.log(value)) if log else value
