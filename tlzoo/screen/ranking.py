"""From shards to a ranking: the best first, and what could not be predicted."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.data.sources.problems import Remarks, remarks_of, together
from tlzoo.machine.files import whole, write_text
from tlzoo.screen.shards import Shards

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """What came out of a screening.

    Attributes:
        table: The best crystals, the best first, as a ``pyarrow.Table``.
        values: All predictions, in the order of the pool, ``(predicted,)``.
        problems: Id, formula and reason of each crystal that could not be predicted.
        read: Crystals of the pool.
        remarks: What is unusual about some that were predicted.
    """

    table: Any
    values: Values
    problems: Sequence[tuple[str, str, str]]
    read: int
    remarks: Remarks

    @property
    def left_out(self) -> int:
        """Crystals that did not meet the condition."""
        return self.read - len(self.values) - len(self.problems)

    def with_types(self, prototypes: Sequence[str], names: Sequence[str]) -> "Ranking":
        """Add the structure types of the best crystals, as far as they are known; the others have none."""
        import pyarrow as pa

        table = self.table
        place = table.column_names.index("formula") + 1
        for column, values in (("structure_type", names), ("prototype", prototypes)):
            texts = [*values, *[None] * (len(table) - len(values))]
            table = table.add_column(place, column, pa.array(texts, pa.string()))
        return replace(self, table=table)

    def with_unreadable(self, unreadable: Sequence[tuple[str, str]]) -> "Ranking":
        """Add what was not even read: where it is, and why."""
        problems = [*self.problems, *((place, "", text) for place, text in unreadable)]
        return replace(self, problems=problems, read=self.read + len(unreadable))


def rank(
    shards: Shards, size: int, target: str, *, top: int | None, ascending: bool, intervals: bool = True
) -> Ranking:
    """Rank the crystals of all shards; of equal ones the first of the pool comes first.

    Args:
        shards: Where they are.
        size: Number of shards.
        target: The property.
        top: How many to keep; None for all.
        ascending: Put the smallest first.
        intervals: Whether the models have any. Older shards have such columns of ensembles without, made of
            the spread alone, which are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    values, problems, said, read = [np.empty(0)], [], [], 0
    order = [(target, "ascending" if ascending else "descending"), ("row", "ascending")]
    held, rows = [], 0
    for number in range(size):
        table = pq.read_table(shards.shard(number))
        read += int(table.schema.metadata[b"read"])
        said.append(table.schema.metadata.get(b"remarks", b"{}"))
        wrong = table.filter(table["problem"].is_valid()).select(["id", "formula", "problem"])
        problems += [tuple(row.values()) for row in wrong.to_pylist()]
        no = [] if intervals else [name for name in ends(target) if name in table.column_names]
        table = table.filter(table["problem"].is_null()).drop_columns(["problem", *no])
        values.append(table[target].to_numpy())
        held.append(table)
        rows += len(table)
        # sorting now and then bounds the memory by a few times the number to keep
        if top is not None and rows > 4 * top + 100_000:
            held = [pa.concat_tables(held).sort_by(order).slice(0, top)]
            rows = top
    best = pa.concat_tables(held).sort_by(order)
    best = best if top is None else best.slice(0, top)
    best = best.add_column(0, "rank", pa.array(np.arange(1, len(best) + 1)))
    return Ranking(best, np.concatenate(values), problems, read, together(map(remarks_of, said)))


def ends(target: str) -> list[str]:
    """Return the names of the columns with the ends of intervals.

    >>> ends("gap")
    ['gap_lower', 'gap_upper']
    """
    return [f"{target}_lower", f"{target}_upper"]


def write(ranking: Ranking, path: Path, target: str, unit: str, about: Mapping[str, Any]) -> None:
    """Write the ranking, with units and origin in its schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = {name for name in ranking.table.column_names if name.startswith(target)}
    fields = [
        field.with_metadata({"unit": unit}) if field.name in own else field for field in ranking.table.schema
    ]
    note = json.dumps({"units": dict.fromkeys(sorted(own), unit), **about}, ensure_ascii=False)
    table = ranking.table.cast(pa.schema(fields)).replace_schema_metadata({"tlzoo": note})
    with whole(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def write_problems(ranking: Ranking, path: Path) -> None:
    """Write what could not be predicted, and why, as CSV."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["id", "formula", "problem"])
    lines.writerows(ranking.problems)
    write_text(path, text.getvalue())
