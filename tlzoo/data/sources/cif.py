"""From CIF text to a structure: every site accounted for, the symmetry as the file says or not at all.

The text is read by the grammar of CIF 1.1 (Hall, Allen & Brown, Acta Cryst. A47, 655, 1991), tags in any case and
with the dots of newer dictionaries. What a file leaves open is decided by what else it says, never by a default.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.data.sources import spacegroups
from tlzoo.data.sources.sitelabels import VACANCY, elements_of
from tlzoo.data.sources.spacegroups import Operations

if TYPE_CHECKING:
    from pymatgen.core import Lattice, Structure

TOKEN = re.compile(
    r"^;(?P<text>.*?)(?:^;|\Z)"
    r"|'(?P<single>[^\n]*?)'(?=\s|\Z)"
    r'|"(?P<double>[^\n]*?)"(?=\s|\Z)'
    r"|\#[^\n]*"
    r"|(?P<bare>\S+)",
    re.MULTILINE | re.DOTALL,
)
TAGS = re.compile(r"^[ \t]*(?:loop_\s+)?_[a-z]", re.MULTILINE | re.IGNORECASE)
UNKNOWN = {"", ".", "?"}
NAMES = (
    "_symmetry_space_group_name_h_m",
    "_space_group_name_h_m_alt",
    "_space_group_name_h_m",
    "_space_group_name_h_m_full",
)
HALL_SYMBOLS = ("_symmetry_space_group_name_hall", "_space_group_name_hall")
NUMBERS = ("_symmetry_int_tables_number", "_space_group_it_number")
OPERATIONS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
FORMULAS = ("_chemical_formula_sum", "_chemical_formula_structural")

SAME = 1e-4  # of a cell edge: two places are one, as in pymatgen
ROUNDED = 5e-3  # of a cell edge: what two decimals leave open
APART = 0.6  # Å; the shortest bond there is, H-H, has 0.74
FULL = 1.02  # a sum of occupancies of two decimals, such as 0.33 + 0.34 + 0.35, is still meant to be 1
STOICHIOMETRY = 0.01  # formula units, as in pymatgen
DENSITY = 0.1  # of the density in the file; settings differ by a third at least
ORDER = (
    "tlzoo needs ordered structures: choose one ordering, for example with pymatgen's "
    "OrderDisorderedStructureTransformation"
)
METRIC = 0.02  # of the edges: a measured or relaxed cell is never so far from its symmetry


class CifError(ValueError):
    """What is wrong with a CIF, with the kind that problems are counted by."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def is_cif(text: str) -> bool:
    """Whether text is CIF rather than a POSCAR, whose first line may be anything and whose second is a number."""
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip() and line.lstrip()[0] != "#"]
    return TAGS.search(text.partition("\n")[2]) is not None or (
        bool(lines)
        and lines[0].lstrip()[:5].lower() == "data_"
        and not re.match(r"\s*-?[\d.]", "".join(lines[1:2]))
    )


def read(text: str) -> Structure:
    """Return the crystal of a CIF; what is remarkable about it is a warning.

    Raises:
        CifError: It holds no crystal, several, a disordered or contradictory one, or leaves its symmetry open.
        ValueError: It is damaged.
    """
    block = _the_block(_blocks(text))
    if block.is_magnetic:
        return _magnetic(text)
    lattice, sites, facts = _lattice(block), _sites(block), _facts(block)
    operations = _listed_operations(block)
    if operations is None:
        crystal = _without_operations(block, lattice, sites, facts)
    else:
        crystal = _on_special_positions(lattice, sites, operations, facts)
        _compare(crystal, facts, block)
    _look_for_hydrogen(block, crystal, facts)
    return crystal.structure()


# ---------------------------------------------------------------------------------------------- text to blocks


