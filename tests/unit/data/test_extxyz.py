"""Extended XYZ and ASE databases: ids and labels are what somebody wrote, not what ase makes of them."""

import gzip

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from tlzoo.data.sources import read, read_all
from tlzoo.data.sources.extxyz import fields
from tlzoo.errors import UserError

EDGES = '"4.11 0 0 0 4.11 0 0 0 4.11"'
CELL = f"Lattice={EDGES} Properties=species:S:1:pos:R:3"


def frame(facts, *, cell=CELL, first="Cs 0 0 0"):
    return f"2\n{cell} {facts}\n{first}\nCl 2.055 2.055 2.055\n"


@pytest.fixture
def extxyz(tmp_path):
    """A file of frames, given what their comments say."""

    def written(*facts, between=""):
        path = tmp_path / "a.extxyz"
        path.write_text(between.join(text if "\n" in text else frame(text) for text in facts))
        return path

    return written


def salt():
    return Atoms("CsCl", scaled_positions=[[0] * 3, [0.5] * 3], cell=[4.11] * 3, pbc=True)


def test_ids_are_as_written(extxyz):
    ids = ["007", "7", "1e5", "100000", "T", "mp-1", "1_0", "10", "0x10", "True", "1.0", "+1", "nan", "a=b"]
    assert read(extxyz(*(f"id={name} gap=1" for name in ids))).ids.tolist() == ids


@pytest.mark.parametrize("quoted", ['"007"', "'007'", "{007}", "[007]", '"00"7', "00\\7"])
def test_quotes_are_no_part_of_an_id(extxyz, quoted):
    assert read(extxyz(f"id={quoted}")).ids.tolist() == ["007"]


def test_ids_that_are_the_same_as_written_are_duplicates(extxyz):
    (problem,) = read_all(extxyz("id=007", "id=7", 'id="007"'))[1]
    assert (problem.kind, problem.row) == ("duplicate id", 3)


@pytest.mark.parametrize(
    "gap", ['"1.0 2.0"', "[1.0,2.0]", "T", "1,5", "wide", "_JSON", '"_JSON [1, 2]"', "inf"]
)
def test_a_label_that_is_no_number_is_told_as_in_a_table(extxyz, gap):
    path = extxyz("id=a gap=1", f"id=b gap={gap}", "id=c gap=3.5e0")
    crystals, (problem,) = read_all(path, targets=["gap"])
    assert crystals.columns["gap"].tolist() == [1, 3.5]
    assert (problem.kind, problem.row) == ("not a number", 2)
    assert str(problem).startswith(f"{path}, frame 2: column 'gap' holds ")


@pytest.mark.parametrize("fact", ["gap=nan", "gap=None", 'gap="NA"', "gap=null", "other=1"])
def test_a_label_that_is_unknown(extxyz, fact):
    found = read(extxyz("id=a gap=1", f"id=b {fact}"), targets=["gap"]).columns["gap"]
    np.testing.assert_array_equal(found, [1, np.nan])


def test_none_as_ase_writes_it_is_not_one(tmp_path):
    """It writes the key alone, which is true by the format, and was read as 1.0."""
    frames = [salt(), salt()]
    for atoms, gap in zip(frames, (0.5, None), strict=True):
        atoms.info["gap"] = gap
    write(tmp_path / "a.extxyz", frames)
    (problem,) = read_all(tmp_path / "a.extxyz", targets=["gap"])[1]
    assert "frame 2: column 'gap' holds 'T', which is no finite number" in str(problem)


def test_a_key_with_two_values(extxyz):
    crystals, (problem,) = read_all(extxyz("id=a gap=1", "id=b gap=1 gap=2"))
    assert crystals.ids.tolist() == ["a"]
    assert "frame 2: cannot be read (ValueError: 'gap' has two values, '1' and '2')" in str(problem)


def test_results_are_columns_by_their_names(tmp_path):
    atoms = salt()
    atoms.calc = SinglePointCalculator(atoms, energy=-3.25, forces=np.zeros((2, 3)), stress=np.zeros(6))
    write(tmp_path / "a.extxyz", atoms)
    with connect(tmp_path / "a.db") as database:
        database.write(atoms)
    for name in ("a.extxyz", "a.db"):
        assert read(tmp_path / name, targets=["energy"]).columns["energy"].tolist() == [-3.25]


@pytest.mark.parametrize("between", ["\n", "\n \n", ""])
def test_empty_lines_between_frames_end_nothing(extxyz, between):
    assert read(extxyz("id=a", "id=b", "id=c", between=between)).ids.tolist() == ["a", "b", "c"]


def test_a_bad_frame_does_not_hide_the_next(extxyz):
    path = extxyz("id=a", frame("id=b", first="Qq 0 0 0"), frame("id=c", first="Cs 0 x 0"), "id=d")
    crystals, problems = read_all(path)
    assert crystals.ids.tolist() == ["a", "d"]
    assert [(p.kind, p.row) for p in problems] == [("unknown element", 2), ("unreadable", 3)]


