"""The graphs of a chunk of crystals; no torch in here, so that worker processes start fast and stay small."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.graphs.conventions import bonded
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.merge import merge
from tlzoo.graphs.neighbours import Cells


class Chunk(NamedTuple):
    """The graphs of consecutive crystals, and what is wrong with those that have none.

    Attributes:
        sizes: Atoms, bonds and angles of each graph and atoms of its cell, ``(4, crystals)``.
        arrays: The other arrays of :class:`tlzoo.graphs.graph_store.GraphStore` by name.
        problems: Why there is no graph, by row of the chunk.
    """

    sizes: NDArray[np.int64]
    arrays: dict[str, NDArray[Any]]
    problems: dict[int, str]


def cells_of(crystals: Crystals, start: int, stop: int) -> Cells:
    """Return the structures from start to stop, without a copy."""
    atoms = slice(crystals.offsets[start], crystals.offsets[stop])
    return Cells(
        crystals.lattice[start:stop],
        np.diff(crystals.offsets[start : stop + 1]),
        crystals.numbers[atoms],
        crystals.frac_coords[atoms],
    )


def graphs_of(cells: Cells, options: GraphOptions) -> Chunk:
    """Return the graphs of crystals; a pure function, to be called in any process."""
    good, bonds, problems = bonded(cells, options)
    tolerance = options.merge_tolerance
    itself = options.rule != "alignn"  # a node of DGL's line graph is no neighbour of itself
    made = merge(good, bonds, tolerance, angles=options.angles, degree=options.degree, itself=itself)
    graphs = made._asdict()
    sizes = np.stack([graphs.pop(name) for name in ("num_atoms", "num_bonds", "num_angles", "num_sites")])
    return Chunk(sizes, {name: smallest(values) for name, values in graphs.items()}, problems)


def smallest(values: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers in the smallest unsigned type that holds them; others as they are."""
    if values.dtype.kind != "i":
        return values
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))