@dataclass
class _Block:
    """Values by tag, in lower case, with ``_`` for every dot and dash; a single item is a column of one."""

    name: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    ragged: dict[str, str] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)

    def column(self, tag: str) -> list[str]:
        """All values of a tag, none if it is not there."""
        if tag in self.ragged:
            raise ValueError(self.ragged[tag])
        if tag in self.twice:
            raise ValueError(f"{tag} stands twice in block {self.name!r}, with different values")
        return self.columns.get(tag, [])

    def value(self, *tags: str) -> str:
        """The first known value of the tags, or nothing."""
        return next((v for tag in tags for v in self.column(tag)[:1] if v not in UNKNOWN), "")

    @property
    def is_magnetic(self) -> bool:
        return any(tag.startswith(("_space_group_symop_magn", "_space_group_magn")) for tag in self.columns)

    def add(self, tags: Sequence[str], values: Sequence[str]) -> None:
        for position, tag in enumerate(tags):
            column = list(values[position :: len(tags)])
            if self.columns.get(tag, column) != column:
                self.twice.add(tag)
            self.columns[tag] = column
        if len(values) % len(tags):
            text = f"the loop of {tags[0]} has {len(values)} values for rows of {len(tags)}"
            self.ragged |= dict.fromkeys(tags, text)


def _blocks(text: str) -> list[_Block]:
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    blocks: list[_Block] = []
    tags: list[str] = []
    values: list[str] = []
    looped = framed = False
    end = 0

    def finish() -> None:
        if tags and values and blocks:
            # An item whose value has spaces but no quotes, such as a name of a space group, is one value.
            blocks[-1].add(tags, values if looped else [" ".join(values)])
        tags.clear()
        values.clear()

    for token in TOKEN.finditer(text):
        kind = token.lastgroup
        if kind is None:
            continue
        value = token[kind]
        word = value[:5].lower() if kind == "bare" else ""
        if word in {"data_", "save_", "loop_", "stop_"} or value.lower() == "global_":
            finish()
            looped = word == "loop_"
            framed = word == "save_" and len(value) > 5 if word in {"data_", "save_"} else framed
            if word == "data_":
                blocks.append(_Block(value[5:]))
        elif framed:
            pass
        elif word[:1] == "_":
            if not looped or values:
                finish()
                looped = False
            tags.append(re.sub("[.-]", "_", value.lower()).rstrip("_"))
        elif looped or not values or "\n" not in text[end : token.start()]:
            values.append(value.strip())
        end = token.end()
    finish()
    return blocks


def _the_block(blocks: Sequence[_Block]) -> _Block:
    found = [block for block in blocks if block.columns.get("_atom_site_fract_x")]
    if len(found) > 1:
        text = f"holds {len(found)} structures; one a file is wanted: split it at the lines 'data_…'"
        raise CifError("several structures", text)
    if not found:
        cartesian = any("_atom_site_cartn_x" in block.columns for block in blocks)
        raise ValueError(
            "its atom sites are Cartesian, not fractional" if cartesian else "it has no atom sites"
        )
    return found[0]


def _magnetic(text: str) -> Structure:
    from pymatgen.io.cif import CifParser

    return CifParser.from_str(text).parse_structures(primitive=False)[0]


# ------------------------------------------------------------------------------------------- what a block says


class _Site(NamedTuple):
    label: str
    element: str
    occupancy: float
    xyz: tuple[str, str, str]


