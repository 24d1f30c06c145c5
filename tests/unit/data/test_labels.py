"""What a cell says is a number, unknown, or a mistake that is told; nothing in between."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data.check import check
from tlzoo.data.intake import crystals_from
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.sources import read, read_all
from tlzoo.data.sources.labels import as_numbers
from tlzoo.data.splits import Random
from tlzoo.errors import UserError

METALS = ("Li", "Na", "K", "Rb", "Cs", "Ag", "Cu", "Tl")


def salt(metal="Na", side=5.64):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(side), [metal, "Cl"], [[0, 0, 0], [0.5] * 3])


STRUCTURES = [salt(metal) for metal in METALS]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    for metal, structure in zip(METALS, STRUCTURES, strict=True):
        structure.to(filename=str(folder / f"{metal}.vasp"), fmt="poscar")
    return folder


@pytest.fixture
def labelled(cells, tmp_path):
    """Write a table of labels for the first crystals."""

    def write(labels, column="gap"):
        rows = [f'{cells / metal}.vasp,"{label}"' for metal, label in zip(METALS, labels, strict=False)]
        (tmp_path / "labels.csv").write_text("\n".join([f"file,{column}", *rows, ""]), encoding="utf-8")
        return tmp_path / "labels.csv"

    return write


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1000), (" 12 ", 12), ("+5", 5), ("-.5", -0.5), ("7.", 7), ("1E-2", 0.01), ("\u22122.5", -2.5)],
)
def test_numbers(labelled, text, value):
    assert read(labelled(["1", text]), targets=["gap"]).column("gap").tolist() == [1, value]


@pytest.mark.parametrize(
    "text", ["", " ", "NA", "n/a", "N/A", "null", "NaN", "-nan", "None", "<NA>", "#N/A", "-", "--", "—", "?"]
)
def test_unknown(labelled, text):
    np.testing.assert_array_equal(read(labelled(["1", text]), targets=["gap"]).column("gap"), [1.0, np.nan])


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1_000", "write it without '_'"),
        ("1,000", "use a decimal point, and nothing between thousands"),
        ("1,5", "use a decimal point"),
        ("1.234,5", "use a decimal point"),
        ("1,234.5", "use a decimal point"),
        ("٣", "correct it"),
        ("0x10", "correct it"),
        ("1e", "correct it"),
        ("inf", "correct it"),
        ("-Infinity", "correct it"),
        ("1e999", "correct it"),
        (">5", "a bound is no value"),
        ("≤ 0.1", "a bound is no value"),
        ("5.431(2)", "give the value alone, its uncertainty in another column"),
        ("5 ± 1", "give the value alone"),
        ("5 +/- 0.1", "give the value alone"),
        ("5 eV", "give the number alone, without its unit"),
        ("#DIV/0!", "correct it"),
        ("maybe", "correct it"),
    ],
)
def test_neither(labelled, text, hint):
    path = labelled(["1", text, "2"])
    with pytest.raises(UserError) as caught:
        read(path, targets=["gap"])
    said = f"{path}, line 3: column 'gap' holds {text!r}, which is no finite number; {hint}"
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith("or leave it empty if unknown")


def test_what_python_holds():
    values = [1, np.float32(2), Decimal("3.5"), None, float("nan"), np.float32("nan"), Decimal("NaN")]
    numbers, wrong = as_numbers(
        np.array([*values, 10**400, 1j, np.datetime64("2020-01-01"), [1], True], dtype=object)
    )
    np.testing.assert_array_equal(numbers[:4], [1, 2, 3.5, np.nan])
    assert np.isnan(numbers[4:]).all()
    assert wrong.tolist() == [7, 8, 9, 10, 11]


def test_signs_are_text(labelled):
    """A dash is unknown only where numbers are wanted."""
    assert read(labelled(["+", "-", "+"], "sign")).column("sign").tolist() == ["+", "-", "+"]


@pytest.mark.parametrize(
    ("labels", "read_as", "note"),
    [
        (["True", "False", "", "True"], [1, 0, np.nan, 1], "False is 0, True is 1"),
        (["TRUE", "true", "false", "NA"], [1, 1, 0, np.nan], "TRUE is 1, false is 0, true is 1"),
        (["yes", "No", "yes", "no"], [1, 0, 1, 0], "No is 0, no is 0, yes is 1"),
        (["t", "F", "T", "f"], [1, 0, 1, 0], "F is 0, T is 1, f is 0, t is 1"),
        (["yes", "yes", "yes", "yes"], [1, 1, 1, 1], "yes is 1"),
    ],
)
def test_two_classes(labelled, labels, read_as, note):
    path = labelled(labels, "metal")
    crystals, problems = read_all(path, targets=["metal"])
    np.testing.assert_array_equal(crystals.column("metal"), read_as)
    (found,) = problems
    assert found.severity == "note"
    assert found.message == f"column 'metal' is read as two classes: {note}"
    if len(set(labels)) > 1:
        assert read(path, targets=None).column("metal").dtype == np.float64
    assert read(path).column("metal").tolist()[:2] == labels[:2]


def test_two_columns_of_classes_have_one_note(tmp_path, cells):
    (tmp_path / "labels.csv").write_text(
        f"file,metal,magnetic\n{cells / 'Li.vasp'},yes,t\n{cells / 'Na.vasp'},no,f\n"
    )
    crystals, (note,) = read_all(tmp_path / "labels.csv", targets=["metal", "magnetic"])
    assert crystals.column("magnetic").tolist() == [1, 0]
    assert note.message == (
        "column 'metal' is read as two classes: no is 0, yes is 1; column 'magnetic' is read as two classes: "
        "f is 0, t is 1"
    )


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["metal", "insulator", "metal", "metal"], "'metal' (3), 'insulator' (1)"),
        (["True", "yes", "True", "yes"], "'True' (2), 'yes' (2)"),
        (["True", "True", "False", "1"], "'True' (2), 'False' (1)"),
    ],
)
def test_other_words_are_named_once(labelled, labels, told):
    path = labelled(labels, "phase")
    (found,) = read_all(path, targets=["phase"])[1]
    assert str(found) == (
        f"{path}: column 'phase' holds words where numbers are wanted: {told}; write classes as 0, 1, 2 …, "
        "or two as True and False, or as yes and no"
    )


def test_letters_are_no_classes_unasked(labelled):
    """F is fluorine as well: a column is guessed to be of classes if it has both words."""
    assert read(labelled(["F", "F"], "anion"), targets=None).column("anion").tolist() == ["F", "F"]


def test_classes_of_a_program():
    table = pd.DataFrame({"structure": STRUCTURES, "metal": [True, False] * 4, "gap": [True, 2.5] * 4})
    crystals = crystals_from(table, targets=["metal"])
    assert crystals.column("metal").tolist() == [1, 0] * 4
    with pytest.raises(UserError, match="row 1: column 'gap' holds 'True', which is no finite number"):
        crystals_from(table, targets=["gap"])
    words = Crystals.from_structures(STRUCTURES, columns={"metal": ["yes", "no", None, "yes"] * 2})
    data = LabelledTable("memory", ["metal"], Random(val=1, test=1))
    data.take(words)
    np.testing.assert_array_equal(data.labels(np.arange(4))[:, 0], [1, 0, np.nan, 1])
    report = check(words, targets=["metal"], progress=False)
    assert report.errors == []
    assert "metal: 0 to 1" in report.text()


def crystals(values, column="gap"):
    return Crystals.from_structures(STRUCTURES[: len(values)], columns={column: values})


def refusal(table, targets):
    """What training says of labels, before it makes a graph."""
    data = CrystalDataModule.from_crystals(table, targets=targets)
    with pytest.raises(UserError) as caught:
        data.setup("fit")
    return str(caught.value)


NAN = float("nan")
REFUSED = {
    "one row": ({"gap": [1.0]}, "1 crystal with a known target cannot give 1 for validation and 1 for test"),
    "two rows": ({"gap": [1.0, 2.0]}, "2 crystals with a known target cannot give 1 for validation"),
    "one known label": ({"gap": [1.0, *[NAN] * 7]}, "1 crystal with a known target cannot give"),
    "too large": ({"gap": [1.0, 2, 3, 1e39, 5, 6]}, "gap is 1e+39, and single precision"),
    "too small": ({"gap": [1.0, 2, 3, 1e-40, 5, 6]}, "gap is 1e-40, and single precision"),
    "none to learn": ({"gap": [1.0] * 8, "other": [*[NAN] * 7, 2.0]}, "target 'other' has no known label in"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_check_and_fit_agree(case):
    columns, told = REFUSED[case]
    table = Crystals.from_structures(STRUCTURES[: len(columns["gap"])], columns=columns)
    if case == "none to learn":
        # the draw must leave the one label out of training
        rows = Random().split(table, targets=["gap"])
        columns["other"] = [2.0 if row in rows.test else NAN for row in range(8)]
        table = Crystals.from_structures(STRUCTURES, columns=columns)
    report = check(table, targets=list(columns), progress=False)
    assert report.exit_code == 2
    assert report.text().count(told) == 1
    assert told in refusal(table, list(columns))
    assert "ready to train on" not in report.text()


def test_three_rows_can_be_learned():
    report = check(crystals([1.0, 2, 3]), targets=["gap"], progress=False)
    assert report.text().endswith("ready to train on, 0 warnings, 0 notes")
    table = LabelledTable("memory", ["gap"])
    table.take(crystals([1.0, 2, 3]))
    table.check_learnable()


def test_one_structure_three_times_cannot_be_divided():
    """Duplicates stay together, so that nothing is left to validate with."""
    same = Crystals.from_structures([STRUCTURES[0]] * 5, columns={"gap": [1.0] * 5})
    assert "no group of crystals that belong together is small enough" in refusal(same, ["gap"])
    (error,) = check(same, progress=False).errors
    assert "tlzoo fit refuses gap: no group of crystals that belong together" in error.message


def test_a_column_that_nobody_asked_for_does_not_stop():
    table = Crystals.from_structures(STRUCTURES, columns={"gap": np.arange(8.0), "rare": [1.0, *[NAN] * 7]})
    report = check(table, progress=False)
    assert report.exit_code == 0
    (warning,) = report.warnings
    assert warning.message.startswith("tlzoo fit refuses rare: 1 crystal with a known target")


def test_structures_alone_are_for_predictions():
    report = check(Crystals.from_structures(STRUCTURES[:1]), progress=False)
    assert report.exit_code == 0
    assert report.text().endswith("ready to predict, without labels to train on, 0 warnings, 0 notes")


def test_the_worst_outlier_comes_first():
    labels = [1.0, 2.0, 3.0] * 32
    labels[10], labels[40], labels[70] = 900, 1e6, -5e4
    table = Crystals.from_structures(STRUCTURES * 12, columns={"gap": labels})
    found = [p.message for p in check(table, progress=False).warnings if p.kind == "outlier"]
    assert [text.split(",")[0] for text in found] == ["gap is 1e+06", "gap is -50000", "gap is 900"]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["1_000", "1_100", "1_200"], "warning: '1_000' is no number; write it without '_'"),
        (
            ["1,0", "", "1,2"],
            "warning: '1,0' is no number; use a decimal point, and nothing between thousands",
        ),
        (["1.0 eV", "1.5 eV"], "warning: '1.0 eV' is no number; give the number alone, without its unit"),
        (["5 %", "1.5%"], "warning: '5 %' is no number; give the number alone, without its unit"),
        (["1.0(2)", "1.5(3)"], "warning: '1.0(2)' is no number; give the value alone, its uncertainty"),
        (["1.0 2.0", "[1, 2]"], "note: '1.0 2.0' is no number; give one number, or a column for each"),
    ],
)
def test_numbers_that_become_text_are_told(labelled, labels, told):
    """Nobody asked for the column, but its labels are gone."""
    severity, text = told.split(": ")
    (found,) = [p for p in read_all(labelled(labels), targets=None)[1] if p.kind == "numbers as text"]
    assert found.severity == severity
    assert found.message.startswith(f"column 'gap' is read as text: {text}")


@pytest.mark.parametrize(
    "labels", [["mp-1", "mp-2"], ["2020-01-01"] * 2, ["2H", "1T"], ["cubic", "1,5", "x"]]
)
def test_what_is_text_is_not_told(labelled, labels):
    assert read_all(labelled(labels), targets=None)[1] == []
