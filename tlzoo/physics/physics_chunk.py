"""The physics of a chunk of crystals, computed or read, in whatever process."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.descriptors.physics_options import PhysicsOptions
from tlzoo.graphs.cache import default_dir
from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.neighbours import Cells
from tlzoo.graphs.vectors import unknown
from tlzoo.graphs.workers import Product
from tlzoo.physics import elasticity, force_constants, phonons, strains
from tlzoo.physics.database import Database, content
from tlzoo.physics.frames import Computation, together
from tlzoo.physics.potentials import package, potential
from tlzoo.physics.primitive import Cell

RAW: Final = "responses"

# Crystals whose copies share batches: more fill them no better, and are lost if the process is killed.
TOGETHER: Final = 8


class Kind(NamedTuple):
    """What can be computed.

    Attributes:
        product: What workers make.
        version: Of what is computed with the potential.
        compute: Does so, for a crystal and a cut-off in Å.
        described: Version of the numbers that describe it.
        describe: Makes them.
    """

    product: Product
    version: int
    compute: Callable[[Cell, float], Computation]
    described: int
    describe: Callable[[Mapping[str, Any]], NDArray[np.float64]]

    @property
    def label(self) -> str:
        """Under which descriptors are kept."""
        return f"descriptors {self.described}"


def physics_of(cells: Cells, options: PhysicsOptions) -> Chunk:
    """Return descriptors of crystals as one array ``values``, ``(crystals, descriptors)`` float32.

    They are kept in the database, as is what the potential says, and read where they are there. Crystals of
    which it cannot be computed are named in ``problems``.
    """
    kind, database = KINDS[options.kind], opened(options)
    found: list[NDArray[np.float64] | str] = []
    crystals = each(cells)
    for start in range(0, len(crystals), TOGETHER):
        found += _described(crystals[start : start + TOGETHER], kind, database, options.potential)
    values = np.array([row for row in found if not isinstance(row, str)], dtype=np.float32)
    problems = {row: text for row, text in enumerate(found) if isinstance(text, str)}
    sizes = np.empty((0, len(values)), dtype=np.int64)
    return Chunk(sizes, {"values": values.reshape(-1, len(options.units))}, problems)


def _described(
    crystals: Sequence[Cell], kind: Kind, database: Database, name: str
) -> list[NDArray[np.float64] | str]:
    """Return the descriptors of crystals, or why there are none."""
    keys = [content(cell) for cell in crystals]
    raw = {key: known for key in keys if (known := database.get(key, RAW)) is not None}
    missing = {key: cell for key, cell in zip(keys, crystals, strict=True) if key not in raw}
    wrong: dict[str, str] = {}
    # what libraries warn of is dealt with here
    with warnings.catch_warnings(action="ignore"):
        if missing:
            network = potential(name)
            strange = {key: unknown(cell.numbers, network.graph.elements) for key, cell in missing.items()}
            wrong = {key: text for key, text in strange.items() if text}
            known_cells = {key: cell for key, cell in missing.items() if key not in wrong}
            results = together(
                [kind.compute(cell, network.graph.cutoff) for cell in known_cells.values()], network
            )
            for key, result in zip(known_cells, results, strict=True):
                if isinstance(result, str):
                    wrong[key] = result
                else:
                    database.put(key, RAW, result)
                    raw[key] = {part: np.asarray(values) for part, values in result.items()}
        for key, known in raw.items():
            if database.get(key, kind.label) is None:
                database.put(key, kind.label, {"values": kind.describe(known)})
    return [wrong[key] if key in wrong else database.get(key, kind.label)["values"] for key in keys]  # type: ignore[index]


@cache
def opened(options: PhysicsOptions) -> Database:
    """Return where results are kept.

    Raises:
        UserError: There is no such potential, or the file cannot be written.
    """
    version, sha256 = KINDS[options.kind].version, package(options.potential).sha256
    folder = Path(options.cache_dir) if options.cache_dir else default_dir()
    return Database(folder / "physics" / f"{options.kind}-{version}-{options.potential}-{sha256[:12]}.sqlite")


def version(options: PhysicsOptions) -> str:
    """Return what numbers depend on: how they are computed and described, and with which weights.

    Raises:
        UserError: There is no such potential, or its package is missing.
    """
    kind = KINDS[options.kind]
    return f"{kind.version}.{kind.described}-{package(options.potential).sha256[:12]}"


def each(cells: Cells) -> list[Cell]:
    """Return crystals one by one."""
    ends = np.cumsum(cells.num_atoms)[:-1]
    parts = zip(cells.lattice, np.split(cells.frac_coords, ends), np.split(cells.numbers, ends), strict=True)
    return [Cell(*part) for part in parts]


def _product(noun: str) -> Product:
    return Product(noun, physics_of, PhysicsOptions, "tlzoo.physics.physics_workers")


KINDS: Final = {
    "phonons": Kind(
        _product("phonons"),
        force_constants.VERSION,
        force_constants.force_constants,
        phonons.VERSION,
        phonons.describe,
    ),
    "elastic": Kind(
        _product("elastic constants"),
        strains.VERSION,
        strains.strain_response,
        elasticity.VERSION,
        elasticity.describe,
    ),
}
