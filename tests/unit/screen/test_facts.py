"""Facts of crystals against pymatgen, and networks of four neighbours against structures one knows."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.screen.facts import Facts, formula, symbol


@pytest.fixture(scope="module")
def facts():
    return Facts(named.load("semiconductors"))


def test_as_pymatgen_says(facts):
    rows = range(0, len(facts.crystals), 7)
    for row in rows:
        structure = facts.crystals.structure(row)
        assert facts.density[row] == pytest.approx(structure.density, rel=1e-3)
        assert facts.volume_per_atom[row] == pytest.approx(structure.volume / len(structure))
        assert facts.formulas[row] == structure.composition.reduced_formula
        assert facts.nelements[row] == len(structure.composition)


def test_formula():
    assert formula([(8, 2), (14, 1)]) == "SiO2"
    assert symbol(0) == "Z0"


def test_facts_of_some_are_those_of_all(facts):
    rows = np.array([40, 3, 7])
    some = facts.select(rows)
    assert some.formulas.tolist() == facts.formulas[rows].tolist() == Facts(some.crystals).formulas.tolist()
    np.testing.assert_array_equal(some.density, facts.density[rows])


def test_four_neighbours_around_every_atom():
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]])
    rock_salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    graphene = Structure(Lattice.hexagonal(2.46, 7.9), ["C", "C"], [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0]])
    # four neighbours, around the metal in a square
    cooperite = Structure(
        Lattice.tetragonal(3.47, 6.11),
        ["Pt", "Pt", "S", "S"],
        [[0, 0.5, 0], [0.5, 0, 0.5], [0, 0, 0.25], [0, 0, 0.75]],
    )
    alone = Structure(Lattice.cubic(30), ["He"], [[0, 0, 0]])
    molecule = Structure(Lattice.cubic(7.9), ["N", "N"], [[0, 0, 0], [0.139, 0, 0]])
    structures = [diamond, rock_salt, graphene, cooperite, alone, molecule, diamond * (2, 1, 1)]
    facts = Facts(Crystals.from_structures(structures))
    found = facts.diamond_like(np.arange(len(structures)))
    assert found.tolist() == [True, False, False, False, False, False, True]
    assert list(facts.unknown) == [4]
    assert "no neighbour within 8 Å" in facts.unknown[4]


def test_space_groups(facts):
    rows = np.flatnonzero(facts.formulas == "SiC")
    assert {216, 186} <= set(facts.spacegroup(rows))


def test_a_cell_that_is_none_is_named():
    crystals = named.load("semiconductors").select([0, 1])
    crystals.lattice[1] = 0
    facts = Facts(crystals)
    assert np.isnan(facts.density).tolist() == [False, True]
    assert list(facts.unknown) == [1]
