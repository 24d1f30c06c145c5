"""How many atoms a cell may have."""

from typing import Final

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.data.sources.problems import Place, Problem

# The largest cell that a checkpoint has learned from has 444 atoms. Symmetry makes 38,000 atoms of a file of
# 12 kB, whose distances alone take 32 GB; of 5,000 they take 0.6 GB.
MOST_ATOMS: Final = 5000


def too_large(atoms: int) -> str:
    """Say that a cell has too many atoms; empty if it has not.

    >>> too_large(5000), too_large(38400)
    ('', '38,400 atoms in its cell, at most 5,000 are taken: give a smaller cell')
    """
    if atoms <= MOST_ATOMS:
        return ""
    return f"{atoms:,} atoms in its cell, at most {MOST_ATOMS:,} are taken: give a smaller cell"


def large_cells(crystals: Crystals) -> dict[int, Problem]:
    """Return an error for each crystal with too many atoms, by row; a formula alone has no distances."""
    return {
        row: Problem(Place(crystals.origin(row)), "too large", f"has {text}")
        for row, atoms in enumerate(np.where(crystals.structured, crystals.num_atoms, 0).tolist())
        if (text := too_large(atoms))
    }
