"""Structures that are the same get the same label, whatever their cell; others do not."""

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data import duplicates
from tlzoo.data.duplicates import duplicate_groups

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def salt(a=5.64):
    return Structure(Lattice.cubic(a), ["Na"] * 4 + ["Cl"] * 4, np.concatenate([FCC, FCC + 0.5]))


def groups(*structures):
    return duplicate_groups(Crystals.from_structures(structures)).tolist()


def test_none_and_one():
    assert groups() == []
    assert groups(salt()) == [0]


def test_copies_need_no_matcher(monkeypatch):
    monkeypatch.setattr(duplicates, "_matches", None)
    assert groups(salt(), salt(), salt(7)) == [0, 0, 2]


def test_other_cells_of_one_crystal():
    moved = salt()
    moved.translate_sites(range(8), [0.1, 0.2, 0.3])
    turned = Structure(
        Lattice(salt().lattice.matrix[[1, 2, 0]] * [1, 1, 1]), salt().species, salt().frac_coords
    )
    assert (
        groups(salt(), salt().get_primitive_structure(), salt() * (2, 1, 1), moved, turned, salt(5.7))
        == [0] * 6
    )


def test_other_phase_other_size_other_element():
    caesium_type = Structure(Lattice.cubic(3.55), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    potassium = salt()
    potassium.replace_species({"Na": "K"})
    assert groups(salt(), caesium_type, salt(6.5), potassium) == [0, 1, 2, 3]


def test_label_is_the_first_row():
    assert groups(salt(7), salt(5.7), salt(5.64), salt(7.05), salt(5.64)) == [0, 1, 1, 0, 1]


def test_too_many_to_compare_are_kept_together(monkeypatch):
    monkeypatch.setattr(duplicates, "MANY", 2)
    caesium_type = Structure(Lattice.cubic(3.55), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert groups(salt(7), salt(), caesium_type, salt(5.7), salt()) == [0, 1, 1, 1, 1]


def test_noble_gases_warn_of_nothing():
    argon = Structure(Lattice.cubic(5.3), ["Ar"] * 4, FCC)
    assert groups(argon, argon.get_primitive_structure()) == [0, 0]


@pytest.mark.parametrize(("name", "distinct"), [("phonons", 1257), ("dielectric", 1038)])
def test_as_pymatgen_groups_them(data_dir, name, distinct):
    crystals = Crystals.read_parquet(data_dir / f"{name}.parquet")
    labels = duplicate_groups(crystals, progress=False)
    assert len(np.unique(labels)) == distinct
    formulas = np.array(crystals.formulas)
    matcher = StructureMatcher()
    for row in np.flatnonzero(labels != np.arange(len(labels))):
        assert formulas[row] == formulas[labels[row]]
        assert matcher.fit(crystals.structure(int(row)), crystals.structure(int(labels[row])))


def test_nothing_is_missed(data_dir):
    crystals = Crystals.read_parquet(data_dir / "phonons.parquet")
    labels = duplicate_groups(crystals, progress=False)
    formulas = np.array(crystals.formulas)
    repeated = [f for f, n in zip(*np.unique(formulas, return_counts=True), strict=True) if n > 1]
    matcher = StructureMatcher(scale=False)  # true volumes, so that a fit implies close volumes
    for formula in repeated:
        rows = np.flatnonzero(formulas == formula)
        for i, one in enumerate(rows):
            for other in rows[i + 1 :]:
                if matcher.fit(crystals.structure(int(one)), crystals.structure(int(other))):
                    assert labels[one] == labels[other], formula
