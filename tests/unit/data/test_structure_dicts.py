"""Structures as dicts of pymatgen and JARVIS: sites that are no element never become one."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Structure

from tlzoo.data.sources import read, read_all
from tlzoo.data.sources.parse import parse

EDGE = 5.64


@pytest.fixture
def salt():
    return Structure.from_spacegroup(225, EDGE * np.eye(3), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])


def jarvis(salt, **changes):
    found = {
        "lattice_mat": salt.lattice.matrix.tolist(),
        "coords": salt.frac_coords.tolist(),
        "elements": [str(element) for element in salt.species],
        "cartesian": False,
        "abc": [EDGE] * 3,
        "props": [""] * 8,
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


def shortest(value):
    sites = parse(value).sites
    structure = Structure(sites.lattice, sites.numbers, sites.frac_coords)
    return min(near.nn_distance for near in structure.get_neighbors(structure[0], 4))


@pytest.mark.parametrize("name", ["Va", "Vac", "X", "X0+", "Xx", "Du", "Q", "A", "na", "V_O", ""])
def test_sites_that_are_no_element(salt, name):
    elements = [name, *(str(element) for element in salt.species[1:])]
    of_pymatgen = salt.as_dict()
    of_pymatgen["sites"][0]["species"][0]["element"] = name
    for value in (jarvis(salt, elements=elements), of_pymatgen):
        found = parse(value)
        assert found.sites is None
        assert (found.kind, found.message) == ("unknown element", f"has sites that are no element: {name}")


@pytest.mark.parametrize("element", ["D", "H", "Na ", "Fe3+"])
def test_names_of_elements(salt, element):
    numbers = parse(jarvis(salt, elements=[element] * 8)).sites.numbers
    assert set(numbers) == {{"D": 1, "H": 1, "N": 11, "F": 26}[element[0]]}


def test_charges_of_pymatgen(salt):
    salt.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert parse(salt.as_dict()).sites.numbers.tolist() == [11] * 4 + [17] * 4


def test_no_module_is_imported_that_a_file_names(salt, tmp_path, monkeypatch):
    """As pymatgen does for properties of a structure, of a site, and of a species."""
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    trap = {"x": {"@module": "planted", "@class": "Anything"}}
    value = salt.as_dict() | {"properties": trap}
    for site in value["sites"]:
        site["properties"] = trap
    with pytest.raises(SystemExit):
        Structure.from_dict(json.loads(json.dumps(value)))
    assert parse(value).sites.numbers.tolist() == [11] * 4 + [17] * 4


def test_rock_salt_of_jarvis(salt):
    """Half an edge apart."""
    assert shortest(jarvis(salt)) == pytest.approx(EDGE / 2)
    assert shortest(jarvis(salt, cartesian=None)) == pytest.approx(EDGE / 2)
    in_space = jarvis(salt, coords=salt.cart_coords.tolist(), cartesian=True)
    assert shortest(in_space) == pytest.approx(EDGE / 2)


@pytest.mark.parametrize("cartesian", [None, "False", "direct", 2])
def test_coordinates_of_which_nobody_says_what_they_are(salt, cartesian):
    found = parse(jarvis(salt, coords=salt.cart_coords.tolist(), cartesian=cartesian))
    assert found.sites is None
    assert f"'cartesian' does not say what they are ({cartesian!r}); set it to true (Å) or" in found.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elements": None}, "has a lattice_mat, but no elements"),
        ({"coords": None, "elements": None}, "has a lattice_mat, but no coords and no elements"),
        ({"elements": ["Na"]}, "1 elements and coords of shape (8, 3); wanted (3, 3), and three coordinates"),
        ({"lattice_mat": [[1, 0], [0, 1]]}, "has a lattice_mat of shape (2, 2), 8 elements"),
        ({"coords": [[0, 0]] * 8}, "coords of shape (8, 2)"),
        ({"coords": [], "elements": []}, "has no atoms"),
        ({"lattice_mat": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}, "three independent vectors are wanted"),
        ({"coords": [[0, 0, float("nan")]] * 8}, "has a cell or coordinates that are not finite numbers"),
    ],
)
@pytest.mark.parametrize("cartesian", [True, False])
def test_dicts_of_jarvis_that_are_wrong(salt, changes, message, cartesian):
    found = parse(jarvis(salt, cartesian=cartesian, **changes))
    assert found.sites is None
    assert message in found.message


def test_a_struct_column_of_parquet(tmp_path, salt):
    """A key that other rows have is there, and holds nothing."""
    in_space = jarvis(salt, coords=salt.cart_coords.tolist(), cartesian=True)
    rows = [jarvis(salt, cartesian=None, props=None), jarvis(salt, props=None), in_space | {"props": None}]
    table = pa.table({"jid": list("abc"), "atoms": pa.array(rows)})
    pq.write_table(table, tmp_path / "a.parquet")
    crystals = read(tmp_path / "a.parquet")
    np.testing.assert_allclose(crystals.frac_coords.reshape(3, 8, 3), [salt.frac_coords] * 3, atol=1e-12)


def test_dicts_that_pandas_writes_into_a_csv(tmp_path, salt):
    """They are there as Python shows them: quotes are single, and None is None."""
    rows = {"of_pymatgen": salt.as_dict(), "of_jarvis": jarvis(salt)}
    table = pd.DataFrame({"id": list(rows), "structure": list(rows.values()), "gap": [5.0, 5.1]})
    table.to_csv(tmp_path / "a.csv", index=False)
    crystals = read(tmp_path / "a.csv", targets=["gap"])
    assert crystals.ids.tolist() == list(rows)
    np.testing.assert_allclose(crystals.frac_coords.reshape(2, 8, 3), [salt.frac_coords] * 2, atol=1e-12)


@pytest.mark.parametrize(
    "text", ["{'lattice': __import__('os')}", "{'sites', 'lattice'}", "{'sites': [", '{"a": 1,}}']
)
def test_texts_that_are_no_dict(text):
    found = parse(text)
    assert (found.sites, found.kind) == (None, "unreadable")
    assert "JSONDecodeError" in found.message


def test_lines_of_json_may_hold_other_breaks(tmp_path, salt):
    row = json.dumps({"id": "a\u2028b", "structure": salt.as_dict()}, ensure_ascii=False)
    (tmp_path / "a.jsonl").write_text(f"{row}\r\n{row.replace('a', 'c', 1)}\n", encoding="utf-8")
    assert read(tmp_path / "a.jsonl").ids[0] == "a\u2028b"


@pytest.mark.parametrize("name", ["NaN", "null", '" "'])
def test_an_id_that_is_missing(tmp_path, salt, name):
    row = json.dumps({"id": 0, "structure": salt.as_dict()})
    (tmp_path / "a.jsonl").write_text(f"{row}\n{row.replace('0', name, 1)}\n")
    crystals, (problem,) = read_all(tmp_path / "a.jsonl")
    assert crystals.ids.tolist() == ["0"]
    assert str(problem) == f"{tmp_path}/a.jsonl, line 2: column 'id' is empty; every crystal needs an id"


def test_they_are_named_by_their_row(tmp_path, salt):
    rows = [{"jid": "a", "atoms": jarvis(salt)}, {"jid": "b", "atoms": jarvis(salt, elements=["Va"] * 8)}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    crystals, (problem,) = read_all(tmp_path / "a.json")
    assert crystals.ids.tolist() == ["a"]
    assert str(problem) == f"{tmp_path}/a.json, record 2: has sites that are no element: Va"
    (tmp_path / "b.json").write_text(json.dumps(rows[:1]))
    assert read(tmp_path / "b.json").num_atoms.tolist() == [8]
