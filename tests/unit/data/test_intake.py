"""Crystals from data frames, structures, names and paths: the same table whatever they came in."""

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from pymatgen.core import Lattice, Molecule, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.intake import as_table, crystals_from
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import Random
from tlzoo.errors import UserError


def salt(a, **properties):
    return Structure(Lattice.cubic(a), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]], properties=properties)


STRUCTURES = [salt(4.1), salt(4.2), salt(4.3)]
EXPECTED = Crystals.from_structures(STRUCTURES)


@pytest.fixture(params=["structures", "dicts", "text", "paths"])
def frame(request, tmp_path):
    """Three salts as cells of a data frame."""
    paths = [tmp_path / f"{i}.cif" for i in range(3)]
    for structure, path in zip(STRUCTURES, paths, strict=True):
        structure.to(filename=path)
    cells = {
        "structures": STRUCTURES,
        "dicts": [structure.as_dict() for structure in STRUCTURES],
        "text": [path.read_text() for path in paths],
        "paths": list(map(str, paths)),
    }[request.param]
    return pd.DataFrame({"cell": cells, "gap": [1.0, pd.NA, 3.0], "note": ["a", None, "c"]})


def test_a_data_frame_is_read_whatever_its_cells_are(frame):
    crystals = crystals_from(frame, targets=["gap"], units={"gap": "eV"})
    np.testing.assert_allclose(crystals.lattice, EXPECTED.lattice, atol=1e-6)
    np.testing.assert_array_equal(crystals.numbers, EXPECTED.numbers)
    np.testing.assert_array_equal(crystals.column("gap"), [1, np.nan, 3])
    assert crystals.column("note").tolist() == ["a", None, "c"]
    assert crystals.units == {"gap": "eV"}
    assert crystals.origin(1) == "the data frame, row 2"


def test_ids_are_those_of_a_column_else_of_the_index():
    frame = pd.DataFrame({"structure": STRUCTURES, "gap": [1, 2, 3]})
    assert crystals_from(frame).ids.tolist() == ["0", "1", "2"]
    assert crystals_from(frame[1:]).ids.tolist() == ["1", "2"]
    named_rows = frame.set_axis(["x", "y", "z"])
    assert crystals_from(named_rows).ids.tolist() == ["x", "y", "z"]
    assert list(crystals_from(named_rows).columns) == ["gap"]
    with_column = named_rows.assign(material_id=["a", "b", "c"])
    assert crystals_from(with_column).ids.tolist() == ["a", "b", "c"]
    assert crystals_from(with_column, id_column="gap").ids.tolist() == ["1", "2", "3"]
    index = named_rows.rename_axis("who")
    assert crystals_from(index.assign(name="n"), id_column="who").ids.tolist() == ["x", "y", "z"]


def test_structures_bring_labels_beside_them_or_in_their_properties():
    crystals = crystals_from(STRUCTURES, labels={"gap": [1, None, 3]}, targets=["gap"])
    np.testing.assert_array_equal(crystals.column("gap"), [1, np.nan, 3])
    assert crystals.ids.tolist() == EXPECTED.ids.tolist()
    crystals = crystals_from([salt(4.1, gap=1.5), salt(4.2, gap=2.5, source={"not": "a label"})])
    assert crystals.columns.keys() == {"gap"}
    assert crystals.column("gap").tolist() == [1.5, 2.5]


def test_what_is_known_by_name_path_or_already_read(tmp_path):
    assert crystals_from("semiconductors").ids.tolist() == named.load("semiconductors").ids.tolist()
    for i, structure in enumerate(STRUCTURES):
        structure.to(filename=tmp_path / f"{i}.cif")
    assert crystals_from(tmp_path).content_hash == crystals_from(str(tmp_path)).content_hash
    assert crystals_from(EXPECTED) is EXPECTED
    assert crystals_from(EXPECTED, units={"gap": "eV"}).units == {"gap": "eV"}


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (
            3,
            {},
            r"no crystals can be made of a value of type int; wanted the name of a data set, a path, a Cr",
        ),
        ([1, 2], {}, "of a value of type list of int"),
        (b"data_", {}, "of a value of type bytes;"),
        ([STRUCTURES[0], Molecule(["H"], [[0, 0, 0]])], {}, "of type list of Molecule"),
        ([], {}, "the list of structures holds no crystals"),
        (STRUCTURES, {"targets": ["gap"]}, "there is no column 'gap'; there are: none"),
        (
            STRUCTURES,
            {"labels": {"gap": [1]}},
            "labels: 'gap' has 1 values for 3 structures; wanted one each",
        ),
        (STRUCTURES, {"labels": {"gap": [1, "x", 2]}, "targets": ["gap"]}, "structure 2: column 'gap' holds"),
        (
            EXPECTED,
            {"labels": {"gap": [1, 2, 3]}},
            "labels go with a list of structures, got .* type Crystals",
        ),
        (pd.DataFrame({"gap": [1.0]}), {}, "the data frame: no column holds structures"),
        (pd.DataFrame({"structure": [None]}), {}, "the data frame, row 1: column 'structure' is empty"),
        (pd.DataFrame({"structure": STRUCTURES}, index=["a", "b", "a"]), {}, "the id 'a' is taken by"),
        (pd.DataFrame({"structure": ["no.cif"] * 11}), {}, "has 11 problems:(.|\n)*… and 1 more$"),
    ],
)
def test_what_is_wrong_is_told_by_row(data, options, message):
    with pytest.raises(UserError, match=message):
        crystals_from(data, **options)


