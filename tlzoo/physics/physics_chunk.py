"""The physics of a chunk of crystals, computed or read, in whatever process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.neighbours import Cells
from tlzoo.graphs.workers import Product
from tlzoo.physics import elasticity, force_constants, phonons, strains
from tlzoo.physics.database import Database, content
from tlzoo.physics.frames import Computation, together
from tlzoo.physics.physics_options import PhysicsOptions
from tlzoo.physics.potentials import potential
from tlzoo.physics.primitive import Cell

RAW: Final = "responses"


class Kind(NamedTuple):
    """What can be computed.

    Attributes:
        noun: For messages and the progress bar.
        version: Of what is computed with the potential.
        compute: Does so, for a crystal and a cut-off in Å.
        described: Version of the numbers that describe it.
        columns: Their names.
        describe: Makes them.
    """

    noun: str
    version: int
    compute: Callable[[Cell, float], Computation]
    described: int
    columns: tuple[str, ...]
    describe: Callable[[Mapping[str, Any]], NDArray[np.float64]]


KINDS: Final = {
    "phonons": Kind(
        "phonons",
        force_constants.VERSION,
        force_constants.force_constants,
        phonons.VERSION,
        tuple(phonons.UNITS),
        phonons.describe,
    ),
    "elastic": Kind(
        "elastic constants",
        strains.VERSION,
        strains.strain_response,
        elasticity.VERSION,
        tuple(elasticity.UNITS),
        elasticity.describe,
    ),
}


def physics_of(cells: Cells, options: PhysicsOptions) -> Chunk:
    """Return descriptors of crystals as one array ``values``, ``(crystals, descriptors)`` float64.

    What the potential says is kept in the database, and read where it is there. Crystals of which it cannot
    be computed are named in ``problems``.
    """
    kind, database = KINDS[options.kind], Database(Path(options.database))
    crystals = list(each(cells))
    found: dict[int, Mapping[str, Any] | str] = {}
    for row, cell in enumerate(crystals):
        if (known := database.get(content(cell), RAW)) is not None:
            found[row] = known
    missing = [row for row in range(len(crystals)) if row not in found]
    if missing:
        network = potential(options.potential)
        with warnings.catch_warnings():
            # what libraries warn of is dealt with here
            warnings.simplefilter("ignore")
            results = together([kind.compute(crystals[row], network.graph.cutoff) for row in missing], network)
        for row, result in zip(missing, results, strict=True):
            found[row] = result
            if not isinstance(result, str):
                database.put(content(crystals[row]), RAW, result)
    values, problems = [], {}
    for row in range(len(crystals)):
        result = found[row]
        if isinstance(result, str):
            problems[row] = result
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values.append(kind.describe(result))
    array = np.array(values).reshape(-1, len(kind.columns))
    return Chunk(np.empty((0, len(array)), dtype=np.int64), {"values": array}, problems)


def each(cells: Cells) -> list[Cell]:
    """Return crystals one by one."""
    ends = np.cumsum(cells.num_atoms)
    coords = np.split(cells.frac_coords, ends[:-1])
    numbers = np.split(cells.numbers, ends[:-1])
    return [Cell(*parts) for parts in zip(cells.lattice, coords, numbers, strict=True)]


def product(kind: str) -> Product:
    """Return what workers make."""
    return Product(KINDS[kind].noun, physics_of, PhysicsOptions, "tlzoo.physics.physics_workers")
