"""The formulas of a chunk of crystals; no torch in here: worker processes start fast and stay small."""

from __future__ import annotations

from typing import Final

import numpy as np

from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.graphs.graph_chunk import Chunk, smallest
from tlzoo.graphs.neighbours import Cells
from tlzoo.graphs.workers import Product


def formulas_of(cells: Cells, options: FormulaOptions) -> Chunk:  # noqa: ARG001 (as of the other products)
    """Return the elements of the reduced formulas, ascending in Z, with the atoms of each.

    A row is an element of a crystal; structures are not looked at, so that there need not be any.
    """
    size = len(cells.num_atoms)
    crystal = np.repeat(np.arange(size), cells.num_atoms)
    found, count = np.unique(crystal << 8 | cells.numbers, return_counts=True)
    crystal, number = found >> 8, found & 0xFF
    first = np.searchsorted(crystal, np.arange(size))
    if size:
        count //= np.gcd.reduceat(count, first)[crystal]
    sizes = np.bincount(crystal, minlength=size)[None]
    return Chunk(sizes, {"numbers": number.astype(np.uint8), "count": smallest(count)}, {})


# What networks read that know the formula alone.
FORMULAS: Final = Product("formulas", formulas_of, FormulaOptions, "tlzoo.graphs.formula_workers")
