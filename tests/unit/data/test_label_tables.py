"""Each label meets its own crystal: the label is the file's lattice constant, so that a mistake shows."""

import itertools
import os
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.data.check import check
from tlzoo.data.sources import read, read_all
from tlzoo.errors import UserError

# as a table that was sorted by something else
ORDER = [0, 3, 4, 5, 6, 8, 1, 9, 2, 7]
SIDES = {name: 4.03 + 0.18 * row for row, name in enumerate(ORDER)}


def salt(side):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(side), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    for name, side in SIDES.items():
        salt(side).to(filename=str(folder / f"{name}.vasp"), fmt="poscar")
    return folder


@pytest.fixture
def folder(cells, tmp_path):
    return shutil.copytree(cells, tmp_path / "in")


def meet(crystals, column="a"):
    """Every crystal has its own lattice constant for a label."""
    sides = np.cbrt(np.abs(np.linalg.det(crystals.lattice)))
    np.testing.assert_allclose(crystals.columns[column], sides, atol=1e-4)
    return len(crystals)


def table(**columns):
    return pd.DataFrame({**columns, "a": [SIDES[name] for name in ORDER]})


def errors(path, **options):
    return [p for p in read_all(path, **options)[1] if p.severity == "error"]


def message(path, **options):
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return str(caught.value).replace(f"{path.parent}/", "")


ROWS = range(len(ORDER))
ENDED = [f"{name}.vasp" for name in ORDER]


@pytest.mark.parametrize(
    "columns",
    [
        {"": ROWS, "file": ORDER},
        {"rank": ROWS, "file": ORDER},
        {"index": ROWS, "file": ORDER},
        {"Unnamed: 0": ROWS, "material": ORDER},
        {"": ROWS, "material": ORDER},
        {"rank": ROWS, "material": ENDED},
        {"id": ROWS, "material": ENDED},
        {"id": ROWS, "filename": ORDER},
        {"index": ROWS, "material_id": ORDER},
        {"rank": ROWS, "id": ORDER},
        {"material": ORDER, "rank": ROWS, "id": ORDER},
        # small whole numbers that come again name no files
        {"number of rings": [2] * 5 + [3] * 5, "material": ORDER},
        {"material": ORDER},
        # the names are the index
        {"": ORDER},
        # a comma ends each row
        {"id": ORDER, "": [""] * 10},
    ],
    ids=",".join,
)
def test_the_right_column_names_the_files(folder, columns):
    table(**columns).to_csv(folder / "labels.csv", index=False)
    crystals, problems = read_all(folder, targets=["a"])
    assert meet(crystals) == 10
    assert [p for p in problems if p.severity != "note"] == []


def test_an_index_that_pandas_wrote_is_no_property(folder):
    table(file=ORDER).to_csv(folder / "labels.csv")
    crystals, problems = read_all(folder, targets=None)
    assert list(crystals.columns) == ["a"]
    assert meet(crystals) == 10
    (note,) = problems
    assert (note.severity, note.kind) == ("note", "unnamed column")
    assert "as pandas writes its index, was not read: ''" in note.message


@pytest.mark.parametrize(
    "columns", [{"rank": ROWS, "material": ORDER}, {"id": ROWS, "name": ORDER}, {"file": ORDER, "path": ROWS}]
)
def test_columns_that_name_other_files_are_told(folder, columns):
    table(**columns).to_csv(folder / "labels.csv", index=False)
    one, two = columns
    said = message(folder, targets=["a"])
    assert "labels.csv: the columns" in said
    assert all(repr(name) in said for name in columns)
    assert "in line 3: say which counts" in said
    assert "--id-column NAME" in said
    right = one if list(columns[one]) == ORDER else two
    assert meet(read(folder, targets=["a"], id_column=right)) == 10


def test_a_number_that_matches_more_often_is_told(folder):
    """One name is misspelt: then the numbers of the rows match better than the names."""
    table(rank=ROWS, file=[*ORDER[:9], "seven"]).to_csv(folder / "labels.csv", index=False)
    assert "the columns 'file' and 'rank' both name structure files" in message(folder, targets=["a"])
    assert "there is no structure file for 'seven'" in message(folder, targets=["a"], id_column="file")


def test_columns_that_agree_may_both_name_files(folder):
    table(file=ENDED, name=ORDER).to_csv(folder / "labels.csv", index=False)
    assert meet(read(folder, targets=["a"])) == 10


