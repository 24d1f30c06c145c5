"""Crystals from data frames, structures, names and paths: the same table whatever they came in."""

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Molecule, Structure

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.intake import crystals_from
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
    assert crystals_from(frame).ids.tolist() == ["1", "2", "3"]
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
