"""From CIF text to a structure: every site accounted for, the symmetry as the file says or not at all."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlzoo.data.sources import spacegroups
from tlzoo.data.sources.cellcontents import FORMULAS, Contents, contents_of, formula_of
from tlzoo.data.sources.cifblocks import UNKNOWN, Block, CifError, blocks, known_number, note, number, some
from tlzoo.data.sources.groupsettings import claimed, grown_by_name, meant
from tlzoo.data.sources.sitelabels import VACANCY, elements_of, mixture
from tlzoo.data.sources.spacegroups import Operations
from tlzoo.data.sources.unitcells import FULL, ORDER, Cell, Site, on_special_positions

if TYPE_CHECKING:
    from pymatgen.core import Lattice, Structure

MAGNETIC = "_space_group_symop_magn_operation_xyz"
CENTERINGS = "_space_group_symop_magn_centering_xyz"
OPERATIONS = (MAGNETIC, "_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
# Operations in more than three dimensions.
MODULATED = ("_space_group_symop_ssg_operation_algebraic", "_space_group_symop_magn_ssg_operation_algebraic")


def read(text: str) -> Structure:
    """Return the crystal of a CIF; what is remarkable about it is a warning.

    Raises:
        CifError: It holds several crystals, a disordered or contradictory one, or one of unknown symmetry.
        ValueError: It is damaged.
    """
    block = _the_block(blocks(text))
    if block.value("_cell_modulation_dimension", *MODULATED) not in {"", "0"}:
        raise CifError(
            "modulated",
            "is a modulated structure, which no cell repeats exactly: give a cell that comes near it, or the "
            "average structure, without the modulation",
        )
    lattice, sites, contents = _lattice(block), _sites(block), contents_of(block)
    operations = _listed_operations(block)
    if operations is None:
        crystal = grown_by_name(block, lattice, sites, contents)
    else:
        crystal = on_special_positions(lattice, sites, operations, contents)
        _compare(crystal, operations, sites, contents, block)
    _look_for_hydrogen(block, crystal, contents)
    if block.column("_atom_site_moment_label"):
        crystal.notes.append("magnetic moments are not read: crystals that differ in them alone are the same")
    for remark in crystal.notes:
        warnings.warn(remark, stacklevel=2)
    return crystal.structure()


def _the_block(blocks: Sequence[Block]) -> Block:
    found = [block for block in blocks if block.columns.get("_atom_site_fract_x")]
    celled = [block for block in found if block.columns.get("_cell_length_a")] or found
    if len(celled) < len(found):
        names = some([block.name for block in found if block not in celled])
        warnings.warn(f"block(s) {names} have atom sites but no cell, and are left out", stacklevel=2)
    found = celled
    if len(found) > 1:
        text = f"holds {len(found)} structures; one a file is wanted: split it at the lines 'data_…'"
        raise CifError("several structures", text)
    if not found:
        cartesian = any("_atom_site_cartn_x" in block.columns for block in blocks)
        if cartesian:
            text = "has Cartesian coordinates alone (_atom_site_Cartn_x); wanted _atom_site_fract_x and so on"
            raise CifError("incomplete", text)
        raise ValueError("it has no atom sites")
    return found[0]


def _lattice(block: Block) -> Lattice:
    from pymatgen.core import Lattice

    edges = {name: block.value(f"_cell_length_{name}") for name in "abc"}
    angles = {name: block.value(f"_cell_angle_{name}") for name in ("alpha", "beta", "gamma")}
    given = {name: number(text) for name, text in (edges | angles).items() if text}
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


def _sites(block: Block) -> list[Site]:
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
    for label, kind, *_ in rows:
        if mixed := mixture(label, kind):
            raise CifError("disordered", f"site {label!r} is a mixture, {mixed}; {ORDER}")
    note("flagged as no atoms (dum), left out", [row[0] for row in rows if row[3].lower() == "dum"])
    rows = [row for row in rows if row[3].lower() != "dum"]
    elements = _elements(block, [row[0] for row in rows], [row[1] for row in rows])
    note(
        "that are vacancies, left out",
        [row[0] for row, e in zip(rows, elements, strict=True) if e == VACANCY],
    )
    note("with occupancy '?', taken as 1", [row[0] for row in rows if row[2] == "?"])
    sites = [
        Site(row[0], element, _occupancy(row[2]), row[4:])
        for row, element in zip(rows, elements, strict=True)
        if element != VACANCY
    ]
    note("with occupancy 0, left out", [site.label for site in sites if site.occupancy == 0])
    sites = [site for site in sites if site.occupancy != 0]
    sites = _with_coordinates(sites, has_formula=bool(contents_of(block).formula))
    wrong = [f"{site.label} ({site.occupancy:g})" for site in sites if not 0 < site.occupancy <= FULL]
    if wrong:
        raise CifError("occupancy", f"site(s) {some(wrong)} have an occupancy that is not between 0 and 1")
    return sites


def _with_coordinates(sites: Sequence[Site], *, has_formula: bool) -> list[Site]:
    """Sites whose coordinates are all known.

    Old files of ICSD leave out every zero they can: ``.5`` is 0.5 and ``.`` is 0. Such a file has a formula,
    by which the sites are checked afterwards.
    """
    lost = [site.label for site in sites if UNKNOWN.intersection(site.xyz)]
    if not lost:
        return list(sites)
    written = {text for site in sites for text in site.xyz} - {"."}
    if not (has_formula and written and all(re.match(r"-?(\.\d|1\.?$)", text) for text in written)):
        text = f"site(s) {some(lost)} have no coordinates; add them, or remove what is no atom"
        raise CifError("incomplete", text)
    note("with coordinates '.', read as 0 as all others are written without zeros", lost)
    return [site._replace(xyz=["0" if text == "." else text for text in site.xyz]) for site in sites]


def _elements(block: Block, labels: Sequence[str], types: Sequence[str]) -> list[str]:
    formula = formula_of(block.value(*FORMULAS)) or {}
    listed = {symbol for symbol in block.columns.get("_atom_type_symbol", []) if symbol not in UNKNOWN}
    known = (
        formula.keys() or formula_of(" ".join(re.sub("[^A-Za-z].*", "", symbol) for symbol in listed)) or {}
    )
    elements, unclear, notes = elements_of(labels, types, frozenset(known))
    if unclear:
        raise CifError(
            "unknown element",
            f"site(s) {some(unclear)} name no element for certain; give each its element in a column "
            "_atom_site_type_symbol, and remove what is no atom",
        )
    for text in notes:
        warnings.warn(text, stacklevel=2)
    return elements


def _occupancy(text: str) -> float:
    return 1.0 if text in UNKNOWN else number(text)


def _listed_operations(block: Block) -> Operations | None:
    found = (block.column(tag) for tag in OPERATIONS)
    texts = next((column for column in found if set(column) - UNKNOWN), None)
    if texts is None:
        return None
    centerings = block.column(CENTERINGS) if texts is block.column(MAGNETIC) else []
    operations, complete = _operations(tuple(texts), tuple(centerings) or ("x,y,z",))
    if not complete:
        text = f"its {len(texts)} symmetry operations are no group: some are missing, or one is wrong"
        contents = contents_of(block)
        # otherwise nothing would tell whether atoms are lost with them
        if contents.units is None and contents.density is None:
            raise CifError(
                "contradiction",
                f"{text}; complete them, or remove them and leave the name of the space group, or add Z "
                "(_cell_formula_units_Z) with the formula, or the density, to check the cell by",
            )
        warnings.warn(text, stacklevel=2)
    return operations


@lru_cache(maxsize=1024)
def _operations(texts: tuple[str, ...], centerings: tuple[str, ...]) -> tuple[Operations, bool]:
    """Operations of a file, each followed by every centring, and whether any two make another of them."""
    found = [_operation(text) for text in texts]
    rotations = np.array([rotation for rotation, _ in found])
    translations = np.array([translation for _, translation in found])
    shifts = np.array([_operation(text)[1] for text in centerings])
    rotations = np.tile(rotations, (len(shifts), 1, 1))
    translations = (shifts[:, None] + translations).reshape(-1, 3)
    # Decimals such as 0.333 stand for fractions, of which there are none but 24ths.
    fractions = np.round(24 * translations) / 24
    translations = np.where(np.abs(translations - fractions) < 2e-3, fractions, translations)
    keys = _keys(rotations, translations)
    turned = np.einsum("iab,jbc->ijac", rotations, rotations)
    moved = np.einsum("iab,jb->ija", rotations, translations) + translations[:, None]
    complete = bool(np.isin(_keys(turned, moved), keys).all())
    return Operations(rotations, translations), complete


def _operation(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rotation and translation; whether moments are turned, too (``x,y,z,-1``), moves no atom."""
    from pymatgen.core.operations import SymmOp

    bare = re.sub(r"\s*,\s*[-+]?1\s*$", "", text.lower())
    if not re.fullmatch(r"[-+./\d\sxyz]+,[-+./\d\sxyz]+,[-+./\d\sxyz]+", bare):
        raise ValueError(f"{text!r} is no symmetry operation such as '-x, y+1/2, -z'")
    operation = SymmOp.from_xyz_str(bare)
    if round(abs(np.linalg.det(operation.rotation_matrix)), 3) != 1:
        raise ValueError(f"{text!r} is no symmetry operation: it changes volumes")
    return operation.rotation_matrix, operation.translation_vector