class _Facts(NamedTuple):
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

    def wrong_formula(self, crystal: _Crystal) -> str:
        """What is wrong with a crystal by the formula, if anything."""
        if self.formula is None:
            return ""
        counts = crystal.counts()
        both = f"({_written(counts)} against {_written(self.formula)})"
        rest = "sites are missing, perhaps the file was cut off; complete the sites, or remove that line if the sites are right"
        if counts.keys() != self.formula.keys():
            return f"its atom sites and its {self.tag} have different elements {both}: {rest}"
        ratios = [counts[element] / amount for element, amount in self.formula.items()]
        if max(ratios) - min(ratios) >= STOICHIOMETRY:
            return f"its atom sites do not give its {self.tag} {both}: {rest}"
        return ""

    def contradictions(self, crystal: _Crystal) -> list[str]:
        """What a crystal has and the file says otherwise, with both values."""
        wrong = self.wrong_formula(crystal)
        found = [wrong] if wrong else []
        if self.formula and self.units and not wrong:
            atoms = sum(crystal.counts().values())
            divisor = math.gcd(*(round(amount) for amount in self.formula.values())) or 1
            sizes = {sum(f.values()) for f in (self.formula, self.other) if f}
            sizes.add(sum(self.formula.values()) / divisor)
            if all(abs(atoms - self.units * size) > STOICHIOMETRY * atoms for size in sizes):
                unit = sum(self.formula.values())
                found.append(
                    f"its cell holds {atoms / unit:g} formula units {_written(self.formula)}, its "
                    f"_cell_formula_units_Z is {self.units:g}"
                )
        if self.density and abs(crystal.density() / self.density - 1) > DENSITY:
            found.append(
                f"its cell has {crystal.density():.2f} g/cm³, its _exptl_crystal_density_diffrn is {self.density:g}"
            )
        return found


def _number(text: str) -> float:
    return float(text.partition("(")[0])


def _known_number(text: str) -> float | None:
    try:
        value = _number(text)
    except ValueError:
        return None
    return value if value > 0 else None


def _lattice(block: _Block) -> Lattice:
    from pymatgen.core import Lattice

    edges = {name: block.value(f"_cell_length_{name}") for name in "abc"}
    angles = {name: block.value(f"_cell_angle_{name}") for name in ("alpha", "beta", "gamma")}
    given = {name: _number(text) for name, text in (edges | angles).items() if text}
    if len(given) == 6:
        return Lattice.from_parameters(*given.values())
    system = block.value("_symmetry_cell_setting", "_space_group_crystal_system").lower()
    wanted = {
        "cubic": ("a",),
        "tetragonal": ("a", "c"),
        "hexagonal": ("a", "c"),
        "trigonal": ("a", "c"),
        "rhombohedral": ("a", "alpha"),
        "orthorhombic": ("a", "b", "c"),
        "monoclinic": ("a", "b", "c", "beta"),
    }.get(system)
    if wanted is None or not given.keys() >= set(wanted):
        missing = ", ".join(name for name in (*edges, *angles) if name not in given)
        raise ValueError(f"its cell is incomplete: {missing} is missing")
    builder = getattr(Lattice, system.replace("trigonal", "hexagonal"))
    lattice: Lattice = builder(*(given[name] for name in wanted))
    return lattice


def _facts(block: _Block) -> _Facts:
    formulas = [(tag, _formula(block.value(tag))) for tag in FORMULAS]
    known = [(tag, formula) for tag, formula in formulas if formula]
    density = _known_number(block.value("_exptl_crystal_density_diffrn"))
    if density and density > 30:  # kg/m³; nothing is denser than osmium, 22.6 g/cm³
        density /= 1000
    tag, formula = known[0] if known else ("", None)
    return _Facts(
        tag,
        formula,
        known[-1][1] if known else None,
        _known_number(block.value("_cell_formula_units_z")),
        density,
    )


def _formula(text: str) -> dict[str, float] | None:
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


