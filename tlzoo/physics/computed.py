"""Physics of many crystals: computed once, kept by content, going on where it was interrupted."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.descriptors.physics_options import PhysicsOptions
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.workers import NoGraphError, Workers, worker_count
from tlzoo.machine.progress import bar
from tlzoo.physics.database import content
from tlzoo.physics.physics_chunk import KINDS, TOGETHER, each, opened, physics_of

NAMES: Final = "phonons:POTENTIAL, elastic:POTENTIAL"


def computed(
    crystals: Crystals,
    name: str,
    *,
    cache_dir: Path | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return what describes the lattice dynamics or elasticity of crystals, ``(crystals,)`` each, by name.

    Names, units and meaning: :mod:`tlzoo.physics.phonons`, :mod:`tlzoo.physics.elasticity`.

    Args:
        crystals: Crystals, as they are: nothing is relaxed.
        name: What, with which potential: ``phonons:sevennet-0``, ``elastic:chgnet`` …
        cache_dir: Where results are kept; None is ``$TLZOO_CACHE``, else the user's cache folder.
        progress: Show a progress bar, on a terminal.
        workers: Processes that compute; None is ``$TLZOO_WORKERS``, else one per usable core.

    Raises:
        NoGraphError: Of some crystals it cannot be computed; all such are listed, the others are kept.
        UserError: There is no such thing, a package is missing, or a process was killed.
    """
    options = PhysicsOptions.named(name, str(cache_dir or ""))
    if problems := fill(crystals, options, progress=progress, workers=workers):
        raise NoGraphError(crystals, problems, KINDS[options.kind].product)
    values = physics_of(cells_of(crystals, 0, len(crystals)), options).arrays["values"].astype(np.float64)
    return dict(zip(options.units, values.T, strict=True))


def fill(
    crystals: Crystals, options: PhysicsOptions, *, progress: bool = True, workers: int | None = None
) -> dict[int, str]:
    """Compute what is not kept yet, and say by row why it cannot be computed; arguments as above."""
    kind, database = KINDS[options.kind], opened(options)
    keys = [content(cell) for cell in each(cells_of(crystals, 0, len(crystals)))]
    known = database.known(kind.label)
    missing = {key: row for row, key in enumerate(keys) if key not in known}
    rows = np.array(list(missing.values()), dtype=np.int64)
    # a few at a time, so that the processes end together
    starts = range(0, len(rows), TOGETHER)
    parts = [crystals.select(rows[start : start + TOGETHER]) for start in starts]
    cells = (cells_of(part, 0, len(part)) for part in parts)
    count = min(worker_count(workers), len(parts))
    shown = bar(len(rows), f"{options.kind}:{options.potential}", hidden=not progress)
    problems: dict[str, str] = {}
    with shown, Workers(count, options, kind.product) if count > 1 else nullcontext() as pool:
        chunks = pool.map(cells) if pool else (physics_of(some, options) for some in cells)
        for start, part, chunk in zip(starts, parts, chunks, strict=True):
            problems |= {keys[rows[start + row]]: text for row, text in chunk.problems.items()}
            shown.update(len(part))
    return {row: problems[key] for row, key in enumerate(keys) if key in problems}