def _keys(rotations: NDArray[np.float64], translations: NDArray[np.float64]) -> NDArray[np.int64]:
    """One number for each operation, translations to a 24th of a cell edge."""
    turns = (np.round(rotations).reshape(*rotations.shape[:-2], 9) + 1) @ 3.0 ** np.arange(9)
    steps = np.round(24 * translations) % 24 @ 24.0 ** np.arange(3)
    return (turns * 24**3 + steps).astype(np.int64)


def _compare(
    crystal: Cell, operations: Operations, sites: Sequence[Site], contents: Contents, block: Block
) -> None:
    """Compare a crystal grown with the file's own operations to what else the file says."""
    wrong = contents.contradictions(crystal)
    if not wrong:
        if not contents.tells_size:
            _note_other_group(crystal, operations, sites, contents, block)
        return
    if contents.wrong_formula(crystal):
        raise CifError("incomplete", wrong[0])
    text = "; ".join(wrong)
    for setting, other in meant(block, crystal.lattice, sites, contents).items():
        if isinstance(other, Cell) and not contents.contradictions(other):
            text += (
                f"; the operations in the file give {crystal}, those of {spacegroups.label(setting)} give "
                f"{other}, which agrees: correct the operations, or remove them"
            )
            raise CifError("contradiction", text)
    if len(wrong) > 1:
        raise CifError("contradiction", f"{text}; correct the sites, the operations or these values")
    warnings.warn(text, stacklevel=2)


