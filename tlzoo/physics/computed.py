"""Physics of many crystals as columns: computed once, kept by content, going on where it was interrupted."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tlzoo.crystals import Crystals
from tlzoo.errors import UserError, no_such
from tlzoo.graphs import cache
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.workers import NoGraphError, Workers, worker_count
from tlzoo.physics.database import Database, content
from tlzoo.physics.physics_chunk import KINDS, each, physics_of, product
from tlzoo.physics.physics_options import PhysicsOptions
from tlzoo.physics.potentials import weights

# Crystals that are computed at a time: what is lost if the program is killed.
CHUNK: Final = 8


def computed(
    crystals: Crystals,
    name: str,
    *,
    cache_dir: Path | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return columns of descriptors, ``(crystals,)`` each, by name.

    Args:
        crystals: Crystals.
        name: What, with which potential: ``phonons:sevennet-0``, ``elastic:chgnet`` …
        cache_dir: Where results are kept; None is ``$TLZOO_CACHE``, else the user's cache folder.
        progress: Show a progress bar, on a terminal.
        workers: Processes that compute; None is ``$TLZOO_WORKERS``, else one per usable core.

    Raises:
        NoGraphError: Of some crystals it cannot be computed; all such are listed.
        UserError: There is no such thing, a package is missing, or a process was killed.
    """
    what, _, potential = name.partition(":")
    if what not in KINDS:
        raise UserError(no_such("kind of physics", what, KINDS))
    kind, known = KINDS[what], weights(potential)
    file = f"{what}-{kind.version}-{potential}-{known.sha256[:12]}.sqlite"
    path = (cache_dir or cache.default_dir()) / "physics" / file
    database, label = Database(path), f"descriptors-{kind.described}"
    keys = [content(cell) for cell in each(cells_of(crystals, 0, len(crystals)))]
    values: dict[str, NDArray[np.float64]] = {}
    missing: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key not in values and key not in missing:
            if (found := database.get(key, label)) is None:
                missing[key] = row
            else:
                values[key] = found["values"]
    rows = np.array(list(missing.values()), dtype=np.int64)
    problems: dict[str, str] = {}
    options = PhysicsOptions(what, potential, str(path))
    starts = range(0, len(rows), CHUNK)
    some = [crystals.select(rows[start : start + CHUNK]) for start in starts]
    cells = (cells_of(part, 0, len(part)) for part in some)
    count = min(worker_count(workers), len(some))
    hidden = None if progress else True
    bar = tqdm(total=len(keys), initial=len(keys) - len(rows), desc=name, unit=" crystals", disable=hidden)
    with bar, Workers(count, options, product(what)) if count > 1 else nullcontext() as pool:
        chunks = pool.map(cells) if pool else (physics_of(part, options) for part in cells)
        for start, chunk in zip(starts, chunks, strict=True):
            part = [keys[row] for row in rows[start : start + CHUNK]]
            problems |= {part[row]: text for row, text in chunk.problems.items()}
            good = [key for key in part if key not in problems]
            for key, row in zip(good, chunk.arrays["values"], strict=True):
                database.put(key, label, {"values": row})
                values[key] = row
            bar.update(len(part))
    if problems:
        wrong = {row: problems[key] for row, key in enumerate(keys) if key in problems}
        raise NoGraphError(crystals, wrong, product(what))
    table = np.array([values[key] for key in keys]).reshape(-1, len(kind.columns))
    return dict(zip(kind.columns, table.T, strict=True))