def test_a_table_with_the_index_of_pandas(folder):
    """Where structures are in the table itself, or named in it: the row is the crystal's."""
    named = table(file=ENDED)
    named.index = pd.Index(ROWS[::-1])
    named.to_csv(folder / "named.csv")
    named.to_parquet(folder / "named.parquet")
    named.rename_axis("index").to_parquet(folder / "index.parquet")
    for name in ("named.csv", "named.parquet", "index.parquet"):
        crystals = read(folder / name, targets=["a"])
        assert meet(crystals) == 10
        assert set(crystals.columns) == {"a"}
    assert read(folder / "named.csv").ids.tolist() == [str(name) for name in ORDER]


def test_two_columns_of_structures_are_told(folder):
    table(start=ENDED, end=ENDED[::-1]).to_csv(folder / "pairs.tsv", sep="\t", index=False)
    assert "pairs.tsv: the columns 'start', 'end' all hold structures" in message(folder / "pairs.tsv")
    assert meet(read(folder / "pairs.tsv", structure_column="start", targets=["a"])) == 10


@pytest.mark.parametrize(
    ("row", "file", "hint"),
    [
        ("7", "007.vasp", "there is '007'"),
        ("007", "7.vasp", "there is '7'"),
        ("Co", "CO.vasp", "there is 'CO'"),
        ("nacl.VASP", "NaCl.vasp", "there is 'NaCl'"),
        ("other", "NaCl.vasp", ""),
    ],
)
def test_names_are_not_guessed(tmp_path, cells, row, file, hint):
    """Carbon monoxide is no cobalt; a hint says what is nearest."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(cells / "0.vasp", folder / "good.vasp")
    shutil.copy(cells / "1.vasp", folder / file)
    (folder / "labels.csv").write_text(f"id,a\ngood,4.03\n{row},5\n")
    said = next(p.message for p in errors(folder, targets=["a"]) if p.kind == "missing file")
    assert said.startswith(f"there is no structure file for {row!r}")
    assert hint in said
    assert bool(hint) == ("there is '" in said)


def test_zeros_in_front_belong_to_the_name(tmp_path, cells):
    for name, source in (("007", 0), ("7", 1)):
        shutil.copy(cells / f"{source}.vasp", tmp_path / f"{name}.vasp")
    (tmp_path / "labels.csv").write_text(f"id,a\n007,{SIDES[0]}\n7,{SIDES[1]}\n")
    crystals = read(tmp_path, targets=["a"])
    assert meet(crystals) == 2
    assert crystals.ids.tolist() == ["007", "7"]


def test_one_stem_two_files(tmp_path, cells):
    shutil.copy(cells / "0.vasp", tmp_path / "a.vasp")
    shutil.copy(cells / "1.vasp", tmp_path / "a.poscar")
    (tmp_path / "labels.csv").write_text("id,a\na,4.03\n")
    assert "'a' can be a.poscar, a.vasp; write folder and ending too" in message(tmp_path, targets=["a"])
    (tmp_path / "labels.csv").write_text(f"id,a\na.poscar,{SIDES[1]}\na.vasp,{SIDES[0]}\n")
    crystals = read(tmp_path, targets=["a"])
    assert meet(crystals) == 2
    assert crystals.ids.tolist() == ["a.poscar", "a.vasp"]


def test_of_several_tables_one_is_given(folder):
    table(id=ORDER).to_csv(folder / "labels.csv", index=False)
    table(id=ORDER).assign(a=0.0)[:4].to_csv(folder / "old.csv", index=False)
    assert "several tables of labels (labels.csv, old.csv)" in message(folder)
    assert meet(read(folder / "labels.csv", targets=["a"])) == 10
    crystals, problems = read_all(folder / "old.csv", targets=["a"])
    assert len(crystals) == 4
    (note,) = problems
    assert note.severity == "note"
    assert "6 structure file(s) (1.vasp, 2.vasp, 6.vasp, 7.vasp, 8.vasp …) without a row in" in note.message


def test_tables_of_other_kinds_are_named(folder):
    table(id=ORDER).to_parquet(folder / "labels.parquet")
    (folder / "labels.xlsx").write_bytes(b"PK")
    crystals, problems = read_all(folder)
    assert crystals.columns == {}
    (found,) = [p for p in problems if p.kind == "other tables"]
    assert found.severity == "warning"
    assert "labels.parquet, labels.xlsx may hold labels, but labels come from a CSV file" in found.message
    table(id=ORDER).to_csv(folder / "LABELS.CSV", index=False)
    crystals, problems = read_all(folder, targets=["a"])
    assert meet(crystals) == 10
    (found,) = [p for p in problems if p.kind == "other tables"]
    assert found.severity == "note"
    assert "labels come from LABELS.CSV alone" in found.message


def test_a_tsv_is_a_table_too(folder):
    table(id=ORDER).to_csv(folder / "labels.tsv", sep="\t", index=False)
    assert meet(read(folder, targets=["a"])) == 10


def test_sub_folders_beside_crystals_are_named(folder):
    (folder / "more").mkdir()
    for name in ("MgO", "ZnS"):
        salt(4.2).to(filename=str(folder / "more" / f"{name}.vasp"), fmt="poscar")
    crystals, problems = read_all(folder)
    assert len(crystals) == 10
    (found,) = problems
    assert found.severity == "warning"
    assert "2 structure file(s) (more/MgO.vasp, more/ZnS.vasp) in sub-folders" in found.message
    assert "more/MgO.vasp" in check(folder, progress=False).text()


def test_a_table_may_name_files_in_sub_folders(folder):
    (folder / "more").mkdir()
    for name in ("a", "0"):
        salt(6.6).to(filename=str(folder / "more" / f"{name}.vasp"), fmt="poscar")
    rows = table(id=ORDER)
    rows.loc[10] = ["more/a.vasp", 6.6]
    rows.loc[11] = ["more/0", 6.6]
    rows.to_csv(folder / "labels.csv", index=False)
    crystals, problems = read_all(folder, targets=["a"])
    assert meet(crystals) == 12
    assert problems == []
    assert crystals.ids.tolist()[-2:] == ["more/a", "more/0"]


def test_the_same_name_in_two_sub_folders(tmp_path, cells):
    for name, source in (("cold", 0), ("warm", 1)):
        (tmp_path / name).mkdir()
        shutil.copy(cells / f"{source}.vasp", tmp_path / name / "cell.vasp")
    assert read(tmp_path).ids.tolist() == ["cold/cell", "warm/cell"]
    (tmp_path / "labels.csv").write_text(f"id,a\nwarm/cell,{SIDES[1]}\ncold/cell,{SIDES[0]}\n")
    assert meet(read(tmp_path, targets=["a"])) == 2
    (tmp_path / "labels.csv").write_text("id,a\ncell,5\nwarm/cell,5\n")
    assert "'cell' can be cold/cell.vasp, warm/cell.vasp" in message(tmp_path, targets=["a"])


def test_runs_of_vasp_give_where_they_ended(tmp_path):
    """Each run has a POSCAR to begin with and a CONTCAR to end with, among much else."""
    for run, side in (("a", 5.0), ("b", 5.5)):
        (tmp_path / run).mkdir()
        salt(4.0).to(filename=str(tmp_path / run / "POSCAR"), fmt="poscar")
        salt(side).to(filename=str(tmp_path / run / "CONTCAR"), fmt="poscar")
        (tmp_path / run / "OUTCAR").write_text("much")
    (tmp_path / "labels.csv").write_text("run,a\nb,5.5\na,5\n")
    crystals, problems = read_all(tmp_path, targets=["a"])
    assert crystals.ids.tolist() == ["b", "a"]
    assert meet(crystals) == 2
    (found,) = problems
    assert found.severity == "warning"
    assert "2 folder(s) hold POSCAR and CONTCAR: CONTCAR, where the run ended, is read" in found.message


def test_a_run_that_did_not_end_is_told(tmp_path):
    for run in "ab":
        (tmp_path / run).mkdir()
        salt(4.0).to(filename=str(tmp_path / run / "POSCAR"), fmt="poscar")
    (tmp_path / "a" / "CONTCAR").write_text("")
    (found,) = errors(tmp_path)
    assert str(found) == f"{tmp_path}/a/CONTCAR: is empty"


@pytest.mark.parametrize("name", [".git", "__MACOSX", ".ipynb_checkpoints"])
def test_hidden_folders_hold_nothing(folder, name):
    (folder / name).mkdir()
    shutil.copy(folder / "0.vasp", folder / name / "0.vasp")
    (folder / ".DS_Store").write_bytes(b"x")
    assert read_all(folder)[1] == []


def test_a_hidden_folder_above_hides_nothing(tmp_path, cells):
    (tmp_path / ".cache" / "mine").mkdir(parents=True)
    shutil.copytree(cells, tmp_path / ".cache" / "mine" / "cells")
    assert len(read(tmp_path / ".cache" / "mine")) == 10


def test_dangling_links_are_told(folder):
    (folder / "gone.vasp").symlink_to("elsewhere/gone.vasp")
    (found,) = errors(folder)
    assert str(found).startswith(
        f"{folder}/gone.vasp: is a link to 'elsewhere/gone.vasp', which is not there; mend it"
    )
    (folder / "0.vasp").rename(folder.parent / "0.vasp")
    (folder / "0.vasp").symlink_to(folder.parent / "0.vasp")
    assert len(errors(folder)) == 1


def test_a_table_that_is_a_dangling_link(folder):
    (folder / "labels.csv").symlink_to("elsewhere.csv")
    (found,) = errors(folder)
    assert "labels.csv: is a link to 'elsewhere.csv'" in str(found)


def test_links_to_folders_are_named(folder, cells):
    (folder / "linked").symlink_to(cells)
    (folder / "round").symlink_to(folder)
    crystals, problems = read_all(folder)
    assert len(crystals) == 10
    assert [p.message for p in problems] == [
        "is a link to a folder, which is not followed; give that folder, or copy it"
    ] * 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(folder):
    (folder / "closed").mkdir(mode=0)
    (found,) = errors(folder)
    assert "closed: cannot be read: Permission denied" in str(found)


def test_labels_deep_in_an_archive_are_named(tmp_path, cells):
    table(id=ORDER).to_csv(tmp_path / "labels.csv", index=False)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("README.txt", "x")
        archive.write(tmp_path / "labels.csv", "data/labels.csv")
        for name in ORDER:
            archive.write(cells / f"{name}.vasp", f"data/{name}.vasp")
    crystals, problems = read_all(tmp_path / "in.zip")
    assert len(crystals) == 10
    (found,) = [p for p in problems if p.severity == "warning"]
    assert found.message.startswith("data/labels.csv may hold labels, but")


def test_every_way_to_name_a_file(folder):
    for form, known in itertools.product(("{}", "{}.vasp"), ("file", "id", "anything")):
        table(**{known: [form.format(name) for name in ORDER]}).to_csv(folder / "labels.csv", index=False)
        assert meet(read(folder, targets=["a"])) == 10


@pytest.mark.parametrize(
    ("written", "hint"),
    [("{}.0", "column 'id' has '0.0'; there is '0'"), ("{:.2f}", "column 'id' has '0.00'; there is '0'")],
)
def test_ids_that_became_decimals_are_not_replaced_by_whole_numbers(folder, written, hint):
    """A number of electrons, 9 to 0 here, would name the files; every label would be another crystal's."""
    rows = table(id=[written.format(name) for name in ORDER], electrons=[9 - name for name in ORDER])
    rows.to_csv(folder / "labels.csv", index=False)
    said = message(folder, targets=["a"])
    assert said == f"in/labels.csv: {hint}: write it so, with its zeros, capitals and ending"