def test_a_disordered_structure_is_named():
    mixed = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(UserError, match=r"the list of structures, structure 2: .* partial occupancy"):
        crystals_from([STRUCTURES[0], mixed])


def test_remarks_are_logged(tmp_path, caplog):
    STRUCTURES[0].to(filename=tmp_path / "a.cif")
    (tmp_path / "a.txt").write_text("?")
    with caplog.at_level(logging.INFO):
        crystals_from(tmp_path)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: 1 other file(s) were not read: a.txt"
    ]


def test_a_data_module_takes_them(tmp_path):
    options = {"split": Random(val=1, test=1, keep_duplicates_together=False), "units": {"gap": "eV"}}
    frame = pd.DataFrame({"structure": STRUCTURES, "gap": ["1", "2", "3"], "other": [4, 5, 6]})
    from_frame = CrystalDataModule.from_crystals(frame, targets=["gap"], **options)
    from_list = CrystalDataModule.from_crystals(STRUCTURES, labels={"gap": [1, 2, 3]}, **options)
    for data in (from_frame, from_list):
        assert (data.targets, data.units) == (["gap"], ["eV"])
        assert sorted(data.target_values(np.arange(3))[:, 0].tolist()) == [1, 2, 3]
        assert len(data.split.train) == 1


def test_a_labelled_table_loads_no_torch():
    code = (
        "import sys\n"
        "from tlzoo.data.labelled_table import LabelledTable\n"
        "table = LabelledTable('semiconductors')\n"
        "print(table.labels(table.split.train).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["(163,", "1)", "False"]


@pytest.mark.parametrize("index", [["a", "b"], ["gap"]])
def test_an_index_that_is_no_column_is_told(index):
    table = pd.DataFrame({"a": [1], "b": [2], "gap": [1.0], "cif": ["x"]})
    with pytest.raises(UserError, match="has an index that no column can hold: call reset_index"):
        crystals_from(table.set_index(index, drop=len(index) > 1))


def test_one_crystal_is_a_table_of_one(tmp_path):
    atoms = AseAtomsAdaptor.get_atoms(STRUCTURES[0])
    STRUCTURES[0].to(filename=tmp_path / "Salt.cif")
    text = (tmp_path / "Salt.cif").read_text()
    for one in (STRUCTURES[0], atoms, STRUCTURES[0].as_dict(), text, tmp_path / "Salt.cif"):
        crystals = as_table(one)
        np.testing.assert_allclose(crystals.lattice, EXPECTED.lattice[:1], atol=1e-6)
        assert crystals.numbers.tolist() == EXPECTED.numbers[:2].tolist()
    assert as_table(str(tmp_path / "Salt.cif")).ids.tolist() == ["Salt"]
    frame = pd.DataFrame({"structure": STRUCTURES})
    for nothing in ([], np.array([]), frame[:0], frame["structure"][:0]):
        assert as_table(nothing).ids.tolist() == []


def test_what_is_asked_about_may_have_one_id_several_times(tmp_path):
    """As samples that are drawn with replacement do."""
    STRUCTURES[0].to(filename=tmp_path / "a.cif")
    path = str(tmp_path / "a.cif")
    assert as_table([path, path]).ids.tolist() == [path, f"{path}-2"]
    drawn = pd.DataFrame({"structure": STRUCTURES}, index=["x", "y", "z"]).loc[["x", "z", "x"]]
    assert as_table(drawn).ids.tolist() == ["x", "z", "x-2"]
    assert as_table(drawn["structure"]).ids.tolist() == ["x", "z", "x-2"]


@pytest.mark.parametrize("nothing", ["", " \n"])
def test_an_empty_text_is_not_the_folder_where_one_is(nothing):
    with pytest.raises(UserError, match="no crystals can be made of an empty text; wanted the name of"):
        as_table(nothing)


def test_units_are_of_columns_that_there_are():
    frame = pd.DataFrame({"structure": STRUCTURES, "gap": [1.0, 2.0, 3.0]})
    frame.attrs["units"] = {"gap": "eV", "gone": "K"}
    assert crystals_from(frame, units={"gap": "meV"}).units == {"gap": "meV"}
    with pytest.raises(UserError, match="there is no column 'gpa'; there are: gap; did you mean 'gap'"):
        crystals_from(frame, units={"gpa": "eV"})


def test_a_list_holds_any_of_them(tmp_path):
    for name in ("a.cif", "b/POSCAR", "c/POSCAR"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        kind = {} if name.endswith("cif") else {"fmt": "poscar"}
        STRUCTURES[0].to(filename=str(tmp_path / name), **kind)
    atoms = AseAtomsAdaptor.get_atoms(STRUCTURES[0])
    atoms.info["gap"] = 2.5
    poscars = [str(tmp_path / "b/POSCAR"), tmp_path / "c/POSCAR"]
    given = [salt(4.1, gap=1.5), atoms, str(tmp_path / "a.cif"), *poscars, STRUCTURES[0].as_dict()]
    array = np.empty(len(given), dtype=object)
    array[:] = given
    for items in (given, tuple(given), iter(given), array, array[:, None]):
        crystals = crystals_from(items)
        assert crystals.ids.tolist() == ["0", "1", "a", *map(str, poscars), "5"]
        np.testing.assert_array_equal(crystals.column("gap"), [1.5, 2.5, *[np.nan] * 4])
        np.testing.assert_allclose(crystals.lattice, np.repeat(EXPECTED.lattice[:1], 6, axis=0), atol=1e-6)


def test_a_column_of_a_data_frame_brings_its_index():
    series = pd.Series(STRUCTURES, index=["x", "y", "z"], name="anything")
    assert crystals_from(series).ids.tolist() == ["x", "y", "z"]
    assert crystals_from(pd.Series(STRUCTURES)).ids.tolist() == ["0", "1", "2"]
    atoms = [AseAtomsAdaptor.get_atoms(one) for one in STRUCTURES]
    frame = pd.DataFrame({"relaxed": atoms, "gap": [1.0, 2.0, None]}, index=series.index)
    crystals = crystals_from(frame)
    assert (crystals.content_hash, list(crystals.columns)) == (crystals_from(atoms).content_hash, ["gap"])


def test_a_layer_of_ase_is_set_apart(caplog):
    atoms = AseAtomsAdaptor.get_atoms(STRUCTURES[0])
    atoms.pbc = [True, True, False]
    with caplog.at_level(logging.INFO):
        crystals = crystals_from(atoms)
    assert np.linalg.norm(crystals.lattice[0, 2]) > 10
    assert "is periodic in a and b only" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["nowhere.cif", STRUCTURES[0]], "structures, structure 1: 'nowhere.cif' is no file"),
        ([STRUCTURES[0], "."], r"structures, structure 2: '\.' is a folder; give it alone"),
        ([STRUCTURES[0], "some.csv"], "structure 2: 'some.csv' is a file of several crystals; give it alone"),
        ([STRUCTURES[0], None], r"type list of NoneType \(number 2 of 2\); wanted the name of a data set"),
        (Atoms("H"), r"structures, structure 1: is not periodic \(pbc F F F\)"),
        (Atoms(), "structures, structure 1: has no atoms"),
        (Atoms("X", cell=[4, 4, 4], pbc=True), r"structure 1: has sites that are no element \(X\)"),
        ({"gap": 1.0}, "a value of type dict; wanted"),
        (np.zeros((2, 3)), r"type ndarray of ndarray \(number 1 of 2\)"),
    ],
)
def test_what_is_no_crystal_is_told_by_its_number(data, message):
    with pytest.raises(UserError, match=message):
        as_table(data)


def test_units_of_a_data_frame_are_known():
    frame = pd.DataFrame({"structure": STRUCTURES, "gap": [1, 2, 3]})
    frame.attrs["units"] = {"gap": "eV", "gone": "K"}
    assert crystals_from(frame).units == {"gap": "eV"}
    assert crystals_from(frame, units={"gap": "meV"}).units == {"gap": "meV"}
