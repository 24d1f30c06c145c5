"""Files that are complete or absent: written aside, then renamed into place."""

import csv
import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tlzoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
REMEDIES = {
    **dict.fromkeys(FULL, "make room"),
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "choose another folder",
    errno.EISDIR: "choose another name",
    errno.EMFILE: "let the process open more files (ulimit -n)",
}
ABANDONED = 24 * 3600  # seconds after which what a killed process was writing is deleted
ROWS = 4096  # of a table that are text in memory at a time


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; what was written takes its place if all went well.

    The folder is made if need be. Of several processes that write one file, each writes aside on its own,
    and the last to finish has it.

    Raises:
        UserError: It cannot be written, for example because the disk is full; ``path`` is what it was before.
    """
    partial = path.with_name(f"{path.name}.{os.urandom(4).hex()}.partial")
    try:
        make_folder(path.parent)
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "make the folder writable")
        raise UserError(
            f"{path} cannot be written: {error.strerror or error}; {remedy} and run the same command again, "
            "nothing finished is lost"
        ) from error
    finally:
        # a name that is too long, or in a folder that cannot be read, was not written either
        with suppress(OSError):
            partial.unlink(missing_ok=True)
            _sweep(path)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, if need be.

    Raises:
        OSError: It cannot be made, or is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error


def refused(error: OSError) -> str:
    """Return what to tell of something that the system refused to read, write or start."""
    if error.errno in FULL:
        where = f" while writing {error.filename}" if error.filename else ""
        return f"the disk is full{where}; make room and run the same command again, nothing finished is lost"
    remedy = REMEDIES.get(error.errno or 0, "see that it is there, and that you may read and write it")
    return f"{error.filename or 'the system refuses'}: {error.strerror or error}; {remedy}"


def _sweep(path: Path) -> None:
    """Delete what processes that were killed have left of a file."""
    for left in path.parent.glob(f"{escape(path.name)}.*.partial"):
        if left.stat().st_mtime < time.time() - ABANDONED:
            left.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table, whole or not at all: parquet if the name ends so, else CSV.

    Raises:
        UserError: It cannot be written.
    """
    with whole(path) as partial:
        if path.suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False)


def write_columns(
    columns: "Mapping[str, NDArray[Any]]", path: Path, *, units: "Mapping[str, str] | None" = None
) -> None:
    """Write columns of text or floating-point numbers as :func:`write_table` writes them, byte for byte.

    CSV needs no pandas, whose import takes longer than a few predictions. Units, if there are any, are kept
    where the columnar format of crystals has them; not in CSV.

    Raises:
        UserError: It cannot be written.
    """
    if path.suffix == ".parquet":
        import pandas as pd

        table = pd.DataFrame(columns)
        if not units:
            write_table(table, path)
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        content = pa.Table.from_pandas(table, preserve_index=False)
        note = {"tlzoo": json.dumps({"units": dict(units)})}
        with whole(path) as partial:
            pq.write_table(content.replace_schema_metadata({**content.schema.metadata, **note}), partial)
        return
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        write_csv(columns, file, end=os.linesep)


def write_csv(columns: "Mapping[str, NDArray[Any]]", file: TextIO, *, end: str = "\n") -> None:
    """Write columns to an open file as CSV, each line with that end."""
    lines = csv.writer(file, lineterminator=end)
    lines.writerow(columns)
    for start in range(0, len(next(iter(columns.values()))), ROWS):
        some = [values[start : start + ROWS] for values in columns.values()]
        lines.writerows(zip(*map(_texts, some), strict=True))


def _texts(values: "NDArray[Any]") -> "list[str]":
    if values.dtype == object:
        return list(values)
    return ["" if text == "nan" else text for text in values.astype(str)]


def read_table(path: Path) -> "pd.DataFrame":
    """Read a table that :func:`write_table` wrote; ids stay text, also such as ``007`` or ``NA``."""
    import pandas as pd

    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, dtype={"id": str}, keep_default_na=False, na_values=[""])
