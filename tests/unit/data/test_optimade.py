"""Structures of OPTIMADE: what its specification allows is read, or refused in words."""

import json

import numpy as np
import pandas as pd
import pytest

from tlzoo.data.intake import crystals_from
from tlzoo.data.sources import read, read_all
from tlzoo.data.sources.parse import parse
from tlzoo.errors import UserError

SODIUM = {
    "name": "Na",
    "chemical_symbols": ["Na"],
    "concentration": [1.0],
    "attached": None,
    "nattached": None,
}
CHLORINE = {"name": "anion", "chemical_symbols": ["Cl"], "concentration": [1.0]}
SALT = {
    "nelements": 2,
    "dimension_types": [1, 1, 1],
    "nperiodic_dimensions": 3,
    "lattice_vectors": [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]],
    "cartesian_site_positions": [[0, 0, 0], [2.82, 2.82, 2.82]],
    "species_at_sites": ["Na", "anion"],
    "species": [SODIUM, CHLORINE],
    "structure_features": [],
    "assemblies": None,
    "_db_gap": 5.0,
}


def entry(name, **changes):
    return {"id": name, "type": "structures", "attributes": {**SALT, **changes}}


def is_salt(crystals):
    assert crystals.numbers.tolist() == [11, 17] * len(crystals)
    np.testing.assert_allclose(np.linalg.det(crystals.lattice), 2 * 2.82**3)
    np.testing.assert_allclose(crystals.frac_coords, [[0, 0, 0], [0.5, 0.5, 0.5]] * len(crystals), atol=1e-12)


@pytest.mark.parametrize("more", [True, False])
def test_an_answer_of_several_entries(tmp_path, more):
    meta = {"more_data_available": more}
    (tmp_path / "a.json").write_text(json.dumps({"data": [entry("x/1"), entry("x/2")], "meta": meta}))
    crystals, problems = read_all(tmp_path / "a.json", targets=["_db_gap"])
    is_salt(crystals)
    assert crystals.ids.tolist() == ["x/1", "x/2"]
    assert crystals.column("_db_gap").tolist() == [5.0, 5.0]
    assert set(crystals.columns) == {"_db_gap", "nelements"}
    assert [p.message[:29] for p in problems] == ["is one page of an answer: it "] * more


@pytest.mark.parametrize("content", [{"data": entry("7"), "meta": {}}, entry("7"), {"id": "7", **SALT}])
def test_one_structure(tmp_path, content):
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_text(json.dumps(content))
    for name in ("a.json", "a.jsonl") if "data" not in content else ("a.json",):
        crystals = read(tmp_path / name)
        is_salt(crystals)
        assert crystals.ids.tolist() == ["7"]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "7.json").write_text(json.dumps(content))
    is_salt(read(folder))


def test_a_table_with_a_column_for_each_property(tmp_path):
    table = pd.DataFrame([{"immutable_id": f"mp-{n}", **SALT} for n in range(3)])
    is_salt(crystals_from(table))
    table.to_parquet(tmp_path / "a.parquet")
    crystals = read(tmp_path / "a.parquet", targets=["_db_gap"])
    is_salt(crystals)
    assert crystals.ids.tolist() == ["mp-0", "mp-1", "mp-2"]


def test_a_layer():
    parsed = parse(
        {**SALT, "dimension_types": [1, 1, 0], "lattice_vectors": [[4, 0, 0], [0, 4, 0], [None] * 3]}
    )
    assert parsed.sites.lattice[2].tolist() == pytest.approx([0, 0, 22.82])
    assert parsed.notes[0].startswith("is periodic in a and b only")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"species": [SODIUM, {**CHLORINE, "concentration": [0.9]}]}, "disordered", "'anion' (Cl 0.9)"),
        (
            {
                "species": [
                    SODIUM,
                    {**CHLORINE, "chemical_symbols": ["Cl", "vacancy"], "concentration": [0.5, 0.5]},
                ]
            },
            "disordered",
            "'anion' (Cl 0.5, vacancy 0.5)",
        ),
        ({"species": [SODIUM, {**CHLORINE, "chemical_symbols": ["X"]}]}, "unknown element", "no element: X"),
        (
            {"species": [SODIUM, {**CHLORINE, "attached": ["H"]}]},
            "incomplete",
            "H, attached",
        ),
        ({"species": [SODIUM]}, "unreadable", "species that it does not list: anion"),
        ({"species": None}, "unreadable", "without species"),
        ({"structure_features": ["implicit_atoms"]}, "incomplete", "atoms without a place"),
        ({"assemblies": [{"sites_in_groups": [[0], [1]]}]}, "disordered", "exclude each other"),
        ({"cartesian_site_positions": [[0, 0, 0]]}, "unreadable", "wanted (2, 3)"),
        ({"cartesian_site_positions": [[0, 0, 0], [None, 0, 0]]}, "not periodic", "not finite numbers"),
        ({"dimension_types": [0, 0, 0]}, "not periodic", "pbc F F F"),
    ],
)
def test_what_is_no_ordered_crystal(changes, kind, message):
    parsed = parse({**SALT, **changes})
    assert parsed.sites is None
    assert parsed.kind == kind
    assert message in parsed.message


def test_a_column_called_sites_is_no_structure():
    with pytest.raises(UserError, match="no column holds structures"):
        crystals_from(pd.DataFrame({"sites": [4], "species": ["Na"]}))