def _sites(block: _Block) -> list[_Site]:
    xyz = [block.column(f"_atom_site_fract_{axis}") for axis in "xyz"]
    types = block.column("_atom_site_type_symbol")
    labels = block.column("_atom_site_label") or types
    types = types or ["."] * len(labels)
    occupancies = block.column("_atom_site_occupancy") or ["."] * len(labels)
    flags = block.column("_atom_site_calc_flag") or ["."] * len(labels)
    rows = list(zip(labels, types, occupancies, flags, *xyz, strict=False))
    if {len(column) for column in (labels, types, occupancies, flags, *xyz)} != {len(rows)}:
        raise ValueError(
            "its atom sites need a label or a type symbol, and three fractional coordinates each"
        )
    mixed = [row for row in rows if " + " in row[1]]  # as SpringerMaterials writes: 0.8Nb + 0.2Zr
    if mixed:
        raise CifError("disordered", f"site {mixed[0][0]!r} is a mixture, {mixed[0][1]}; {ORDER}")
    _note("flagged as no atoms (dum) and left out", [row[0] for row in rows if row[3].lower() == "dum"])
    rows = [row for row in rows if row[3].lower() != "dum"]
    elements = _elements(block, [row[0] for row in rows], [row[1] for row in rows])
    _note("vacancies, left out", [row[0] for row, e in zip(rows, elements, strict=True) if e == VACANCY])
    _note("with occupancy '?', taken as 1", [row[0] for row in rows if row[2] == "?"])
    sites = [
        _Site(row[0], element, _occupancy(row[2]), row[4:])
        for row, element in zip(rows, elements, strict=True)
        if element != VACANCY
    ]
    _note("with occupancy 0, left out", [site.label for site in sites if site.occupancy == 0])
    sites = [site for site in sites if site.occupancy != 0]
    lost = [site.label for site in sites if UNKNOWN.intersection(site.xyz)]
    if lost:
        text = f"site(s) {_some(lost)} have no coordinates; add them, or remove what is no atom"
        raise CifError("incomplete", text)
    wrong = [f"{site.label} ({site.occupancy:g})" for site in sites if not 0 < site.occupancy <= FULL]
    if wrong:
        raise CifError("occupancy", f"site(s) {_some(wrong)} have an occupancy that is not between 0 and 1")
    return sites


def _elements(block: _Block, labels: Sequence[str], types: Sequence[str]) -> list[str]:
    formula = _formula(block.value(*FORMULAS)) or {}
    listed = {symbol for symbol in block.columns.get("_atom_type_symbol", []) if symbol not in UNKNOWN}
    known = formula.keys() or _formula(" ".join(re.sub("[^A-Za-z].*", "", symbol) for symbol in listed)) or {}
    elements, unclear, notes = elements_of(labels, types, frozenset(known))
    if unclear:
        raise CifError(
            "unknown element",
            f"site(s) {_some(unclear)} name no element for certain; give each its element in a column "
            "_atom_site_type_symbol, and remove what is no atom",
        )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return elements


def _occupancy(text: str) -> float:
    return 1.0 if text in UNKNOWN else _number(text)


def _listed_operations(block: _Block) -> Operations | None:
    found = (block.column(tag) for tag in OPERATIONS)
    texts = next((column for column in found if set(column) - UNKNOWN), None)
    if texts is None:
        return None
    operations, complete = _operations(tuple(texts))
    if not complete:
        text = f"its {len(texts)} symmetry operations are no group: some are missing, or one is wrong"
        warnings.warn(text, stacklevel=2)
    return operations


@lru_cache(maxsize=1024)
def _operations(texts: tuple[str, ...]) -> tuple[Operations, bool]:
    """Operations of a file, and whether the product of any two of them is one of them."""
    from pymatgen.core.operations import SymmOp

    found = []
    for text in texts:
        if not re.fullmatch(r"[-+./\d\sxyz]+,[-+./\d\sxyz]+,[-+./\d\sxyz]+", text.lower()):
            raise ValueError(f"{text!r} is no symmetry operation such as '-x, y+1/2, -z'")
        operation = SymmOp.from_xyz_str(text)
        if round(abs(np.linalg.det(operation.rotation_matrix)), 3) != 1:
            raise ValueError(f"{text!r} is no symmetry operation: it changes volumes")
        found.append(operation)
    rotations = np.array([operation.rotation_matrix for operation in found])
    translations = np.array([operation.translation_vector for operation in found])
    # Decimals such as 0.333 stand for fractions, of which there are none but 24ths.
    fractions = np.round(24 * translations) / 24
    translations = np.where(np.abs(translations - fractions) < 2e-3, fractions, translations)
    keys = _keys(rotations, translations)
    turned = np.einsum("iab,jbc->ijac", rotations, rotations)
    moved = np.einsum("iab,jb->ija", rotations, translations) + translations[:, None]
    complete = bool(np.isin(_keys(turned, moved), keys).all())
    return Operations(rotations, translations), complete


