"""What is unusual is said in a line for each kind, with a count and the first few names."""

import json

import pytest

from tlzoo.data.sources.problems import Place, Problem, Remark, remarks, remarks_of, tell, together
from tlzoo.machine.remarks import once, told

OCCUPANCY = "site {} has no occupancy, taken for 1"


def note(name: str, text: str, severity: str = "note", kind: str = "note") -> Problem:
    return Problem(Place(f"folder/{name}"), kind, text, severity)


def lines(problems: list[Problem], total: int = 120, label: str = "folder") -> list[str]:
    return [one.line(label, total) for one in remarks(problems, label).values()]


def test_one_line_for_the_same_of_many():
    problems = [note(f"{name}.cif", "has no symmetry") for name in "abcde"]
    assert lines(problems) == ["folder: 5 of 120 crystals (a.cif, b.cif, c.cif, …): has no symmetry"]
    assert lines(problems[:2]) == ["folder: 2 of 120 crystals (a.cif, b.cif): has no symmetry"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (OCCUPANCY.format("O1"), OCCUPANCY.format("Fe12b")),
        ("the group 'F m 3 m' is read as 225", "the group 'P 21/n' is read as 14"),
        ("labels OH1, HO1 and OS3 are no elements", "labels OH1 are no elements"),
        ("loses 2 hydrogens, 0.1 %", "loses 12 hydrogens, 3.5 %"),
    ],
)
def test_particulars_make_no_other_kind(one, other):
    problems = [note("a.cif", one), note("b.cif", other)]
    assert lines(problems) == [f"folder: 2 of 120 crystals (a.cif, b.cif); a.cif: {one}"]


def test_other_words_are_another_kind():
    assert len(lines([note("a.cif", "site O1 is moved"), note("b.cif", "site O1 is lost")])) == 2


def test_a_crystal_with_two_notes_of_a_kind_counts_once():
    problems = [note("a.cif", OCCUPANCY.format(label)) for label in ("O1", "O2")]
    assert lines(problems) == [f"folder: 1 of 120 crystals (a.cif): {OCCUPANCY.format('O1')}"]


def test_warnings_come_first_and_have_kinds():
    problems = [
        note("a.cif", "has no symmetry"),
        note("b.cif", "atoms 1.2 Å apart, too near", "warning", "distance"),
        note("c.cif", "no others are near", "warning", "distance"),
    ]
    assert lines(problems) == [
        "folder: 2 of 120 crystals (b.cif, c.cif); b.cif: atoms 1.2 Å apart, too near",
        "folder: 1 of 120 crystals (a.cif): has no symmetry",
    ]


def test_of_what_is_wrong_nothing_else_is_said():
    assert lines([note("a.cif", "has no symmetry"), note("a.cif", "is empty", "error", "empty")]) == []


def test_all_of_an_input_needs_no_count():
    assert lines([Problem(Place("a.cif"), "note", "has no symmetry", "note")], 1, "a.cif") == [
        "a.cif: has no symmetry"
    ]
    rows = [
        Problem(Place("t.csv", 3), "note", "odd", "note"),
        Problem(Place("t.csv", 7), "note", "odd", "note"),
    ]
    assert lines(rows, 9, "t.csv") == ["t.csv: 2 of 9 crystals (line 3, line 7): odd"]


def test_parts_add_up():
    parts = [
        remarks([note("a", "odd")], "folder"),
        remarks([note(name, "odd") for name in "bcd"] + [note("e", "even")], "folder"),
        remarks_of(json.dumps(remarks([note("f", "odd")], "folder"))),
        remarks_of(b"{}"),
    ]
    found = together(parts)
    assert found == {
        "odd": Remark(5, ("a", "b", "c"), "odd", alike=True),
        "even": Remark(1, ("e",), "even", alike=True),
    }


def test_never_more_than_a_screen(caplog):
    tell("folder", remarks([note("a.cif", f"odd {'x' * i} site") for i in range(1, 40)], "folder"), 1)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 11
    assert said[-1] == "folder: … and 29 more kinds of remarks"


def test_once_in_a_command(caplog):
    found = remarks([note("a.cif", "odd")], "folder")

    def said() -> int:
        return sum("odd" in record.getMessage() for record in caplog.records)

    with once():
        tell("folder", found, 1)
        with once():
            tell("folder", found, 1)
        assert said() == 1
        tell("another", found, 1)
        assert said() == 2
        told("third")
        tell("third", found, 1)
        assert said() == 2
    tell("folder", found, 1)
    tell("folder", found, 1)
    assert said() == 4


def test_what_is_said_of_the_table_is_of_no_crystal():
    problems = [note("labels.csv", "a column without a name was not read", kind="unnamed column")]
    assert lines(problems) == ["folder, labels.csv: a column without a name was not read"]
    assert remarks_of(json.dumps(remarks(problems, "folder"))) == remarks(problems, "folder")
