"""The descriptors of a chunk of crystals; no torch in here: worker processes start fast and stay small."""

from __future__ import annotations

from typing import Final

import numpy as np

from tlzoo.crystals import SYMBOLS, symbol
from tlzoo.descriptors import composition, structure
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.element_properties import covered
from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.neighbours import Cells, all_within
from tlzoo.graphs.workers import Product


def names(options: DescriptorOptions) -> list[str]:
    """Name the descriptors in their order: composition, then structure."""
    return [
        *(composition.names() if options.composition else []),
        *(structure.names() if options.structure else []),
    ]


def descriptors_of(cells: Cells, options: DescriptorOptions) -> Chunk:
    """Return the descriptors of crystals as one array ``values``, ``(crystals, descriptors)`` float32.

    Crystals that have none are named in ``problems``: an element is not covered or, for the structure, the
    cell is flat or not finite, an atom has no neighbour within 8 Å, two atoms are in one place.
    """
    problems = _uncovered(cells)
    good = np.ones(len(cells.num_atoms), dtype=bool)
    good[list(problems)] = False
    rows = np.flatnonzero(good)
    cells = cells.keep(good)
    parts = []
    if options.structure:
        cells, pairs, wrong = all_within(cells, structure.SPAN, structure.CUTOFF)
        problems |= {int(rows[row]): text for row, text in wrong.items()}
        parts.append(structure.structure(cells, pairs))
    if options.composition:
        parts.insert(0, composition.composition(cells))
    values = np.concatenate(parts, axis=1).astype(np.float32)
    return Chunk(
        np.empty((0, len(values)), dtype=np.int64), {"values": values}, dict(sorted(problems.items()))
    )


def _uncovered(cells: Cells) -> dict[int, str]:
    """Say of each crystal with elements that are not covered which these are."""
    known = covered()
    good = np.zeros(256, dtype=bool)
    good[: len(known)] = known
    strange = ~good[cells.numbers]
    crystal = np.repeat(np.arange(len(cells.num_atoms)), cells.num_atoms)
    last = SYMBOLS[int(np.flatnonzero(known)[-1])]
    problems = {}
    for row in np.unique(crystal[strange]).tolist():
        names = ", ".join(map(symbol, np.unique(cells.numbers[strange & (crystal == row)]).tolist()))
        problems[row] = f"there are no descriptors of {names}; they cover H to {last}: leave this crystal out"
    return problems


# What networks on descriptors read.
DESCRIPTORS: Final = Product(
    "descriptors", descriptors_of, DescriptorOptions, "tlzoo.descriptors.descriptor_workers"
)
