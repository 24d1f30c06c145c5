"""The crystals that are screened, read a shard at a time."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tlzoo.crystals import Crystals
from tlzoo.crystals.columnar import COLUMNAR
from tlzoo.data import named
from tlzoo.data.sources import Problem, read_all
from tlzoo.data.sources.problems import Remarks, remarks
from tlzoo.errors import UserError

BUFFER: Final = 2**20  # bytes of a column read at a time


class Slice(NamedTuple):
    """A shard of a pool.

    Attributes:
        number: Which shard, from 0.
        first: Row of its first crystal in the pool.
    """

    number: int
    first: int
    crystals: Crystals


class Pool(ABC):
    """Crystals in a fixed order.

    Attributes:
        name: As the user calls it.
        columns: Names of further columns.
        unreadable: What could not be read, and why; not among the crystals.
        remarks: What is unusual about those that were read.
        looked_at: Whether distances and densities were looked at when they were read, or long ago.
    """

    name: str
    columns: Sequence[str]
    unreadable: Sequence[tuple[str, str]] = ()
    remarks: Remarks = MappingProxyType({})
    looked_at: bool = True

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of crystals."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """SHA-256 of all that the pool holds."""

    @abstractmethod
    def slices(self, size: int, wanted: Collection[int], columns: Sequence[str]) -> Iterator[Slice]:
        """Yield the wanted shards of so many crystals, the last perhaps of fewer, in order.

        Raises:
            UserError: The pool is damaged.
        """


class ParquetPool(Pool):
    """A table in the columnar format, of which a few thousand crystals are in memory at a time."""

    def __init__(self, name: str, path: Path) -> None:
        import pyarrow.parquet as pq

        self.name, self._path = name, path
        self.looked_at = named.known(name)
        file = pq.ParquetFile(path)
        self.columns = [column for column in file.schema_arrow.names if column not in COLUMNAR]
        groups = range(file.num_row_groups)
        self._groups = [file.metadata.row_group(group).num_rows for group in groups]

    def __len__(self) -> int:
        return sum(self._groups)

    @property
    def identity(self) -> str:
        """SHA-256 of the file."""
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def slices(self, size: int, wanted: Collection[int], columns: Sequence[str]) -> Iterator[Slice]:
        """Read from the first row group that holds a wanted shard to the end of the last."""
        import pyarrow as pa

        if not wanted:
            return
        first, last = min(wanted) * size, (max(wanted) + 1) * size
        number, held, rows = min(wanted), [], 0
        for batch in self._batches(first, last, size, columns):
            held.append(batch)
            rows += len(batch)
            while rows >= size:
                table = pa.Table.from_batches(held)
                if number in wanted:
                    yield self._slice(number, size, table.slice(0, size))
                number, rows = number + 1, rows - size
                held = table.slice(size).to_batches()
        if rows and number in wanted:
            yield self._slice(number, size, pa.Table.from_batches(held))

    def _batches(self, first: int, last: int, size: int, columns: Sequence[str]) -> Iterator[Any]:
        """Yield record batches of the rows from first to last."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        groups, start, row = [], None, 0
        for group, rows in enumerate(self._groups):
            if row + rows > first and row < last:
                groups.append(group)
                start = row if start is None else start
            row += rows
        place = start or 0
        try:
            # without a buffer the columns of a whole row group are read at once
            batches = pq.ParquetFile(self._path, buffer_size=BUFFER).iter_batches(
                batch_size=size, row_groups=groups, columns=[*COLUMNAR, *columns]
            )
            for batch in batches:
                yield batch.slice(max(0, first - place), max(0, last - max(first, place)))
                place += len(batch)
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{self._path} cannot be read: {error}; is it complete?") from error

    def _slice(self, number: int, size: int, table: Any) -> Slice:  # noqa: ANN401 (pyarrow has no types)
        crystals = Crystals.from_arrow(table.combine_chunks(), self._path, start=number * size)
        return Slice(number, number * size, crystals)


class MemoryPool(Pool):
    """Crystals that were read as a whole: files, archives, other tables."""

    def __init__(self, name: str, crystals: Crystals, problems: Sequence[Problem] = ()) -> None:
        self.name, self.crystals = name, crystals
        self.unreadable = [(str(each.place), each.message) for each in problems if each.severity == "error"]
        self.remarks = remarks(problems, name)
        self.columns = list(crystals.columns)

    def __len__(self) -> int:
        return len(self.crystals)

    @property
    def identity(self) -> str:
        """SHA-256 of structures, ids, and what could not be read."""
        lines = [self.crystals.content_hash, *map(str, self.crystals.ids), *map(str, self.unreadable)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def slices(self, size: int, wanted: Collection[int], columns: Sequence[str]) -> Iterator[Slice]:  # noqa: ARG002
        """Cut them out of the table."""
        for number in sorted(wanted):
            rows = range(number * size, min((number + 1) * size, len(self)))
            yield Slice(number, rows.start, self.crystals.select(rows))


def open_pool(name: str, reading: Mapping[str, Any] | None = None) -> Pool:
    """Return a named data set, a table in the columnar format, or whatever else `tlzoo predict` reads.

    ``reading`` are further arguments of :func:`tlzoo.data.sources.read_all`.

    Raises:
        UserError: There is no such thing, or nothing in it can be read.
    """
    path = _table(name)
    if path is not None:
        return ParquetPool(name, path)
    if named.known(name):
        return MemoryPool(name, named.load(name))
    pool = MemoryPool(name, *read_all(name, **(reading or {})))
    if not len(pool):
        reasons = "".join(f"\n  {place}: {text}" for place, text in pool.unreadable[:10])
        raise UserError(f"{name} holds no crystal that can be read{':' if reasons else ''}{reasons}")
    return pool


def _table(name: str) -> Path | None:
    """Return the table in the columnar format that a name or path stands for, if it does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path: Path | None = Path(name)
    if named.known(name):
        card = named.find(name)
        files = [Path(card.file)] if card.file else []
        files = files or [folder / f"{card.name}.parquet" for folder in named.folders()]
        path = None if card.sources else next((file for file in files if file.is_file()), None)
    if path is None or path.suffix != ".parquet" or not path.is_file():
        return None
    try:
        return path if set(COLUMNAR) <= set(pq.read_schema(path).names) else None
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} cannot be read as parquet: {error}; is it complete?") from error
