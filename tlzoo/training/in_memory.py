"""Crystals that are in memory, kept in the run directory: the run is repeated and measured like any other."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tlzoo.data.intake import crystals_from
from tlzoo.errors import UserError
from tlzoo.machine.remarks import told
from tlzoo.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from pymatgen.core import Structure

    from tlzoo.crystals import Crystals

    Table: TypeAlias = Crystals | pd.DataFrame | Sequence[Structure]
else:
    Table = Any  # neither pandas nor pymatgen is imported for it

FILE = "crystals.parquet"


def contents(data: Table) -> str:
    """Return the SHA-256 of crystals in memory: structures, ids and columns."""
    crystals = crystals_from(data)
    facts = [list(map(str, crystals.ids)), {key: list(map(str, v)) for key, v in crystals.columns.items()}]
    return hashlib.sha256(f"{crystals.content_hash} {json.dumps(facts)}".encode()).hexdigest()


@contextmanager
def kept(data: Table, folder: str | Path) -> Iterator[str]:
    """Write crystals as :func:`stored` does, for what follows; if nothing comes of that they go again.

    What was refused leaves no directory: neither that of the run, if no training has begun in it, nor those
    above that were made for it.
    """
    place = Path(folder)
    made = [each for each in (place, *place.parents) if not each.exists()]
    try:
        yield stored(data, place)
    except BaseException:
        if made and place.is_dir() and not _begun(place):
            shutil.rmtree(place, ignore_errors=True)
            for each in made[1:]:
                with suppress(OSError):  # it is not empty
                    each.rmdir()
        raise


def _begun(folder: Path) -> bool:
    """Whether there is more in a run directory than what was asked."""
    return (folder / "config.yaml").exists() or any(each.is_dir() for each in folder.iterdir())


def stored(data: Table, folder: str | Path) -> str:
    """Write crystals into a run directory, and return the path, for ``data.source``.

    Args:
        data: What :func:`~tlzoo.data.intake.crystals_from` takes: a table of crystals, a data frame with a
            column of structures, or structures whose ``properties`` are the labels.
        folder: The run directory.

    Raises:
        UserError: The directory holds other crystals, or cannot be written.
    """
    run = Run(Path(folder))
    run.check()
    crystals = crystals_from(data)
    path = Path(folder) / FILE
    new = path.with_name(f"new-{FILE}")
    with run.held():
        crystals.write_parquet(new)
        if path.exists() and path.read_bytes() != new.read_bytes():
            new.unlink()
            raise UserError(
                f"{path} holds other crystals than were given: choose another run_dir, or delete that one"
            )
        new.replace(path)
        told(str(path))
    return str(path)