def test_names_that_lost_their_zeros_are_told(tmp_path, cells):
    (tmp_path / "in").mkdir()
    for name in ORDER:
        shutil.copy(cells / f"{name}.vasp", tmp_path / "in" / f"{name:03}.vasp")
    table(id=ORDER).to_csv(tmp_path / "in" / "labels.csv", index=False)
    assert "column 'id' has '0'; there is '000': write it so" in message(tmp_path / "in", targets=["a"])


def test_other_ids_leave_the_names_to_another_column(folder):
    table(material_id=[f"mp-{name}" for name in ORDER], number=ORDER).to_csv(
        folder / "labels.csv", index=False
    )
    assert meet(read(folder, targets=["a"])) == 10


def test_the_first_line_that_excel_writes_is_no_header(folder):
    rows = table(file=ORDER)
    (folder / "labels.csv").write_text("sep=;\n" + rows.to_csv(index=False, sep=";"))
    crystals, problems = read_all(folder, targets=["a"])
    assert (meet(crystals), problems) == (10, [])


def test_files_of_several_crystals_in_a_folder_are_named(folder):
    (folder / "more.extxyz").write_text("2\n\n")
    (found,) = read_all(folder)[1]
    assert (found.kind, found.severity) == ("other crystals", "warning")
    assert found.message == "more.extxyz may hold crystals, which are not read in a folder: give it alone"


def test_a_spreadsheet_is_to_be_saved_as_csv(tmp_path):
    (tmp_path / "in.xlsx").write_bytes(b"PK")
    assert message(tmp_path / "in.xlsx").endswith("; save it as .csv")
