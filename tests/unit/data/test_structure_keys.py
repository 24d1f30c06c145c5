"""The same structure in another cell has the same key; other polymorphs have another."""

import hashlib

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.structure_keys import StructureKeys, _signs, hashes, shape


def cubic(name, group, a, *sites):
    return Structure.from_spacegroup(group, Lattice.cubic(a), list(name), [list(site) for site in sites])


ROCK_SALT = cubic(("Na", "Cl"), "Fm-3m", 5.64, (0, 0, 0), (0.5, 0.5, 0.5))
SPHALERITE = cubic(("Zn", "S"), "F-43m", 5.409, (0, 0, 0), (0.25, 0.25, 0.25))
PEROVSKITE = cubic(("Sr", "Ti", "O"), "Pm-3m", 3.905, (0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0))


def table(*structures):
    return Crystals.from_structures(list(structures))


def turned(structure):
    """Another cell of the same crystal: primitive, doubled, rotated, shifted, sites reversed."""
    cell = structure.get_primitive_structure() * [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    sites = [(site.specie, site.frac_coords + np.array([0.3, 0.1, 0.7])) for site in reversed(cell)]
    return Structure(cell.lattice.matrix @ rotation, *(list(each) for each in zip(*sites, strict=True)))


@pytest.mark.parametrize("structure", [ROCK_SALT, SPHALERITE, PEROVSKITE])
def test_in_another_cell(structure):
    keys = StructureKeys.of(table(structure))
    other = turned(structure)
    np.testing.assert_allclose(shape(table(other), 0), shape(table(structure), 0), atol=1e-5)
    assert keys.holds(table(other, ROCK_SALT)).tolist() == [True, structure is ROCK_SALT]


def test_all_of_the_example_in_another_cell():
    crystals = named.load("semiconductors")
    keys = StructureKeys.of(crystals.select(np.arange(0, 60)))
    some = [turned(crystals.structure(row)) for row in range(60)]
    assert keys.holds(table(*some)).all()
    others = np.flatnonzero(~np.isin(crystals.formulas, crystals.formulas[:60]))
    assert not keys.holds(crystals.select(others)).any()


@pytest.mark.parametrize(
    "other",
    [
        # caesium chloride and zinc blende of the same volume per atom: other structures of NaCl
        cubic(("Na", "Cl"), "Pm-3m", 5.64 / 4 ** (1 / 3), (0, 0, 0), (0.5, 0.5, 0.5)),
        cubic(("Na", "Cl"), "F-43m", 5.64, (0, 0, 0), (0.25, 0.25, 0.25)),
    ],
)
def test_polymorphs_of_one_volume_are_told_apart(other):
    keys = StructureKeys.of(table(ROCK_SALT))
    assert not keys.holds(table(other)).any()
    assert keys.holds(table(other), shapes=False).all(), "formula and volume alone do not tell them apart"


def test_sites_that_changed_places_are_told_apart():
    inverse = cubic(("Ti", "Sr", "O"), "Pm-3m", 3.905, (0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0))
    assert not StructureKeys.of(table(PEROVSKITE)).holds(table(inverse)).any()


def test_how_far_a_cell_may_be_off():
    """Lattice constants of experiment and of functionals differ by up to 4 %, volumes by 12 %."""
    keys = StructureKeys.of(table(PEROVSKITE))
    for factor, found in ((1.03, True), (0.97, True), (1.05, False)):
        cell = PEROVSKITE.copy()
        cell.lattice = Lattice(factor * cell.lattice.matrix)
        assert keys.holds(table(cell)).all() == found
    moved = PEROVSKITE.copy()
    for site, vector in enumerate(np.random.default_rng(0).normal(size=(5, 3))):
        moved.translate_sites(site, 0.1 * vector / np.linalg.norm(vector), frac_coords=False)  # Å
    assert keys.holds(table(moved)).all()


def test_a_dopant_among_thousands_has_formula_and_volume_alone():
    large = ROCK_SALT * (9, 9, 9)
    large.replace(0, "K")
    assert len(large) == 5832
    keys = StructureKeys.of(table(large))
    assert np.isnan(keys.shapes).all()
    assert keys.holds(table(large, ROCK_SALT)).tolist() == [True, False]


def test_keys_are_the_same_in_every_version():
    """They are in files: a change here makes those of all checkpoints wrong."""
    crystals = table(ROCK_SALT, SPHALERITE)
    assert crystals.formulas == ["Na1-Cl1", "S1-Zn1"]
    wanted = [hashlib.blake2b(text.encode(), digest_size=5).digest() for text in crystals.formulas]
    assert [bytes(row) for row in hashes(crystals)] == wanted
    assert hashlib.sha256(_signs(32).astype(np.int8).tobytes()).hexdigest()[:16] == "1c148ec6966346ff"
    np.testing.assert_allclose(shape(crystals, 0), [0.64645, 3.31948, 0.25882, -0.14645], atol=1e-4)


def test_none_at_all():
    crystals = named.load("semiconductors").select(np.arange(3))
    keys = StructureKeys.of(crystals.select(np.empty(0, dtype=np.int64)))
    assert len(keys) == 0
    assert not keys.holds(crystals).any()
    assert len(StructureKeys.of(crystals).holds(crystals.select([]))) == 0