def _keys(rotations: NDArray[np.float64], translations: NDArray[np.float64]) -> NDArray[np.int64]:
    """One number for each operation, translations to a 24th of a cell edge."""
    turns = (np.round(rotations).reshape(*rotations.shape[:-2], 9) + 1) @ 3.0 ** np.arange(9)
    steps = np.round(24 * translations) % 24 @ 24.0 ** np.arange(3)
    return (turns * 24**3 + steps).astype(np.int64)


def _written(counts: Mapping[str, float]) -> str:
    return " ".join(f"{element}{amount:g}" for element, amount in counts.items())


# ---------------------------------------------------------------------------------------- sites to a whole cell


@dataclass
class _Crystal:
    """The atoms of a cell; of several elements at a place if it is disordered.

    Attributes:
        lattice: The cell, in Å.
        species: Occupancy by element, of each atom.
        coords: Fractional coordinates, ``(atoms, 3)``.
        sites: Number of the site that each atom comes from.
        labels: Labels of the sites.
    """

    lattice: Lattice
    species: list[dict[str, float]]
    coords: NDArray[np.float64]
    sites: list[int]
    labels: list[str]

    def counts(self) -> Counter[str]:
        """Atoms by element."""
        counts: Counter[str] = Counter()
        for species in self.species:
            counts.update(species)
        return counts

    def density(self) -> float:
        """Density in g/cm³."""
        from pymatgen.core import Element

        mass = sum(amount * float(Element(symbol).atomic_mass) for symbol, amount in self.counts().items())
        return 1.66053907 * mass / self.lattice.volume  # u/Å³ in g/cm³

    def shortest(self) -> float:
        """Shortest distance between two atoms, in Å."""
        distances = self.lattice.get_all_distances(self.coords, self.coords)
        np.fill_diagonal(distances, np.inf)
        return float(distances.min())

    def equals(self, other: _Crystal) -> bool:
        """Whether the same elements are at the same places."""
        if self.counts() != other.counts():
            return False
        apart = self.coords[:, None] - other.coords[None]
        near = (np.abs(apart - np.round(apart)) < 10 * SAME).all(axis=2)
        return all(
            any(s == other.species[k] for k in np.flatnonzero(row))
            for s, row in zip(self.species, near, strict=True)
        )

    def structure(self) -> Structure:
        """The crystal for pymatgen, its atoms sorted as pymatgen sorts those of a CIF."""
        from pymatgen.core import Structure

        species = [next(iter(s)) if list(s.values()) == [1.0] else s for s in self.species]
        structure: Structure = Structure(self.lattice, species, self.coords).get_sorted_structure()
        return structure

    def __str__(self) -> str:
        return f"{len(self.coords)} atoms, {self.density():.2f} g/cm³"


def _grow(
    lattice: Lattice, sites: Sequence[_Site], places: NDArray[np.float64], operations: Operations
) -> _Crystal:
    """Apply operations to sites; those at one place become one."""
    rotations, translations = operations
    first = np.empty_like(places)
    species: list[dict[str, float]] = []
    names: list[str] = []
    atoms = []
    for site, place in zip(sites, places, strict=True):
        images = rotations @ place + translations
        apart = first[: len(species)] - images[:, None]
        hits = np.argwhere((np.abs(apart - np.round(apart)) < SAME).all(axis=2))
        if len(hits):
            row = int(hits[0][1])
            species[row][site.element] = species[row].get(site.element, 0.0) + site.occupancy
            names[row] += f", {site.label}"
            continue
        first[len(species)] = place
        species.append({site.element: site.occupancy})
        names.append(site.label)
        atoms.append(_distinct(images - np.floor(images), place))
    owners = [row for row, coords in enumerate(atoms) for _ in range(len(coords))]
    species = [_full(amounts, name) for amounts, name in zip(species, names, strict=True)]
    coords = np.concatenate(atoms) if atoms else np.empty((0, 3))
    return _Crystal(lattice, [species[row] for row in owners], coords, owners, names)


