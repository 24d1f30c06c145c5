"""Whether atoms are as near and as dense as in a solid: what a wrong unit, scale or setting leaves behind.

Distances are compared with the sum of the covalent radii of two atoms (Cordero et al., Dalton Trans. 2832,
2008), of all pairs in the cell and its images. The bounds are of 106,113 crystals of the Materials Project
whose gaps are learned from (A) and of all 155,345 of a later year (B), which holds some that nobody finished.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals, symbol
from tlzoo.descriptors.element_properties import elements
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.neighbours import CLOSEST, Bonds, Cells, all_nearer
from tlzoo.graphs.workers import CHUNK

Values = NDArray[np.float64]
Ints = NDArray[np.int64]

# Parts of the sum of the radii. The least of A is 0.612, of two plutonium atoms; 1 % are below 0.74, one in
# 10,000 below 0.65. Of B 0.15 % are below 0.6, such as vanadium 0.97 Å from oxygen.
NEAR: Final = 0.6
# The least of B is 0.319. Here the screened nuclei of any two elements repel each other with more energy than
# the strongest bond has: 12 eV or more (Ziegler, Biersack & Littmark 1985), 11 eV in CO.
TOO_NEAR: Final = 0.3
# The largest of A is 1.34, but for 12 crystals of lone atoms such as H or F; of B 1.34 but for 50. Lengths in
# bohr, read as Å, are 1.89 times too large. Atoms of noble gases are farther: 1.6 to 6.
FAR: Final = 1.5

# g/cm³. Osmium, the densest, has 22.6; the densest of A has 22.8, 4 of B have more than 23.
DENSE: Final = 23.0
# Osmium at less than half its volume, which no press has reached.
TOO_DENSE: Final = 50.0

# Å³ per atom. The least of A is 5.3 (CrH3), of B 4.4 (FeH4); diamond has 5.7.
SMALL: Final = 4.0
# Hydrogen, the smallest, has 1.1 at 500 GPa (Loubeyre et al., Nature 383, 702, 1996).
TOO_SMALL: Final = 1.0

# How far the nearest atoms are looked for, in Å, where none are near; farther there is no graph either.
HORIZON: Final = 8.0
DALTON: Final = 1.66053907  # g/cm³ of one u per Å³
NUMBERS: Final = 256  # atomic numbers that a table of crystals can hold
NOBLE: Final = (2, 10, 18, 36, 54, 86)


class Finding(NamedTuple):
    """What is strange about a crystal, by row of the table."""

    row: int
    severity: Literal["error", "warning"]
    kind: str
    text: str


class Nearest(NamedTuple):
    """The two atoms of each crystal that are nearest for their size.

    Attributes:
        part: Of the sum of their radii; infinite if none were found, ``(crystals,)``.
        length: Their distance in Å, ``(crystals,)``.
        atoms: Both, counted within the crystal, ``(2, crystals)``.
    """

    part: Values
    length: Values
    atoms: Ints


def findings(crystals: Crystals) -> Iterator[Finding]:
    """Yield what is strange about crystals, at most one thing each: errors where no solid can be.

    It takes some 0.1 ms a crystal. Wide spaces are not strange: layers and molecules have them. Of an atom
    that is given twice, and of one without neighbours, the search for neighbours tells.
    """
    for start in range(0, len(crystals), CHUNK):
        there = crystals.structured[start : start + CHUNK]
        rows = start + np.flatnonzero(there)
        cells = cells_of(crystals, start, min(start + CHUNK, len(crystals))).keep(there)
        if len(rows):
            yield from (found._replace(row=int(rows[found.row])) for found in _findings(cells))


def _findings(cells: Cells) -> Iterator[Finding]:
    first = np.cumsum(cells.num_atoms) - cells.num_atoms
    radii, masses = _radii()[cells.numbers], _masses()[cells.numbers]
    total = np.abs(np.linalg.det(np.nan_to_num(cells.lattice)))
    total[total == 0] = np.nan  # flat, or no number
    volume = total / cells.num_atoms
    density = DALTON * np.add.reduceat(masses, first) / total
    filled = 4 / 3 * np.pi * np.add.reduceat(radii**3, first) / total
    widest = 2 * np.maximum.reduceat(radii, first)
    noble = np.logical_and.reduceat(np.isin(cells.numbers, NOBLE), first)
    impossible = (density > TOO_DENSE) | (volume < TOO_SMALL)
    # what is denser would have too many neighbours to look at
    near = _nearest(cells, radii, np.where(impossible, 0, NEAR * widest))
    twice = near.length < CLOSEST
    # spheres of radii as much larger would not overlap, and could not fill more than everything
    open_ = np.isinf(near.part) & (filled < FAR**-3) & ~noble & ~impossible
    alone = open_ & (_nearest(cells, radii, np.where(open_, FAR * widest, 0)).part > FAR)
    far = _nearest(cells, radii, np.where(alone, HORIZON, 0))

    strange = (near.part < NEAR) | (density > DENSE) | (volume < SMALL)
    for row in np.flatnonzero(impossible | (strange & ~twice)).tolist():
        numbers = f"{density[row]:.3g} g/cm³, {volume[row]:.3g} Å³ per atom"
        if impossible[row]:
            text = f"{numbers}: no solid is so dense; correct the structure or leave this crystal out"
            yield Finding(row, "error", "density", text)
        elif near.part[row] < TOO_NEAR:
            text = f"{_told(cells, near, radii, first, row)}; {numbers}: no solid has atoms so near; "
            yield Finding(row, "error", "distance", f"{text}correct the structure or leave this crystal out")
        elif near.part[row] < NEAR:
            text = f"{_told(cells, near, radii, first, row)}; {numbers}: hardly any crystal has atoms so near"
            yield Finding(row, "warning", "distance", text)
        else:
            yield Finding(row, "warning", "density", f"{numbers}: hardly any crystal is so dense")
    for row in np.flatnonzero(np.isfinite(far.part)).tolist():
        text = f"{_told(cells, far, radii, first, row)}, and no others are nearer: is it written in Å?"
        yield Finding(row, "warning", "distance", text)


def _nearest(cells: Cells, radii: Values, radius: Values) -> Nearest:
    """Look for the nearest atoms within a radius in Å, ``(crystals,)``; 0 is not to look at all."""
    size = len(cells.lattice)
    found = Nearest(np.full(size, np.inf), np.full(size, np.inf), np.zeros((2, size), dtype=np.int64))
    pairs: Bonds = all_nearer(cells, radius)
    if len(pairs.length):
        part = pairs.length / (radii[pairs.target] + radii[pairs.source])
        row = np.repeat(np.arange(size), cells.num_atoms)[pairs.target]
        # of equal ones the first, whatever the rounding
        order = np.lexsort((pairs.source, pairs.target, np.round(part, 6), row))
        rows, place = np.unique(row[order], return_index=True)
        best = order[place]
        found.part[rows], found.length[rows] = part[best], pairs.length[best]
        found.atoms[:, rows] = pairs.target[best], pairs.source[best]
    return found


def _told(cells: Cells, nearest: Nearest, radii: Values, first: Ints, row: int) -> str:
    atoms = sorted(nearest.atoms[:, row].tolist())
    one, other = (f"{atom - first[row] + 1} ({symbol(int(cells.numbers[atom]))})" for atom in atoms)
    return (
        f"atoms {one} and {other} of {cells.num_atoms[row]} are {nearest.length[row]:.2f} Å apart, "
        f"{nearest.part[row]:.2f} of the sum of their radii, {radii[atoms].sum():.2f} Å"
    )


@cache
def _radii() -> Values:
    """Return the covalent radii in Å, by atomic number; NaN where there is no element, or none known."""
    return _column("covalent_radius_cordero") / 100


@cache
def _masses() -> Values:
    """Return the atomic masses in u, by atomic number."""
    return _column("atomic_weight")


def _column(name: str) -> Values:
    known = elements().column(name)[1:]
    values = np.full(NUMBERS, np.nan)
    values[1 : len(known) + 1] = known
    return values
