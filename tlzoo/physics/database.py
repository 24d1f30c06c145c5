"""What was computed, a row per crystal in a file of SQLite: written at once, read by several processes."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError
from tlzoo.physics.primitive import Cell

# Seconds that a process waits for another one to write its row.
PATIENCE = 60.0

TABLE = """CREATE TABLE IF NOT EXISTS computed
(crystal TEXT, what TEXT, arrays BLOB, PRIMARY KEY (crystal, what)) WITHOUT ROWID"""


def content(cell: Cell) -> str:
    """Return the SHA-256 of a crystal, in hexadecimal."""
    digest = hashlib.sha256()
    for array in (cell.lattice, cell.frac_coords, cell.numbers):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Database:
    """Named arrays by crystal and by what they are.

    Args:
        path: The file, made if it is not there.

    Raises:
        UserError: It cannot be read or written, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._explained(error) from error
        with self._open() as connection:
            connection.execute(TABLE)

    def get(self, crystal: str, what: str) -> dict[str, NDArray[Any]] | None:
        """Return what was computed of a crystal, or None."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT arrays FROM computed WHERE crystal = ? AND what = ?", (crystal, what)
            ).fetchone()
        if row is None:
            return None
        try:
            with np.load(io.BytesIO(row[0]), allow_pickle=False) as arrays:
                return dict(arrays)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise self._explained(error) from error

    def known(self, what: str) -> set[str]:
        """Return the crystals of which something was computed."""
        with self._open() as connection:
            return {
                row[0] for row in connection.execute("SELECT crystal FROM computed WHERE what = ?", (what,))
            }

    def put(self, crystal: str, what: str, arrays: Mapping[str, Any]) -> None:
        """Keep arrays; those of the same name are replaced."""
        file = io.BytesIO()
        np.savez(file, **arrays)
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO computed VALUES (?, ?, ?)", (crystal, what, file.getvalue())
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE)) as connection, connection:
                yield connection
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> UserError:
        return UserError(
            f"{self.path}: {error}; delete it if it is damaged, "
            "or set TLZOO_CACHE to a folder that can be written"
        )
