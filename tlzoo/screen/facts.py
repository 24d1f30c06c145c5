"""What is known of crystals without any model: composition, density, network of bonds, space group."""

import warnings
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import all_neighbours
from tlzoo.nn.elements import properties

Rows = NDArray[np.int64]
Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

NUMBERS: Final = 256  # atomic numbers that a table of crystals can hold
DALTON: Final = 1.66053907  # g/cm³ of one u per Å³
# Of a four-fold coordinated network: how much longer the longest of the four bonds may be than the shortest,
# how much farther the fifth neighbour is at least, and the mean of (cos θ + 1/3)² at most. The last is 0
# for a tetrahedron and 0.22 for a square.
SPREAD: Final = 1.25
GAP: Final = 1.2
BENT: Final = 0.08
SYMPREC: Final = 0.01  # Å


class Facts:
    """Facts of a table of crystals, computed when first asked for.

    Attributes:
        unknown: Why something cannot be told of a crystal, by row; filled by what was asked for.
    """

    def __init__(self, crystals: Crystals) -> None:
        self.crystals = crystals
        self.unknown: dict[int, str] = {}

    def select(self, rows: Rows) -> "Facts":
        """Return the facts of some crystals; their formulas are not made again."""
        some = Facts(self.crystals.select(rows))
        some.formulas = self.formulas[rows]
        return some

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Atoms of each atomic number, ``(crystals, 256)``."""
        row = np.repeat(np.arange(len(self.crystals)), self.crystals.num_atoms)
        place = row * NUMBERS + self.crystals.numbers
        counts: NDArray[np.int64] = np.bincount(place, minlength=len(self.crystals) * NUMBERS)
        return counts.reshape(-1, NUMBERS)

    @property
    def nelements(self) -> Values:
        """Different elements, ``(crystals,)``."""
        count: Values = (self.counts > 0).sum(axis=1).astype(np.float64)
        return count

    @cached_property
    def volume_per_atom(self) -> Values:
        """Volume of the cell over its atoms, Å³, ``(crystals,)``; NaN if the cell is none."""
        volume = np.abs(np.linalg.det(np.nan_to_num(self.crystals.lattice))) / self.crystals.num_atoms
        found: Values = np.where(volume > 0, volume, np.nan)
        for row in np.flatnonzero(np.isnan(found)).tolist():
            self.unknown[row] = "the cell is flat or not finite"
        return found

    @property
    def density(self) -> Values:
        """Mass over volume, g/cm³, ``(crystals,)``."""
        mass = np.add.reduceat(_masses()[self.crystals.numbers], self.crystals.offsets[:-1])
        return DALTON * mass / self.crystals.num_atoms / self.volume_per_atom

    @cached_property
    def formulas(self) -> NDArray[np.object_]:
        """Reduced formulas with the less electronegative elements first, ``(crystals,)``: ``BaTiO3``."""
        return np.array([formula(parts) for parts in self.crystals.compositions()], dtype=object)

    def diamond_like(self, rows: Rows) -> Flags:
        """Whether every atom has four neighbours around it, at about one distance, towards a tetrahedron.

        So it is in diamond, zinc blende, wurtzite, chalcopyrite and their kin.
        """
        some = self.crystals.select(rows)
        found = np.zeros(len(rows), dtype=bool)
        options = GraphOptions(neighbours=5)
        cells, bonds, problems = all_neighbours(cells_of(some, 0, len(some)), options)
        self.unknown |= {int(rows[row]): text for row, text in problems.items()}
        good = np.setdiff1d(np.arange(len(rows)), list(problems))
        if not len(good):
            return found
        first = np.searchsorted(bonds.target, np.arange(len(cells.numbers) + 1))
        count = np.diff(first)
        # an atom with fewer neighbours gets its last ones repeated, and is left out below
        places = first[:-1, None] + np.minimum(np.arange(5), count[:, None] - 1)
        length = bonds.length[places]
        fifth = np.where(count > 4, length[:, 4], np.inf)
        towards = bonds.vector[places[:, :4]] / length[:, :4, None]
        one, other = np.triu_indices(4, k=1)
        cosine = (towards[:, one] * towards[:, other]).sum(axis=2)
        fits = (count >= 4) & (length[:, 3] <= SPREAD * length[:, 0]) & (fifth >= GAP * length[:, 3])
        fits &= np.square(cosine + 1 / 3).mean(axis=1) <= BENT
        found[good] = np.logical_and.reduceat(fits, np.cumsum(cells.num_atoms) - cells.num_atoms)
        return found

    def spacegroup(self, rows: Rows) -> Values:
        """Number of the space group by spglib, tolerance 0.01 Å, ``(rows,)``; some ms each; NaN if none."""
        numbers = np.full(len(rows), np.nan)
        for place, row in enumerate(rows.tolist()):
            if (found := analysed(self.crystals, row)) is None:
                self.unknown[row] = "spglib finds no space group"
            else:
                numbers[place] = found.get_space_group_number()
        return numbers


def analysed(crystals: Crystals, row: int) -> Any:  # noqa: ANN401 (pymatgen has no types)
    """Return pymatgen's analysis by spglib, tolerance 0.01 Å; None if that finds no space group."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = SpacegroupAnalyzer(crystals.structure(row), symprec=SYMPREC)
            return found if found.get_space_group_number() else None
        except (SymmetryUndeterminedError, ValueError, TypeError):
            return None


def formula(parts: Sequence[tuple[int, int]]) -> str:
    """Return the formula of a composition: atomic numbers and how many atoms of each.

    >>> formula([(8, 3), (22, 1), (56, 1)])
    'BaTiO3'
    """
    ordered = sorted(parts, key=lambda part: (_negativity(part[0]), part[0]))
    return "".join(f"{symbol(z)}{n if n > 1 else ''}" for z, n in ordered)


def symbol(number: int) -> str:
    """Return the symbol of an element; ``Z0`` or the like if there is none."""
    return SYMBOLS[number] if 0 < number < len(SYMBOLS) else f"Z{number}"


@cache
def _negativity(number: int) -> float:
    text = properties().get(number, {}).get("electronegativity", "")
    return float(text) if text else 9.0


def _masses() -> Values:
    """Return the atomic weight of each atomic number, ``(256,)``; NaN where there is none."""
    from tlzoo.descriptors.element_properties import elements

    known = elements().column("atomic_weight")
    masses = np.full(NUMBERS, np.nan)
    masses[1 : len(known)] = known[1:]
    return masses
