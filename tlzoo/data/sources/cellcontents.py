"""What a CIF says of the contents of its cell, besides the sites: formula, Z, density."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from tlzoo.data.sources.cifblocks import Block, known_number

if TYPE_CHECKING:
    from tlzoo.data.sources.unitcells import Cell

FORMULAS = ("_chemical_formula_sum", "_chemical_formula_structural")
STOICHIOMETRY = 0.01  # formula units, as in pymatgen
DENSITY = 0.1  # of the density in the file; settings differ by a third at least


class Contents(NamedTuple):
    """What a file says of the contents of its cell, besides the sites.

    Attributes:
        tag: Where the formula stands.
        formula: Atoms by element of the formula.
        other: The same of a second formula, which may be what Z counts.
        units: Formula units in a cell.
        density: In g/cm³.
    """

    tag: str
    formula: Mapping[str, float] | None
    other: Mapping[str, float] | None
    units: float | None
    density: float | None

    @property
    def tells_size(self) -> bool:
        """Whether the number of atoms follows: from the density, or from formula and Z."""
        return self.density is not None or (self.units is not None and self.formula is not None)

    def wrong_formula(self, crystal: Cell) -> str:
        """What is wrong with a crystal by the formula, if anything."""
        if self.formula is None:
            return ""
        counts = crystal.counts()
        both = f"({_written(counts)} against {_written(self.formula)})"
        rest = (
            "sites are missing, perhaps the file was cut off; complete the sites, or remove that line if the "
            "sites are right"
        )
        if counts.keys() != self.formula.keys():
            return f"its atom sites and its {self.tag} have different elements {both}: {rest}"
        ratios = [counts[element] / amount for element, amount in self.formula.items()]
        if max(ratios) - min(ratios) >= STOICHIOMETRY:
            return f"its atom sites do not give its {self.tag} {both}: {rest}"
        return ""

    def contradictions(self, crystal: Cell) -> list[str]:
        """What a crystal has and the file says otherwise, with both values."""
        wrong = self.wrong_formula(crystal)
        found = [wrong] if wrong else []
        if self.formula and self.units and not wrong:
            atoms = sum(crystal.counts().values())
            divisor = math.gcd(*(round(amount) for amount in self.formula.values())) or 1
            sizes = {sum(f.values()) for f in (self.formula, self.other) if f}
            sizes.add(sum(self.formula.values()) / divisor)
            if all(abs(atoms - self.units * size) > STOICHIOMETRY * atoms for size in sizes):
                count = atoms / sum(self.formula.values())
                text = f"its cell holds {count:g} × {_written(self.formula)} ({self.tag})"
                found.append(f"{text} where _cell_formula_units_Z is {self.units:g}")
        if self.density and abs(crystal.density() / self.density - 1) > DENSITY:
            text = f"its cell has {crystal.density():.2f} g/cm³, its _exptl_crystal_density_diffrn is"
            found.append(f"{text} {self.density:g}")
        return found


def contents_of(block: Block) -> Contents:
    """What a block says."""
    formulas = [(tag, formula_of(block.value(tag))) for tag in FORMULAS]
    known = [(tag, formula) for tag, formula in formulas if formula]
    density = known_number(block.value("_exptl_crystal_density_diffrn"))
    if density and density > 30:  # kg/m³; nothing is denser than osmium, 22.6 g/cm³
        density /= 1000
    tag, formula = known[0] if known else ("", None)
    return Contents(
        tag,
        formula,
        known[-1][1] if known else None,
        known_number(block.value("_cell_formula_units_z")),
        density,
    )


def formula_of(text: str) -> dict[str, float] | None:
    """Atoms by element of a formula, deuterium as hydrogen; None if it is none."""
    from pymatgen.core import Composition

    try:
        found = Composition(text).remove_charges() if text else None
    except ValueError:
        return None
    if not found:
        return None
    counts: Counter[str] = Counter()
    for element, amount in found.items():
        counts["H" if element.symbol in {"D", "T"} else element.symbol] += amount
    return dict(counts)


def _written(counts: Mapping[str, float]) -> str:
    return " ".join(f"{element}{amount:g}" for element, amount in counts.items())