def _full(amounts: dict[str, float], names: str) -> dict[str, float]:
    """Occupancies of a place, made to sum to 1 if rounding made them sum to a little more."""
    total = sum(amounts.values())
    if total <= 1:
        return amounts
    if total > FULL:
        text = (
            f"site(s) {names} are at one place, where their occupancies sum to {total:g}: list one of each set of "
            "equivalent sites; if all atoms of the cell are listed, 'x,y,z' is the only operation"
        )
        raise CifError("occupancy", text)
    if len(amounts) > 1:
        text = f"site(s) {names} share one place, disordered, with occupancies that sum to {total:g}; {ORDER}"
        raise CifError("disordered", text)
    _note(f"with occupancies that sum to {total:g}, taken as 1", [names])
    return dict.fromkeys(amounts, 1.0)


def _distinct(coords: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distinct ones among the images of a place."""
    if len(coords) == 1:
        return coords
    apart = coords - place
    if (np.abs(apart - np.round(apart)) < 100 * SAME).all(axis=1).sum() == 1:
        return coords  # only the identity keeps it: a general position
    apart = coords[:, None] - coords
    near = (np.abs(apart - np.round(apart)) < SAME).all(axis=2)
    return coords[~np.tril(near, -1).any(axis=1)]


def _places(sites: Sequence[_Site]) -> NDArray[np.float64]:
    """Fractional coordinates, thirds of four decimals made exact as in pymatgen."""
    places = np.array([[_number(text) for text in site.xyz] for site in sites]).reshape(-1, 3)
    for third in (1 / 3, 2 / 3):
        places[np.abs(places / third - 1) <= SAME] = third
    return places


def _on_special_positions(
    lattice: Lattice, sites: Sequence[_Site], operations: Operations, facts: _Facts
) -> _Crystal:
    """Apply operations; a site whose images all but meet, by rounding, is put where they meet.

    Raises:
        CifError: There is such a site, and neither formula, Z nor density says that it is meant so.
    """
    places = _places(sites)
    crystal = _grow(lattice, sites, places, operations)
    if len(operations.rotations) == 1:
        return crystal
    ideal = np.array([_ideal(place, operations, lattice) for place in places]).reshape(-1, 3)
    moved = [row for row in range(len(sites)) if np.abs(ideal[row] - places[row]).max() > 0]
    if not moved:
        return crystal
    better = _grow(lattice, sites, ideal, operations)
    wrong, said = facts.contradictions(crystal), facts.contradictions(better)
    if not wrong and said:
        return crystal
    named = _some([f"{sites[row].label} ({', '.join(sites[row].xyz)})" for row in moved])
    where = _some([f"({', '.join(f'{x:.5f}' for x in ideal[row])})" for row in moved])
    if wrong and not said:
        text = f"site(s) {named} are read at {where}, with which {crystal} become {better}, as the file says"
        warnings.warn(f"rounded coordinates: {text}", stacklevel=2)
        return better
    text = (
        f"symmetry makes atoms {crystal.shortest():.2g} Å apart of site(s) {named}: rounded coordinates? "
        f"With {where} {crystal} become {better}; write more digits"
    )
    raise CifError("rounded coordinates", text)


def _ideal(place: NDArray[np.float64], operations: Operations, lattice: Lattice) -> NDArray[np.float64]:
    """The special position a place was rounded from, or the place."""
    apart = operations.rotations @ place + operations.translations - place
    apart -= np.round(apart)
    near = np.abs(apart).max(axis=1) < 2 * ROUNDED
    if near.sum() == (np.abs(apart) < SAME).all(axis=1).sum():
        return place
    shift = apart[near].mean(axis=0)
    too_near = (np.linalg.norm(apart[near] @ lattice.matrix, axis=1) < APART).all()
    return place + shift if too_near and np.abs(shift).max() < ROUNDED else place


# -------------------------------------------------------------------------------- what the file says of the cell


def _compare(crystal: _Crystal, facts: _Facts, block: _Block) -> None:
    """Compare a crystal grown with the file's own operations to what else the file says."""
    wrong = facts.contradictions(crystal)
    if not wrong:
        return
    if facts.wrong_formula(crystal):
        raise CifError("incomplete", wrong[0])
    text = "; ".join(wrong)
    for setting in sorted(_settings(_claims(block)[0])):
        if _fits(crystal.lattice, setting):
            other = _try(crystal.lattice, _sites(block), spacegroups.operations(setting), facts)
            if isinstance(other, _Crystal) and not facts.contradictions(other):
                text += (
                    f"; the operations in the file give {crystal}, those of {spacegroups.label(setting)} {other}, which "
                    "agrees: complete the operations, or remove them"
                )
                raise CifError("contradiction", text)
    if len(wrong) > 1:
        raise CifError("contradiction", f"{text}; correct the sites, the operations or these values")
    warnings.warn(text, stacklevel=2)


def _look_for_hydrogen(block: _Block, crystal: _Crystal, facts: _Facts) -> None:
    column = block.column("_atom_site_attached_hydrogens")
    labels = block.column("_atom_site_label") or block.column("_atom_site_type_symbol")
    bare = [label for label, text in zip(labels, column, strict=False) if _known_number(text)]
    if not bare:
        return
    text = f"site(s) {_some(bare)} have hydrogen attached (_atom_site_attached_hydrogens) that has no site of its own"
    if "H" not in (facts.formula or {}) or "H" not in crystal.counts():
        raise CifError("incomplete", f"{text}: add the sites of hydrogen")
    warnings.warn(f"{text}; yet the sites are those of its formula", stacklevel=2)


def _without_operations(block: _Block, lattice: Lattice, sites: Sequence[_Site], facts: _Facts) -> _Crystal:
    """Grow a crystal by the setting that agrees with all that the file says; if there is one."""
    claims, strange = _claims(block)
    if not claims:
        return _without_group(lattice, sites, facts, strange)
    said = " and ".join(text for text, _ in claims)
    fitting = [setting for setting in sorted(_settings(claims)) if _fits(lattice, setting)]
    if not fitting:
        cell = ", ".join(f"{x:g}" for x in lattice.parameters)
        text = f"{said} and the cell ({cell}) contradict each other: such a cell does not have this symmetry"
        raise CifError("contradiction", text)
    if strange:
        warnings.warn(f"{' and '.join(strange)} is unknown; read with {said}", stacklevel=2)
    # A monoclinic name without axes is meant for b, if the cell allows it.
    fitting = [s for s in fitting if spacegroups.axis(s) == "b"] or fitting
    tried = {s: _try(lattice, sites, spacegroups.operations(s), facts) for s in fitting}
    good = {s: c for s, c in tried.items() if isinstance(c, _Crystal) and not facts.contradictions(c)}
    if not good:
        raise _none_agrees(said, tried, facts)
    chosen = _decided(good, block)
    if len(chosen) > 1:
        options = " or ".join(f"{spacegroups.label(s)} ({c})" for s, c in list(chosen.items())[:6])
        text = (
            f"has no symmetry operations, and {said} may mean {options}: write the setting in full "
            "(_space_group_name_H-M_alt or _space_group_name_Hall), or add the operations, or Z and formula, or the density"
        )
        raise CifError("unknown symmetry", text)
    ((setting, crystal),) = chosen.items()
    if len(fitting) > 1:
        text = f"has no symmetry operations; of what {said} may mean, {spacegroups.label(setting)} ({crystal}) is read"
        warnings.warn(text, stacklevel=2)
    return crystal


def _without_group(
    lattice: Lattice, sites: Sequence[_Site], facts: _Facts, strange: Sequence[str]
) -> _Crystal:
    crystal = _grow(lattice, sites, _places(sites), spacegroups.operations(1))
    known = facts.density is not None or (facts.units is not None and facts.formula is not None)
    wrong = facts.contradictions(crystal)
    if known and not wrong and not strange:
        text = f"names no space group; all atoms are listed ({crystal}), as its Z, formula or density says"
        warnings.warn(text, stacklevel=2)
        return crystal
    start = f"{' and '.join(strange)} is unknown" if strange else "names no space group"
    raise CifError(
        "unknown symmetry",
        f"{start} and has no symmetry operations; the sites alone are {crystal}{''.join(f', but {w}' for w in wrong)}. "
        "Add the operations (_space_group_symop_operation_xyz; 'x,y,z' if all atoms of the cell are listed) or the name",
    )


def _claims(block: _Block) -> tuple[list[tuple[str, set[int]]], list[str]]:
    """What a file says of its space group, with the settings it may mean; and what means none."""
    said = [(repr(name), spacegroups.named(name)) for name in _known(block, NAMES)]
    said += [(f"Hall {name!r}", spacegroups.of_hall_symbol(name)) for name in _known(block, HALL_SYMBOLS)]
    for text in _known(block, NUMBERS):
        number = _known_number(text) or 0
        said.append((f"number {text}", spacegroups.of_number(int(number))))
    return [claim for claim in said if claim[1]], [text for text, settings in said if not settings]


def _known(block: _Block, tags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, (block.value(tag) for tag in tags))))


