"""The reference crystals are what they are called, by pymatgen's symmetry analysis."""

import pytest
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from tlzoo.zoo.reference import reference_crystals

# space group, atoms in the primitive cell, bond lengths in Å from the first atom: number of neighbours and
# distance, worked out by hand from the lattice constants
WANTED = {
    "C diamond": (227, 2, 4, 3.567 * 3**0.5 / 4),
    "NaCl rock salt": (225, 2, 6, 5.640 / 2),
    "ZnS zinc blende": (216, 2, 4, 5.409 * 3**0.5 / 4),
    "ZnO wurtzite": (186, 4, 3, (3.250**2 / 3 + (0.118 * 5.207) ** 2) ** 0.5),
    "CsCl": (221, 2, 8, 4.123 * 3**0.5 / 2),
    "CaF2 fluorite": (225, 3, 8, 5.463 * 3**0.5 / 4),
    "SrTiO3 perovskite": (221, 5, 12, 3.905 / 2**0.5),
    "TiO2 rutile": (136, 6, 4, (2 * (0.5 - 0.305) ** 2 * 4.594**2 + (2.959 / 2) ** 2) ** 0.5),
    "MoS2 2H": (194, 6, 6, (3.160**2 / 3 + ((0.75 - 0.621) * 12.295) ** 2) ** 0.5),
    "Fe bcc": (229, 1, 8, 2.866 * 3**0.5 / 2),
    "Cu fcc": (225, 1, 12, 3.615 / 2**0.5),
    "Mg hcp": (194, 2, 6, (3.209**2 / 3 + (5.211 / 2) ** 2) ** 0.5),
    "TiNiSn half-Heusler": (216, 3, 4, 5.921 * 3**0.5 / 4),
    "MgAl2O4 spinel": (227, 14, 4, (0.387 - 0.25) * 3**0.5 * 8.083),
    # the shortest of seven (Howard et al.)
    "ZrO2 baddeleyite": (14, 12, 1, 2.051),
    "K2PtCl6": (225, 9, 12, (2 * 0.25**2 + (0.25 - 0.240) ** 2) ** 0.5 * 9.755),
}


@pytest.fixture(scope="module")
def crystals():
    return reference_crystals()


def test_there_are_sixteen(crystals):
    assert list(crystals.ids) == list(WANTED)
    assert len(crystals) == 16
    assert crystals.origin(0) == "C diamond"


# spglib 2.7 announces another way to report errors, pymatgen takes the old one
@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("name", WANTED)
def test_structure(crystals, name):
    structure = crystals.structure(list(crystals.ids).index(name))
    group, atoms, number, length = WANTED[name]
    analyzer = SpacegroupAnalyzer(structure, symprec=0.01)
    assert analyzer.get_space_group_number() == group
    assert len(structure) == atoms == len(analyzer.find_primitive())
    assert structure.composition.reduced_formula == name.split()[0]
    near = sorted(neighbour.nn_distance for neighbour in structure.get_neighbors(structure[0], 4.0))
    assert near[:number] == pytest.approx([length] * number, abs=1e-3)
    assert len(near) == number or near[number] > length + 1e-3


def test_polyhedra(crystals):
    for name, radius, wanted in (
        ("MgAl2O4 spinel", 2.2, {"Mg": 4, "Al": 6, "O": 4}),
        ("ZrO2 baddeleyite", 2.5, {"Zr": 7}),
        ("K2PtCl6", 2.5, {"Pt": 6}),
    ):
        structure = crystals.structure(list(crystals.ids).index(name))
        for site in structure:
            if site.specie.symbol in wanted:
                near = [n for n in structure.get_neighbors(site, radius) if n.specie != site.specie]
                assert len(near) == wanted[site.specie.symbol], f"{name}: {site.specie}"
