"""Perturbed copies: as far off as asked, the same every time, and nothing that no solid is."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.perturbed import NEAREST, copied, perturbed, to_perturb
from tlzoo.data.sources import read
from tlzoo.errors import UserError


@pytest.fixture(scope="module")
def crystals():
    table = named.load("semiconductors")
    parts = np.array(["train", "val", "test", None] * len(table), dtype=object)[: len(table)]
    return replace(table, columns={**table.columns, "part": parts})


def arrays(crystals, name):
    one = crystals.select([list(crystals.ids).index(name)])
    return one.lattice, one.frac_coords


def test_a_copy_depends_on_seed_and_crystal_alone(crystals):
    some = crystals.select(range(60))
    one = perturbed(some, copies=2, seed=3)
    other = perturbed(some.select(range(59, 0, -3)), copies=3, seed=3)
    shared = sorted(set(one.ids) & set(other.ids))
    assert len(shared) == 2 * 20
    for name in shared:
        np.testing.assert_array_equal(arrays(one, name)[0], arrays(other, name)[0])
        np.testing.assert_array_equal(arrays(one, name)[1], arrays(other, name)[1])
    assert not np.isin(perturbed(some, copies=2, seed=4).lattice, one.lattice).any()
    assert len(np.unique(one.lattice[:, 0, 0])) == len(one)


def test_what_is_kept_of_the_parents(crystals):
    copies = perturbed(crystals.select([5, 2]), copies=2)
    names = crystals.ids[[5, 2]]
    assert list(copies.ids) == [f"{names[0]}~1", f"{names[0]}~2", f"{names[1]}~1", f"{names[1]}~2"]
    assert list(copies.columns) == ["parent", "part"]
    assert not copies.units
    assert list(copies.columns["parent"]) == [names[0]] * 2 + [names[1]] * 2
    assert list(copies.columns["part"]) == list(crystals.columns["part"][[5, 5, 2, 2]])
    assert copies.formulas == [crystals.formulas[row] for row in (5, 5, 2, 2)]
    assert copied(copies) == dict(enumerate(copies.columns["parent"]))
    assert copied(crystals) == {}
    assert list(perturbed(replace(crystals.select([1]), columns={})).columns) == ["parent"]


def test_displacements_and_strains_have_the_spread_that_was_asked():
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    crystals = Crystals.from_structures([salt], ids=["salt"])
    copies = perturbed(crystals, copies=3000, displacement=0.04, strain=0.01)
    strain = np.linalg.inv(crystals.lattice[0]) @ copies.lattice - np.eye(3)
    np.testing.assert_allclose(strain, strain.transpose(0, 2, 1), atol=1e-12)
    free = strain[:, *np.triu_indices(3)]
    np.testing.assert_allclose(free.std(axis=0), 0.01, rtol=0.05)
    np.testing.assert_allclose(free.mean(axis=0), 0, atol=0.001)
    assert np.abs(np.corrcoef(free.T) - np.eye(6)).max() < 0.1
    moved = copies.frac_coords.reshape(3000, 8, 3) - crystals.frac_coords
    np.testing.assert_allclose((moved @ copies.lattice).std(axis=0), 0.04, rtol=0.06)


def test_no_two_atoms_come_nearer_than_a_part_of_their_distance():
    # H2 in a box of helium: pairs of 0.74 Å, which a third of the draws would break
    structure = Structure(
        Lattice.cubic(3.2), ["H", "H", "He"], [[0, 0, 0], [0, 0, 0.74 / 3.2], [0.5, 0.5, 0.6]]
    )
    crystals = Crystals.from_structures([structure], ids=["pair"])
    copies = perturbed(crystals, copies=200, displacement=0.2)
    before = structure.distance_matrix
    off = ~np.eye(3, dtype=bool)
    parts = [(copies.structure(row).distance_matrix / np.where(off, before, 1))[off] for row in range(200)]
    assert NEAREST <= np.min(parts) < NEAREST + 0.05
    shortest = [min(copies.structure(row).lattice.abc) for row in range(200)]
    assert min(shortest) > NEAREST * 3.2


def test_copies_are_read_as_they_were(crystals, tmp_path):
    rows = to_perturb(crystals, max_atoms=8)
    copies = perturbed(crystals.select(rows), displacement=0.1, strain=0.05)
    copies.write_parquet(tmp_path / "copies.parquet")
    again = read(tmp_path / "copies.parquet")
    assert again.content_hash == copies.content_hash
    assert list(again.columns["parent"]) == list(crystals.ids[rows])


def test_numbers_as_ids_stay_names(crystals, tmp_path):
    some = replace(crystals.select([0, 1]), ids=np.array(["007", "12"], dtype=object))
    perturbed(some).write_parquet(tmp_path / "copies.parquet")
    assert copied(read(tmp_path / "copies.parquet")) == {0: "007", 1: "12"}


def test_which_are_copied(crystals):
    parts, size = crystals.columns["part"], crystals.num_atoms
    assert {*parts[to_perturb(crystals)]} == {"train", "val"}
    small = to_perturb(crystals, ["val"], 4)
    np.testing.assert_array_equal(small, np.flatnonzero((parts == "val") & (size <= 4)))
    assert len(to_perturb(replace(crystals, columns={}))) == len(crystals)
    for arguments, message in (
        ((["test"],), "parts are train and val, got 'test'"),
        (((), 0), "no crystal is left to copy"),
    ):
        with pytest.raises(UserError, match=message):
            to_perturb(crystals, *arguments)
    with pytest.raises(UserError, match="no column 'part'"):
        to_perturb(replace(crystals, columns={}), ["val"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"copies": 0}, "at least 1 copy and a seed of at least 0, got 0 and 0"),
        ({"seed": -1}, "got 1 and -1"),
        ({"displacement": 0.31}, "displacement must be from 0 to 0.3 Å, got 0.31"),
        ({"strain": float("nan")}, "strain must be from 0 to 0.1, got nan"),
        ({"strain": 0, "displacement": 0}, "nothing would change"),
    ],
)
def test_arguments_out_of_bounds(crystals, arguments, message):
    with pytest.raises(UserError, match=message):
        perturbed(crystals.select([0]), **arguments)


def test_a_crystal_that_gives_no_plausible_copy_is_named():
    atoms = np.stack(np.meshgrid(*[np.arange(5) / 5] * 3), axis=-1).reshape(-1, 3)
    dense = Structure(Lattice.cubic(7.5), ["B"] * len(atoms), atoms)
    crystals = Crystals.from_structures([dense], ids=["dense"])
    with pytest.raises(UserError, match=r"'dense' .*of 100 copies none .*ask for a smaller displacement"):
        perturbed(crystals, displacement=0.3)