def _settings(claims: Sequence[tuple[str, set[int]]]) -> set[int]:
    """The settings that all claims allow.

    Raises:
        CifError: There is none.
    """
    if not claims:
        return set()
    left, believed = claims[0][1], claims[0][0]
    for text, settings in claims[1:]:
        if not left & settings:
            raise CifError(
                "contradiction", f"{believed} and {text} are different space groups or settings; correct one"
            )
        left, believed = left & settings, f"{believed} and {text}"
    return left


def _fits(lattice: Lattice, setting: int) -> bool:
    """Whether a cell has the symmetry of a setting."""
    rotations = spacegroups.operations(setting).rotations
    metric = lattice.matrix @ lattice.matrix.T
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    edges = np.sqrt(np.diag(metric))
    return bool((np.abs(turned - metric) <= METRIC * np.outer(edges, edges)).all())


def _try(
    lattice: Lattice, sites: Sequence[_Site], operations: Operations, facts: _Facts
) -> _Crystal | CifError:
    try:
        return _on_special_positions(lattice, sites, operations, facts)
    except CifError as error:
        return error


def _none_agrees(said: str, tried: Mapping[int, _Crystal | CifError], facts: _Facts) -> CifError:
    if len(tried) == 1:
        ((setting, crystal),) = tried.items()
        if isinstance(crystal, CifError):
            return crystal
        wrong = facts.contradictions(crystal)
        if facts.wrong_formula(crystal):
            return CifError("incomplete", wrong[0])
        text = f"has no symmetry operations; with those of {spacegroups.label(setting)}, {'; '.join(wrong)}: correct one"
        return CifError("contradiction", text)
    reasons = [
        f"{spacegroups.label(s)}: {'; '.join(facts.contradictions(c)) if isinstance(c, _Crystal) else c}"
        for s, c in list(tried.items())[:4]
    ]
    text = f"has no symmetry operations, and nothing that {said} may mean agrees with the file: {' | '.join(reasons)}"
    return CifError("contradiction", text)


def _decided(good: Mapping[int, _Crystal], block: _Block) -> dict[int, _Crystal]:
    """Those of several crystals that differ, that can be, and that have the multiplicities in the file."""
    different: dict[int, _Crystal] = {}
    for setting, crystal in good.items():
        if not any(crystal.equals(other) for other in different.values()):
            different[setting] = crystal
    if len(different) > 1:
        different = {s: c for s, c in different.items() if c.shortest() >= APART} or different
    given = [_known_number(text) for text in block.column("_atom_site_symmetry_multiplicity")]
    if len(different) > 1 and given:
        fitting = {
            s: c
            for s, c in different.items()
            if [float(c.sites.count(row)) for row in range(len(given))] == given
        }
        different = fitting or different
    return different


def _note(text: str, labels: Sequence[str]) -> None:
    if labels:
        warnings.warn(f"site(s) {text}: {_some(labels)}", stacklevel=3)


def _some(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
