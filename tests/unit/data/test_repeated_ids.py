"""Rows with one id: which they are, what differs, and two ways to go on."""

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.data.check import check
from tlzoo.data.intake import crystals_from
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.sources import read, read_all
from tlzoo.errors import UserError


def salt(side=5.64):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(side), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])


@pytest.fixture
def folder(tmp_path):
    """Crystal a was measured twice, with one label unknown."""
    for name, side in (("a", 5.5), ("b", 5.6)):
        salt(side).to(filename=str(tmp_path / f"{name}.vasp"), fmt="poscar")
    (tmp_path / "labels.csv").write_text("id,gap,bulk,by\na,1,,x\nb,2,30,y\na,3,20,z\n")
    return tmp_path


def test_both_rows_and_the_remedy_are_told(folder):
    (error,) = read_all(folder, targets=["gap"])[1]
    assert error.kind == "duplicate id"
    assert error.message == (
        f"the id 'a' is taken by {folder}/labels.csv, line 2 and comes again in {folder}/labels.csv, line 4; "
        "the structure is the same with gap 1 and 3: remove one, or have the mean taken ("
        "`--same-id average`, of `tlzoo fit` `--data.same_id average`, in the YAML of `--config` under data)"
    )


def test_average(folder):
    crystals, problems = read_all(folder, targets=["gap", "bulk"], same_id="average")
    assert crystals.ids.tolist() == ["a", "b"]
    assert crystals.column("gap").tolist() == [2, 2]
    assert crystals.column("bulk").tolist() == [20, 30]
    assert crystals.column("by").tolist() == ["x", "y"]
    (note,) = problems
    assert note.severity == "note"
    assert "one crystal each, with the mean of their numbers, for 1 id(s): a" in note.message
    report = check(folder, targets=["gap"], same_id="average", progress=False)
    assert "2 crystals, 1 composition," in report.text()
    assert [p.kind for p in report.errors] == ["training"]


def test_a_wrong_label_is_no_part_of_the_mean(folder):
    (folder / "labels.csv").write_text("id,gap\na,wide\nb,2\na,3\na,4\n")
    crystals, problems = read_all(folder, targets=["gap"], same_id="average")
    assert dict(zip(crystals.ids, crystals.column("gap"), strict=True)) == {"a": 3.5, "b": 2}
    assert [p.kind for p in problems] == ["not a number", "duplicate id"]


def test_rename(folder):
    (folder / "labels.csv").write_text("id,gap\na,1\nb,2\na,3\na,4\n")
    crystals, problems = read_all(folder, targets=["gap"], same_id="rename")
    assert crystals.ids.tolist() == ["a", "b", "a-2", "a-3"]
    assert crystals.column("gap").tolist() == [1, 2, 3, 4]
    assert [p.severity for p in problems] == ["note"]


def test_a_new_name_is_not_taken():
    table = pd.DataFrame({"id": ["a", "a-2", "a"], "structure": [salt(5.5), salt(5.6), salt(5.7)]})
    assert crystals_from(table, same_id="rename").ids.tolist() == ["a", "a-2", "a-3"]


def test_different_structures_have_no_mean():
    table = pd.DataFrame({"id": ["a", "a"], "structure": [salt(5.5), salt(5.7)], "gap": [1.0, 2.0]})
    for options in ({}, {"same_id": "average"}):
        with pytest.raises(
            UserError, match=r"the structures differ: give each an id of its own, .*`--same-id rename`"
        ):
            crystals_from(table, **options)


def test_rows_that_agree():
    table = pd.DataFrame({"id": ["a", "a"], "structure": [salt()] * 2, "gap": [1.0, 1.0]})
    with pytest.raises(
        UserError,
        match="row 1 and comes again in the data frame, row 2; the structure is the same: remove one",
    ):
        crystals_from(table)


def test_a_data_module_is_told(folder):
    table = CrystalDataModule(str(folder), ["gap"], same_id="average").table
    assert table.crystals.ids.tolist() == ["a", "b"]
    np.testing.assert_array_equal(table.crystals.column("gap"), [2, 2])


def test_the_command_is_told(folder, capsys):
    from tlzoo.__main__ import main

    (folder / "labels.csv").write_text("id,gap\na,1\nb,2\na,3\n")
    assert main(["data", "check", str(folder), "--target", "gap", "--same-id", "rename"]) == 2
    out = capsys.readouterr().out
    assert "3 crystals" in out
    assert "--same-id" not in out
    assert read(folder, same_id="rename").ids.tolist() == ["a", "b", "a-2"]