def _note_other_group(
    crystal: Cell, operations: Operations, sites: Sequence[Site], contents: Contents, block: Block
) -> None:
    """Note that the operations are not those of the group that a file names, if that is another crystal."""
    size, named = len(operations.rotations), claimed(block)
    if any(len(spacegroups.operations(setting).rotations) == size for setting in named):
        return
    for setting, other in meant(block, crystal.lattice, sites, contents).items():
        if isinstance(other, Cell) and len(other.coords) != len(crystal.coords) and other.is_possible():
            name = spacegroups.label(setting)
            crystal.notes.append(
                f"names {name} and lists {size} operation(s), not those of {name}: these are used, which "
                f"give {crystal}; {name} would give {other}"
            )
            return


def _look_for_hydrogen(block: Block, crystal: Cell, contents: Contents) -> None:
    column = block.column("_atom_site_attached_hydrogens")
    labels = block.column("_atom_site_label") or block.column("_atom_site_type_symbol")
    bare = [label for label, text in zip(labels, column, strict=False) if known_number(text)]
    if not bare:
        return
    text = (
        f"site(s) {some(bare)} have hydrogen attached (_atom_site_attached_hydrogens) "
        "that has no site of its own"
    )
    if "H" not in (contents.formula or {}) or "H" not in crystal.counts():
        raise CifError("incomplete", f"{text}: add the sites of hydrogen")
    warnings.warn(f"{text}; yet the sites are those of its formula", stacklevel=2)
