"""Settings of space groups against a table of the Crystallography Open Database, and hand-made spellings."""

import json
from pathlib import Path

import numpy as np
import pymatgen.symmetry
import pytest
from pymatgen.core.operations import SymmOp

from tlzoo.data.sources import spacegroups


def alike(rotations, translations):
    """Operations as a set, translations in 24ths of an edge."""
    steps = np.round(24 * np.asarray(translations)).astype(int) % 24
    turns = np.round(rotations).astype(int).reshape(-1, 9)
    return {(*turn, *step) for turn, step in zip(turns.tolist(), steps.tolist(), strict=True)}


@pytest.fixture(scope="module")
def operations():
    """Operations of each setting."""
    return {h: frozenset(alike(*spacegroups.operations(h))) for h in spacegroups.SETTINGS}


@pytest.fixture(scope="module")
def listed():
    """Name, Hall symbol and operations of the settings in a table of pymatgen, not made by spglib."""
    rows = json.loads((Path(pymatgen.symmetry.__file__).parent / "symm_ops.json").read_text())
    # a blank at the end marks the name of another cell than the operations are for
    rows = [row for row in rows if row["hermann_mauguin"][-1] != " "]
    parsed = [[SymmOp.from_xyz_str(text) for text in row["symops"]] for row in rows]
    sets = [alike([o.rotation_matrix for o in ops], [o.translation_vector for o in ops]) for ops in parsed]
    return [(row["hermann_mauguin"], row["hall"], found) for row, found in zip(rows, sets, strict=True)]


def test_hall_symbols_have_the_operations_of_the_table(listed, operations):
    compared = 0
    for _, hall, found in listed:
        for setting in spacegroups.of_hall_symbol(hall):
            assert operations[setting] == found, hall
            compared += 1
    assert compared > 500


def test_names_mean_a_setting_of_the_table(listed, operations):
    """Every name of the table is known, but for needless cells, and C 2 c e, which it calls C 2 e b."""
    unknown = {name for name, _, _ in listed if not spacegroups.named(name)}
    assert unknown == {"B 1 21 1", "B 1 21/m 1", "C 2 e b"}
    by_operations = {frozenset(found): name for name, _, found in listed}
    compared = 0
    for found in operations.values():
        name = by_operations.get(found, "C 2 e b")
        if name != "C 2 e b":
            assert found in {operations[setting] for setting in spacegroups.named(name)}, name
            compared += 1
    assert compared > 500


def test_every_label_means_its_setting(operations):
    for setting in spacegroups.SETTINGS:
        found = spacegroups.named(spacegroups.label(setting))
        assert setting in found
        assert {operations[other] for other in found} == {operations[setting]}


def test_all_settings_are_groups():
    for setting in spacegroups.SETTINGS:
        rotations, translations = spacegroups.operations(setting)
        known = alike(rotations, translations)
        assert len(known) == len(rotations)
        second, shift = rotations[-1], translations[-1]
        assert alike(second @ rotations, translations @ second.T + shift) == known


# Old and new names of the same settings (International Tables A, 1983 and 2016; ICSD's letters).
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C m c a", "C m c e"),
        ("A b a 2", "A e a 2"),
        ("A b m 2", "A e m 2"),
        ("P m 3", "P m -3"),
        ("I a 3 d", "I a -3 d"),
        ("P a 3", "Pa-3"),
        ("P 2/m 2/m 2/m", "P m m m"),
        ("P 21/n 21/m 21/a", "Pnma"),
        ("I 41/a m d Z", "I 41/a m d :2"),
        ("P 4/n m m S", "P4/nmm:1"),
        ("R -3 c H", "R -3 c :h"),
        ("P 21/n", "P2(1)/n"),
        ("p 63/m m c", "P6_3/mmc"),
        ("P 1 1 21/b", "P 1 1 2_1/b"),
    ],
)
def test_names_that_are_one(one, other):
    assert spacegroups.named(one) == spacegroups.named(other) != set()


@pytest.mark.parametrize("name", ["F m m 7", "", "unknown", "P 1 21/c 1 :3", "Z 1", "NaCl"])
def test_names_that_are_none(name):
    assert spacegroups.named(name) == set()