def test_a_count_is_met_by_lines_before_anything_is_built(extxyz):
    text = frame("id=a").replace("2\n", "999999999\n", 1)
    with pytest.raises(UserError, match=r"cannot be read \(ValueError: 999999999 atoms are announced, 2 are"):
        read(extxyz(text))
    crystals, (problem,) = read_all(extxyz("id=b", text))
    assert crystals.ids.tolist() == ["b"]
    assert problem.row == 2
    (problem,) = read_all(extxyz("id=b", text.replace("999999999", "two")))[1]
    assert "wanted the number of atoms of a frame, got 'two'" in problem.message


@pytest.mark.parametrize(("species", "what"), [("X", "X"), ("200", "Z = 200")])
def test_what_is_no_element(extxyz, species, what):
    cell = CELL if species == "X" else CELL.replace("species:S", "Z:I")
    text = frame("id=a", cell=cell, first=f"{species} 0 0 0").replace(
        "Cl ", "Cl " if species == "X" else "17 "
    )
    (problem,) = read_all(extxyz(text))[1]
    assert f"has sites that are no element ({what})" in problem.message


@pytest.mark.parametrize("label", ["Cs1", "Cs+", "CS", "Cs"])
def test_elements_with_a_number_or_charge(extxyz, label):
    crystals = read(extxyz(frame("id=a", first=f"{label} 0 0 0")))
    assert crystals.numbers.tolist() == [55, 17]
    cell = CELL.replace("species", "tag:I:1:species")
    text = frame("id=a", cell=cell, first=f"7 {label} 0 0 0").replace("Cl ", "8 Cl ")
    assert read(extxyz(text)).numbers.tolist() == [55, 17]


def test_deuterium_is_hydrogen(extxyz):
    assert read_all(extxyz(frame("id=a", first="D 0 0 0")))[0].numbers.tolist() == [1, 17]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            CELL.replace('"4.11 0 0 0 4.11 0 0 0 4.11"', "[[4.11,0,0],[0,4.11,0],[0,0,4.11]]"),
            "wanted nine numbers",
        ),
        (CELL.replace('"4.11 0 0 0 4.11 0 0 0 4.11"', '"4.11 4.11 4.11 90 90 90"'), "wanted nine numbers"),
        (CELL.replace("species", "element"), "none is species (or Z)"),
        (CELL.replace("pos", "frac"), "none pos"),
        (CELL.replace("species:S", "species:I"), "has numbers for species; wanted symbols"),
    ],
)
def test_a_frame_without_what_makes_a_crystal(extxyz, cell, message):
    """ase puts atoms without positions at the origin."""
    text = frame("id=a", cell=cell, first="1 0 0 0" if "species:I" in cell else "Cs 0 0 0")
    (problem,) = read_all(extxyz(text))[1]
    assert message in problem.message
    assert "Error" not in problem.message


@pytest.mark.parametrize("where", ["Cs nan 0 0", "Cs inf 0 0"])
def test_positions_that_are_not_finite(extxyz, where):
    (problem,) = read_all(extxyz(frame("id=a", first=where)))[1]
    assert "coordinates that are not finite numbers" in problem.message


def test_packed_and_with_a_byte_order_mark(tmp_path):
    with gzip.open(tmp_path / "a.extxyz.gz", "wt", encoding="utf-8") as file:
        file.write(f"\ufeff{frame('id=007')}")
    assert read(tmp_path / "a.extxyz.gz").ids.tolist() == ["007"]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("a=1 b = 2", {"a": "1", "b": "2"}),
        ("a= \"x y\" 'b c'={1 2}", {"a": "x y", "b c": "1 2"}),
        ('a="say \\"x\\"" b', {"a": 'say "x"', "b": "T"}),
        ('a="" b=3', {"a": "", "b": "3"}),
        ("a cell of silicon", {"a": "T", "cell": "T", "of": "T", "silicon": "T"}),
        ("", {}),
    ],
)
def test_fields(comment, expected):
    assert fields(comment) == expected


def test_a_database_gives_what_was_stored(tmp_path):
    """`row.volume` is what ase computes of the cell, whatever was stored by that name."""
    stored = {"volume": 100.0, "mass": 1.5, "charge": -2.0, "gap": 7}
    with connect(tmp_path / "a.db") as database:
        database.write(salt(), **stored)
    crystals = read(tmp_path / "a.db", targets=list(stored))
    assert {name: crystals.columns[name].tolist() for name in stored} == {n: [v] for n, v in stored.items()}


@pytest.mark.parametrize("key", ["PBC", "Pbc"])
def test_what_is_periodic_is_said_in_any_case(extxyz, key):
    (found,) = read_all(extxyz(f'{key}="T T F"'))[1]
    assert found.message.startswith("is periodic in a and b only")


def test_a_lattice_is_said_in_any_case(extxyz):
    text = frame("id=a").replace("Lattice", "lattice").replace("Properties", "properties")
    assert abs(np.linalg.det(read(extxyz(text)).lattice[0])) == pytest.approx(4.11**3)


def test_a_molecule_in_a_box_is_told_by_its_pbc(extxyz):
    with pytest.raises(UserError, match=r"frame 1: is not periodic \(pbc F F F\); tlzoo knows periodic"):
        read(extxyz('pbc="F F F"'))
