"""Every kind of bad input gets one message with file and row, and nothing is skipped in silence."""

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from pymatgen.core import Lattice, Molecule, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from tlzoo.data.sources import read, read_all
from tlzoo.errors import UserError


@pytest.fixture(scope="module")
def salt():
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def cif(salt):
    return salt.to(fmt="cif")


@pytest.fixture
def folder(tmp_path, cif):
    """Two good crystals, a and b, labelled."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.cif").write_text(cif)
    (tmp_path / "labels.csv").write_text("id,gap\na,1\nb,2\n")
    return tmp_path


def message(path, **options):
    """The whole message of reading what is bad, without the folder."""
    with pytest.raises(UserError) as caught:
        read(path, **options)
    return str(caught.value).replace(f"{path.parent}/", "")


def problem(path, **options):
    """The only error among the problems."""
    (found,) = [p for p in read_all(path, **options)[1] if p.severity == "error"]
    return found


def test_missing_path(tmp_path):
    assert message(tmp_path / "x.cif").startswith(
        "x.cif does not exist; wanted a folder or .zip of CIF/POSCAR files"
    )


def test_what_looks_like_a_formula_is_told_why_it_is_none():
    assert message(Path("Xx2O3")).endswith("or an ASE .db; nor is it a formula: 'Xx' is no element")
    assert message(Path("nowhere")).endswith("or an ASE .db")


def test_an_empty_name_is_not_this_directory():
    with pytest.raises(UserError, match="an empty name stands for no crystals; wanted a folder"):
        read("")


def test_unknown_kind(tmp_path):
    (tmp_path / "a.pdf").write_text("x")
    assert message(tmp_path / "a.pdf").startswith("a.pdf is of no known kind; wanted a folder or .zip")


def test_empty_folder(tmp_path):
    (tmp_path / "in").mkdir()
    assert message(tmp_path / "in").startswith("in holds no structure files; wanted: *.cif")


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_empty_file(tmp_path, text):
    (tmp_path / "a.cif").write_text(text)
    assert message(tmp_path / "a.cif") == "a.cif: is empty"
    assert problem(tmp_path / "a.cif").kind == "empty"


@pytest.mark.parametrize("part", [0.2, 0.4, 0.8, 0.97])
def test_truncated_cif(tmp_path, cif, part):
    (tmp_path / "a.cif").write_text(cif[: int(part * len(cif))])
    assert message(tmp_path / "a.cif").startswith("a.cif: cannot be read (")
    assert message(tmp_path / "a.cif").endswith("is it complete?")
    assert problem(tmp_path / "a.cif").kind == "unreadable"


@pytest.mark.parametrize(
    ("lines", "expected"), [(1, "do not give its _chemical_formula_sum"), (4, "different elements")]
)
def test_cif_cut_between_two_sites(tmp_path, cif, lines, expected):
    (tmp_path / "a.cif").write_text("\n".join(cif.rstrip().split("\n")[:-lines]) + "\n")
    found = problem(tmp_path / "a.cif")
    assert found.kind == "incomplete"
    assert expected in found.message
    assert "perhaps the file was cut off" in found.message


def test_cif_that_is_none(tmp_path):
    (tmp_path / "a.cif").write_text("<html>404</html>\n")
    assert problem(tmp_path / "a.cif").kind == "unreadable"


def test_cif_with_two_structures(tmp_path, cif):
    (tmp_path / "a.cif").write_text(cif + cif.replace("data_NaCl", "data_other"))
    assert "holds 2 structures; one a file is wanted" in message(tmp_path / "a.cif")


def test_disordered(tmp_path):
    alloy = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}, "Cu"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    alloy.to(str(tmp_path / "a.cif"))
    text = message(tmp_path / "a.cif")
    assert text.startswith("a.cif: Cu1.5 Au0.5 has 1 of 2 sites with partial occupancy")
    assert "OrderDisorderedStructureTransformation" in text


def test_poscar_without_elements(tmp_path, salt):
    lines = salt.to(fmt="poscar").split("\n")
    (tmp_path / "POSCAR").write_text(
        "\n".join([*lines[:5], *lines[6:]]).replace(" Na", "").replace(" Cl", "")
    )
    assert "does not name its elements (VASP 4 format)" in message(tmp_path / "POSCAR")


@pytest.mark.parametrize("keep", [3, 6, 11])
def test_truncated_poscar(tmp_path, salt, keep):
    (tmp_path / "POSCAR").write_text("\n".join(salt.to(fmt="poscar").split("\n")[:keep]))
    assert problem(tmp_path / "POSCAR").kind == "unreadable"


def test_flat_cell(tmp_path, salt):
    flat = salt.as_dict()
    flat["lattice"] = {"matrix": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}
    (tmp_path / "a.json").write_text(json.dumps(flat))
    assert "three independent vectors are wanted" in message(tmp_path / "a.json")


def test_molecule(tmp_path):
    Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.74]]).to(str(tmp_path / "a.json"))
    found = problem(tmp_path / "a.json")
    assert found.kind == "not periodic"
    assert "tlzoo knows periodic crystals only" in found.message


def test_unknown_element(tmp_path, salt):
    strange = salt.copy()
    strange.replace_species({"Na": "X"})
    (tmp_path / "a.json").write_text(json.dumps(strange.as_dict()))
    assert "sites that are no element: X" in message(tmp_path / "a.json")


def test_target_that_is_no_number(folder):
    (folder / "labels.csv").write_text("id,gap\n\na,1\nb,wide\n")
    text = message(folder, targets=["gap"])
    assert "labels.csv, line 4: column 'gap' holds 'wide', which is no finite number; correct it" in text
    assert read_all(folder, targets=["gap"])[0].ids.tolist() == ["a"]


@pytest.mark.parametrize(
    ("cell", "hint"),
    [('"1,5"', "use a decimal point"), ("inf", "correct it"), ("3 eV", "give the number alone")],
)
def test_numbers_with_a_hint(folder, cell, hint):
    (folder / "labels.csv").write_text(f"id,gap\na,1\nb,{cell}\n")
    assert f"which is no finite number; {hint}" in message(folder, targets=["gap"])


def test_without_targets_bad_numbers_are_text(folder):
    (folder / "labels.csv").write_text("id,gap\na,1\nb,wide\n")
    assert read(folder).columns["gap"].tolist() == ["1", "wide"]


def test_guessed_targets_are_checked(folder, cif):
    for name in "cde":
        (folder / f"{name}.cif").write_text(cif)
    (folder / "labels.csv").write_text("id,gap,phase\na,1,x\nb,wide,y\nc,2,3\nd,3,z\ne,,w\n")
    crystals, problems = read_all(folder, targets=None)
    assert [str(p).rpartition("/")[2].partition(",")[0] for p in problems] == ["labels.csv"]
    assert problems[0].row == 3
    assert crystals.columns["phase"].tolist() == ["x", "3", "z", "w"]


@pytest.mark.parametrize("cell", ["", "nan", "NA", "None", "null"])
def test_unknown_targets_are_nan(folder, cell):
    (folder / "labels.csv").write_text(f"id,gap\na,1\nb,{cell}\n")
    crystals = read(folder, targets=["gap"])
    assert crystals.columns["gap"][0] == 1
    assert crystals.columns["gap"][1] != crystals.columns["gap"][1]


def test_missing_column(folder):
    assert "there is no column 'band_gap'; there are: gap" in message(folder, targets=["band_gap"])


def test_unit_of_a_missing_column(folder):
    text = message(folder, units={"Gap": "eV"})
    assert "there is no column 'Gap'; there are: gap; did you mean 'gap'?" in text


def test_row_without_file(folder):
    (folder / "labels.csv").write_text("id,gap\na,1\nz,5\nb,2\n")
    assert "labels.csv, line 3: there is no structure file for 'z'" in message(folder)
    assert problem(folder).row == 3


def test_file_without_row(folder, cif):
    (folder / "c.cif").write_text(cif)
    assert message(folder, targets=["gap"]).endswith(
        "c.cif: has no row in labels.csv; add one, or remove the file"
    )
    crystals, problems = read_all(folder)
    assert crystals.ids.tolist() == ["a", "b", "c"]
    assert [p.severity for p in problems] == ["warning"]


def test_duplicate_ids(folder):
    (folder / "labels.csv").write_text("id,gap\na,1\nb,2\na,3\n")
    assert "the id 'a' is taken by" in message(folder)
    assert read_all(folder)[0].columns["gap"].tolist() == [1, 2]


def test_rows_of_another_width(folder):
    (folder / "labels.csv").write_text("id,gap\na,1\nb,2,3\n")
    assert "labels.csv, line 3: has 3 cells where 2 are wanted (id, gap)" in message(folder)


def test_rows_that_all_have_another_width(folder):
    (folder / "labels.csv").write_text("id,gap\na,1,\nb,2,\n")
    text = message(folder)
    assert "labels.csv, line 2: has 3 cells where 2 are wanted (id, gap)" in text
    assert text.endswith("does each row end with a separator?")


@pytest.mark.parametrize("name", ["", "-", "name"])
def test_a_row_of_units_is_told_to_go(folder, name):
    (folder / "labels.csv").write_text(f"id,gap\n{name},eV\na,1\nb,2\n")
    assert message(folder).endswith("; remove the row if it holds units")
    (folder / "labels.csv").write_text(f"id,gap\n{name},3\na,1\nb,2\n")
    assert "holds units" not in message(folder)


def test_cartesian_sites_of_a_cif(tmp_path, cif):
    (tmp_path / "a.cif").write_text(cif.replace("_atom_site_fract_", "_atom_site_Cartn_"))
    assert message(tmp_path / "a.cif").endswith(
        "a.cif: has Cartesian coordinates alone (_atom_site_Cartn_x); wanted _atom_site_fract_x and so on"
    )


def test_empty_id(folder):
    (folder / "labels.csv").write_text("id,gap\na,1\nb,2\n ,3\n")
    assert "labels.csv, line 4: column 'id' is empty" in message(folder)


def test_csv_that_names_no_file(folder):
    (folder / "labels.csv").write_text("id,gap\nx,1\ny,2\n")
    assert "labels.csv: no column names the structure files" in message(folder)


def test_id_column_that_is_not_there(folder):
    assert "labels.csv: there is no column 'name'; there are: id, gap" in message(folder, id_column="name")


def test_table_without_rows(tmp_path):
    from tlzoo.crystals import Crystals

    Crystals.from_structures([]).write_parquet(tmp_path / "a.parquet")
    assert message(tmp_path / "a.parquet") == "a.parquet holds no crystals"


def test_notes_and_warnings_are_logged(folder, cif, caplog):
    (folder / "c.cif").write_text(cif)
    (folder / "readme.txt").write_text("x")
    read(folder)
    assert [(r.levelname, r.message.removeprefix(f"{folder}")) for r in caplog.records] == [
        ("WARNING", ": 1 of 3 crystals (c.cif): has no row in labels.csv"),
        ("WARNING", ": 1 other file(s) were not read: readme.txt"),
    ]


def test_two_tables(folder):
    (folder / "other.csv").write_text("id,gap\na,1\n")
    assert "holds several tables of labels (labels.csv, other.csv)" in message(folder)


def test_columns_of_one_name(folder):
    (folder / "labels.csv").write_text("id,gap,gap\na,1,2\n")
    assert "labels.csv, line 1: several columns are called 'gap'" in message(folder)


def test_empty_csv(folder):
    (folder / "labels.csv").write_text("\n")
    assert "labels.csv is empty; wanted a header and rows" in message(folder)


def test_csv_of_another_encoding(folder):
    (folder / "labels.csv").write_bytes("id,gap\na,1\nb,Å\n".encode("latin-1"))
    assert "labels.csv is not UTF-8 text" in message(folder)


def test_many_problems_are_counted(tmp_path):
    for i in range(13):
        (tmp_path / f"{i}.cif").write_text("")
    lines = message(tmp_path).split("\n")
    assert lines[0].endswith("has 13 problems:")
    assert len(lines) == 12
    assert lines[1].endswith("0.cif: is empty")
    assert lines[-1].startswith("  … and 3 more: `tlzoo data check ")


def table(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


@pytest.mark.parametrize("show", [str, repr, lambda structure: repr(AseAtomsAdaptor.get_atoms(structure))])
def test_structures_as_python_prints_them(tmp_path, salt, show):
    pd.DataFrame({"id": ["a"], "structure": [show(salt)]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(
        UserError, match=r"is what Python prints of a structure, .* write structure.to_json\(\)"
    ):
        read(tmp_path / "a.csv")


def test_table_without_structures(tmp_path):
    text = message(table(tmp_path, "name,gap\na,1\n"))
    assert text.startswith("t.csv: no column holds structures")
    assert text.endswith("there are: name, gap; name it with structure_column")


def test_table_without_the_column(folder):
    path = table(folder, "id,file\n1,a.cif\n", "t.tsv")
    path.write_text(path.read_text().replace(",", "\t"))
    assert message(path, structure_column="cif") == "t.tsv: there is no column 'cif'; there are: id, file"
    assert message(path, id_column="name") == "t.tsv: there is no column 'name'; there are: id, file"


def test_table_that_names_a_missing_file(folder):
    path = table(folder, "id,file\n1,a.cif\n2,sub/z.cif\n3,\n,b.cif\n")
    found = [str(p).removeprefix(f"{folder}/") for p in read_all(path)[1]]
    assert found == [
        "t.csv, line 3: column 'file' names 'sub/z.cif', which is no file",
        "t.csv, line 4: column 'file' is empty; wanted a structure",
        "t.csv, line 5: column 'id' is empty; every crystal needs an id",
    ]


def test_table_with_a_truncated_cif(tmp_path, cif):
    path = table(tmp_path, f'id,cif\n1,"{cif}"\n2,"{cif[:600]}"\n')
    assert problem(path).row == 2 + cif.count("\n") + 1
    assert problem(path).kind == "unreadable"


def test_damaged_containers(tmp_path):
    for name, start in [
        ("a.parquet", "a.parquet cannot be read as parquet"),
        ("a.json", "a.json, line 1: is not JSON"),
        ("a.db", "a.db cannot be read"),
        ("a.csv.gz", "a.csv.gz cannot be read"),
        ("a.zip", "a.zip cannot be unpacked"),
        ("a.extxyz", "a.extxyz cannot be read"),
    ]:
        (tmp_path / name).write_bytes(b"PAR1 this is none of them")
        assert message(tmp_path / name).startswith(start)


def test_json_of_another_shape(tmp_path):
    assert "is JSON of another shape" in message(table(tmp_path, "[1, 2]", "a.json"))
    path = table(tmp_path, '{"id": 1}\n{"id":\n[1]\n', "a.jsonl")
    with pytest.raises(UserError, match="no column holds structures"):
        read(path)


def test_jsonl_names_the_line(tmp_path, salt):
    good = json.dumps({"id": "a", "structure": salt.as_dict()})
    found = read_all(table(tmp_path, f"{good}\n\n{good[:99]}\n[1]\n", "a.jsonl"))[1]
    assert [p.row for p in found] == [3, 4]
    assert "is not JSON" in found[0].message
    assert "is a JSON list; wanted an object" in found[1].message


def test_record_that_is_no_structure(tmp_path, salt):
    rows = [{"id": "a", "structure": salt.as_dict()}, {"id": "b", "structure": {"formula": "NaCl"}}]
    found = problem(table(tmp_path, json.dumps(rows), "a.json"))
    assert (found.row, found.message) == (2, "is no structure: it has the keys formula")


def test_extxyz_without_cell(tmp_path):
    path = table(tmp_path, "2\n\nH 0 0 0\nH 0 0 0.74\n", "a.xyz")
    found = problem(path)
    assert (found.kind, found.row) == ("not periodic", 1)
    assert "pbc F F F" in found.message


def test_extxyz_cut_off(tmp_path):
    frame = '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 pbc="T T T"\nPo 0 0 0\n'
    crystals, problems = read_all(table(tmp_path, frame * 2 + frame.replace("1\n", "3\n", 1), "a.extxyz"))
    assert len(crystals) == 2
    assert [(p.kind, p.row) for p in problems] == [("unreadable", 3)]


def test_empty_extxyz(tmp_path):
    assert message(table(tmp_path, "", "a.extxyz")) == "a.extxyz is empty; wanted extended XYZ"


@pytest.mark.parametrize("name", ["../out.cif", "/out.cif", "a/../../out.cif", "C:\\out.cif"])
def test_zip_that_points_outside(tmp_path, cif, name):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as file:
        file.writestr(name, cif)
    assert "points outside the archive" in message(tmp_path / "in.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["in.zip"]


def test_zip_bomb(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.cif", "w") as cell,
    ):
        for _ in range(101):
            cell.write(bytes(1024**2))
    assert "which looks wrong; unpack it yourself" in message(tmp_path / "in.zip")


def test_columnar_rows_that_are_no_crystals(tmp_path, salt):
    import numpy as np

    from tlzoo.crystals import Crystals

    crystals = Crystals.from_structures([salt] * 4, ids=list("abcd"))
    crystals.lattice[1] = 0
    crystals.frac_coords[17] = np.nan
    crystals.numbers[25] = 0
    crystals.write_parquet(tmp_path / "a.parquet")
    crystals, problems = read_all(tmp_path / "a.parquet")
    assert [p.row for p in problems] == [2, 3, 4]
    assert crystals.ids.tolist() == ["a"]
