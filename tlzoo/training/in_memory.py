"""Crystals that are in memory, kept in the run directory: the run is repeated and measured like any other."""

from pathlib import Path
from typing import Any

from tlzoo.crystals import Crystals
from tlzoo.errors import UserError

Table = Any

FILE = "crystals.parquet"


def stored(data: Table, folder: str | Path) -> str:
    """Write crystals into a run directory, and return the path, for ``data.source``.

    Raises:
        UserError: The directory holds other crystals, or cannot be written.
    """
    path = Path(folder) / FILE
    new = path.with_name(f"new-{FILE}")
    (data if isinstance(data, Crystals) else Crystals.from_structures(data)).write_parquet(new)
    if path.exists() and path.read_bytes() != new.read_bytes():
        new.unlink()
        raise UserError(
            f"{path} holds other crystals than were given: choose another run_dir, or delete that one"
        )
    new.replace(path)
    return str(path)
