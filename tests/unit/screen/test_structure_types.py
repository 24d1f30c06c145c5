"""Structure types by name, whichever element is where and however the cell is chosen."""

import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.screen.structure_types import NAMES, UNKNOWN, structure_type

CUBIC, HEXAGONAL, TETRAGONAL = Lattice.cubic, Lattice.hexagonal, Lattice.tetragonal
CORNER, CENTRE, QUARTER = [0, 0, 0], [0.5] * 3, [0.25] * 3
A, B = [1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.25]
KINDS = {
    "diamond": [("Fd-3m", CUBIC(3.57), {"C": CORNER})],
    "lonsdaleite": [("P6_3/mmc", HEXAGONAL(2.52, 4.12), {"C": [1 / 3, 2 / 3, 0.062]})],
    "graphite": [("P6_3/mmc", HEXAGONAL(2.46, 6.7), {"C": [0, 0, 0.25], "C0+": B})],
    "zinc blende": [
        ("F-43m", CUBIC(4.5), {"B": CORNER, "P": QUARTER}),
        ("F-43m", CUBIC(4.5), {"P": CORNER, "B": [0.75] * 3}),
    ],
    "wurtzite": [("P6_3mc", HEXAGONAL(3.1, 5), {"Al": A, "N": [1 / 3, 2 / 3, 0.38]})],
    "hexagonal BN": [("P6_3/mmc", HEXAGONAL(2.5, 6.66), {"B": B, "N": [1 / 3, 2 / 3, 0.75]})],
    "rock salt": [
        ("Fm-3m", CUBIC(5.6), {"Na": CORNER, "Cl": CENTRE}),
        ("Fm-3m", CUBIC(5.6), {"Cl": CORNER, "Na": CENTRE}),
    ],
    "CsCl": [("Pm-3m", CUBIC(4.1), {"Cs": CORNER, "Cl": CENTRE})],
    "NiAs": [("P6_3/mmc", HEXAGONAL(3.6, 5), {"Ni": CORNER, "As": B})],
    "WC": [("P-6m2", HEXAGONAL(2.9, 2.83), {"W": CORNER, "C": [1 / 3, 2 / 3, 0.5]})],
    "fluorite": [
        ("Fm-3m", CUBIC(5.4), {"Ca": CORNER, "F": QUARTER}),
        ("Fm-3m", CUBIC(4.6), {"O": CORNER, "Li": QUARTER}),
    ],
    "rutile": [("P4_2/mnm", TETRAGONAL(4.6, 2.96), {"Ti": CORNER, "O": [0.305, 0.305, 0]})],
    "perovskite": [
        ("Pm-3m", CUBIC(3.9), {"Sr": CORNER, "Ti": CENTRE, "O": [0.5, 0.5, 0]}),
        ("Pm-3m", CUBIC(3.9), {"Ti": CORNER, "Sr": CENTRE, "O": [0.5, 0, 0]}),
    ],
    "chalcopyrite": [
        ("I-42d", TETRAGONAL(5.6, 11), {"Ga": CORNER, "Ag": [0, 0, 0.5], "Se": [0.27, 0.25, 0.125]})
    ],
    "half-Heusler": [("F-43m", CUBIC(5.9), {"Zr": CORNER, "Ni": QUARTER, "Sn": CENTRE})],
    "Heusler": [("Fm-3m", CUBIC(5.9), {"Al": CORNER, "Mn": CENTRE, "Cu": QUARTER})],
    "spinel": [("Fd-3m", CUBIC(8.08), {"Mg": [1 / 8] * 3, "Al": CENTRE, "O": [0.2624] * 3})],
    "corundum": [("R-3c", HEXAGONAL(4.76, 13), {"Al": [0, 0, 0.352], "O": [0.306, 0, 0.25]})],
}


@pytest.mark.parametrize(("name", "recipe"), [(name, recipe) for name in KINDS for recipe in KINDS[name]])
def test_well_known_types(name, recipe):
    group, lattice, sites = recipe
    species = [symbol.removesuffix("0+") for symbol in sites]
    structure = Structure.from_spacegroup(group, lattice, species, list(sites.values()))
    doubled = structure.get_primitive_structure()
    doubled.make_supercell([2, 1, 1])
    doubled.translate_sites(range(len(doubled)), [0.11, 0.23, 0.37])
    crystals = Crystals.from_structures([structure, doubled])
    first, second = structure_type(crystals, 0), structure_type(crystals, 1)
    assert first.name == name
    assert first == second


def test_what_has_no_name_has_a_label():
    structure = Structure.from_spacegroup(
        "Pnma", Lattice.orthorhombic(5, 3.5, 5.5), ["Ge", "S"], [[0.12, 0.25, 0.1], [0.9, 0.25, 0.4]]
    )
    found = structure_type(Crystals.from_structures([structure]), 0)
    assert (found.group, found.prototype, found.name) == ("Pnma (62)", "AB_oP8_62_c_c", "")


def test_what_has_no_symmetry_to_find():
    structure = Structure(Lattice.cubic(4), ["Si", "Si"], [CORNER, [0, 0, 1e-6]])
    assert structure_type(Crystals.from_structures([structure]), 0) == UNKNOWN


def test_names_are_of_different_types():
    assert len(set(NAMES.values())) == len(NAMES)
    assert all(key == "_".join([*key.split("_")[:2], *sorted(key.split("_")[2:])]) for key in NAMES)
