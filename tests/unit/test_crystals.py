"""The table of crystals: rows, columns, hashes, parquet and pymatgen."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.errors import UserError


@pytest.fixture(scope="module")
def structures():
    perovskite = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.99), ["Ba", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
    return [perovskite, silicon, Structure(Lattice.hexagonal(2.5, 4.1), ["Co"], [[0.1, 0.2, 0.3]])]


@pytest.fixture(scope="module")
def crystals(structures):
    return Crystals.from_structures(
        structures,
        ids=["bto", "si", "co"],
        columns={"gap": [3.2, 1.12, None], "note": ["a", None, "c"]},
        units={"gap": "eV"},
    )


def same(one, other):
    assert one.ids.tolist() == other.ids.tolist()
    for name in ("lattice", "offsets", "numbers", "frac_coords"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-7)
    assert one.columns.keys() == other.columns.keys()
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, other.columns[name])
    assert one.units == other.units


def test_from_structures_and_back(crystals, structures):
    assert len(crystals) == 3
    assert crystals.num_atoms.tolist() == [5, 8, 1]
    assert crystals.offsets.tolist() == [0, 5, 13, 14]
    for row, structure in enumerate(structures):
        assert crystals.structure(row) == structure


def test_columns_are_numbers_or_objects(crystals):
    np.testing.assert_array_equal(crystals.column("gap"), [3.2, 1.12, np.nan])
    assert crystals.column("note").tolist() == ["a", None, "c"]
    with pytest.raises(UserError, match="there is no column 'gaps'; there are: gap, note; did you mean 'g"):
        crystals.column("gaps")


def test_ids_are_counted_if_there_are_none(structures):
    assert Crystals.from_structures(structures).ids.tolist() == ["0", "1", "2"]


def test_no_structures_make_an_empty_table():
    empty = Crystals.from_structures([])
    assert len(empty) == 0
    assert empty.frac_coords.shape == (0, 3)


def test_formulas_are_reduced_and_in_order_of_z(crystals):
    assert crystals.formulas == ["O3-Ti1-Ba1", "Si1", "Co1"]
    assert list(crystals.compositions()) == [[(8, 3), (22, 1), (56, 1)], [(14, 1)], [(27, 1)]]
    assert crystals.select([]).formulas == []


@pytest.mark.parametrize("rows", [[2, 0], [1], [], [0, 0, 1]])
def test_select(rows, crystals, structures):
    chosen = crystals.select(rows)
    assert chosen.ids.tolist() == [crystals.ids[row] for row in rows]
    assert [chosen.structure(i) for i in range(len(rows))] == [structures[row] for row in rows]
    np.testing.assert_array_equal(chosen.column("gap"), crystals.column("gap")[np.array(rows, dtype=int)])
    assert chosen.units == {"gap": "eV"}


def test_origins_follow_their_rows(structures):
    crystals = Crystals.from_structures(structures, origins=["a.cif", "b.cif", "c.cif"])
    assert crystals.select([2, 1]).origin(0) == "c.cif"
    assert Crystals.from_structures(structures, ids=["x", "y", "z"]).origin(1) == "crystal 'y' (row 2)"


def test_the_hash_is_of_structures_alone(crystals, structures):
    assert len(crystals.content_hash) == 64
    assert Crystals.from_structures(structures).content_hash == crystals.content_hash
    assert crystals.select([0, 2, 1]).content_hash != crystals.content_hash
    moved = structures[2].copy()
    moved.translate_sites([0], [0.001, 0, 0])
    assert Crystals.from_structures([*structures[:2], moved]).content_hash != crystals.content_hash


def test_parquet_round_trip(crystals, tmp_path):
    path = tmp_path / "deep" / "table.parquet"
    crystals.write_parquet(path, licence="CC0")
    same(Crystals.read_parquet(path), crystals)
    assert [file.name for file in path.parent.iterdir()] == ["table.parquet"]
    assert b'"licence": "CC0"' in pq.read_schema(path).metadata[b"tlzoo"]


def test_parquet_of_several_row_groups(crystals, tmp_path):
    path = tmp_path / "table.parquet"
    crystals.write_parquet(path)
    pq.write_table(pq.read_table(path), path, row_group_size=1)
    same(Crystals.read_parquet(path), crystals)


def test_parquet_of_no_rows(crystals, tmp_path):
    crystals.select([]).write_parquet(tmp_path / "empty.parquet")
    assert len(Crystals.read_parquet(tmp_path / "empty.parquet")) == 0


def test_parquet_that_is_missing_or_damaged(crystals, tmp_path):
    path = tmp_path / "table.parquet"
    with pytest.raises(UserError, match=r"table\.parquet cannot be read as parquet"):
        Crystals.read_parquet(path)
    crystals.write_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"table\.parquet cannot be read as parquet"):
        Crystals.read_parquet(path)


def test_parquet_of_another_kind(tmp_path):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"id": ["a"], "numbers": [[6]]}), path)
    message = r"lacks the column\(s\) lattice, frac_coords of the columnar format; it has: id, numbers"
    with pytest.raises(UserError, match=message):
        Crystals.read_parquet(path)


@pytest.mark.parametrize(
    "columns",
    [
        {"lattice": [[3.0] * 8], "numbers": [[6]], "frac_coords": [[0.0] * 3]},
        {"lattice": [[3.0] * 9], "numbers": [[6]], "frac_coords": [[0.0] * 4]},
        {"lattice": [[3.0] * 9], "numbers": [[]], "frac_coords": [[]]},
        {"lattice": [None], "numbers": [[6]], "frac_coords": [[0.0] * 3]},
    ],
)
def test_parquet_of_wrong_lengths(columns, tmp_path):
    path = tmp_path / "table.parquet"
    lattice = pa.array(columns["lattice"], pa.list_(pa.float64()))
    numbers = pa.array(columns["numbers"], pa.list_(pa.uint8()))
    coords = pa.array(columns["frac_coords"], pa.list_(pa.float32()))
    pq.write_table(
        pa.table({"id": ["a"], "lattice": lattice, "numbers": numbers, "frac_coords": coords}),
        path,
    )
    with pytest.raises(UserError, match="is damaged: wanted 9 numbers in each lattice"):
        Crystals.read_parquet(path)


def test_disordered_and_empty_structures_are_named():
    mixed = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(
        UserError, match=r"structure 'alloy' \(Cu0.5 Au0.5\) has sites with partial occupancy"
    ):
        Crystals.from_structures([mixed], ids=["alloy"])
    with pytest.raises(UserError, match="structure '0' has no atoms"):
        Crystals.from_structures([Structure(Lattice.cubic(3), [], [])])


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (0, {}, r"wanted a list of pymatgen structures, got one structure: write \[structure\]"),
        ([0, None], {"ids": ["a", "b"]}, "structure 'b' is no pymatgen structure but of type NoneType"),
        (["Si.cif"], {}, r"structure '0' is no pymatgen structure but of type str; tlzoo\.read takes"),
        ([0, 1], {"ids": ["a"]}, "ids: there are 1 for 2 structures"),
        ([0, 1], {"columns": {"gap": [1.0, 2.0, 3.0]}}, "column 'gap': there are 3 for 2 structures"),
    ],
)
def test_what_makes_no_table_is_told(given, options, message, structures):
    def real(one):
        return structures[one] if isinstance(one, int) else one

    with pytest.raises(UserError, match=message):
        Crystals.from_structures([*map(real, given)] if isinstance(given, list) else real(given), **options)


def test_symbols_are_in_order_of_z():
    from pymatgen.core import Element

    assert [Element(symbol).Z for symbol in SYMBOLS[1:]] == list(range(1, len(SYMBOLS)))


def test_a_large_file_is_read_in_pieces_to_the_same_arrays(tmp_path, monkeypatch):
    from tlzoo.data import named

    whole = named.load("semiconductors")
    path = tmp_path / "table.parquet"
    whole.write_parquet(path)
    expected = Crystals.read_parquet(path)
    monkeypatch.setattr("tlzoo.crystals.columnar.READ", 7)
    found = Crystals.read_parquet(path)
    for name in ("ids", "lattice", "offsets", "numbers", "frac_coords"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert found.units == expected.units
    assert list(found.columns) == list(expected.columns)
    for name, values in expected.columns.items():
        assert found.columns[name].dtype == values.dtype
        np.testing.assert_array_equal(found.columns[name], values)


def test_a_large_file_that_is_damaged(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tlzoo.data import named

    path = tmp_path / "table.parquet"
    named.load("semiconductors").write_parquet(path)
    table = pq.read_table(path)
    numbers = [*table["numbers"].to_pylist()[:-1], []]
    place = table.column_names.index("numbers")
    column = pa.array(numbers, pa.list_(pa.uint8()))
    pq.write_table(table.set_column(place, "numbers", column), path)
    monkeypatch.setattr("tlzoo.crystals.columnar.READ", 7)
    with pytest.raises(UserError, match=r"table\.parquet, row 203 is damaged: wanted 9"):
        Crystals.read_parquet(path)


def test_a_row_is_a_structure_and_rows_are_a_table(crystals, structures):
    assert crystals[1] == crystals[-2] == crystals[np.int64(1)]
    assert (crystals[1].lattice, crystals[1].sites) == (structures[1].lattice, structures[1].sites)
    assert crystals[0].properties == {"gap": 3.2, "note": "a"}
    assert [one.formula for one in crystals] == [one.formula for one in structures]
    for rows in (
        slice(1, None),
        [1, 2],
        (1, 2),
        np.array([-2, -1]),
        [False, True, True],
        crystals.num_atoms != 5,
    ):
        same(crystals[rows], crystals.select([1, 2]))
    assert len(crystals[[]]) == len(crystals[:0]) == 0
    same(crystals[::-1], crystals.select([2, 1, 0]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("gap", r"rows or a mask, got 'gap'; crystals\.column\('gap'\) is a column"),
        (1.5, "rows or a mask, got 1.5"),
        ([[1]], "rows or a mask, got"),
        ([True, False], "the mask has 2 truth values for 3 crystals"),
    ],
)
def test_what_is_no_row_is_told(rows, message, crystals):
    with pytest.raises(UserError, match=message):
        crystals[rows]
    with pytest.raises(IndexError):
        crystals[3]


def test_pandas_and_back(crystals):
    table = crystals.to_pandas()
    assert list(table.columns) == ["structure", "gap", "note"]
    assert table.index.tolist() == ["bto", "si", "co"]
    assert table.loc["si", "structure"].formula == "Si8"
    same(Crystals.from_dataframe(table), crystals)
    same(Crystals.from_dataframe(table[table["gap"] > 2]), crystals.select([0]))
    renamed = table.reset_index().rename(columns={"structure": "cell", "id": "who"})
    same(Crystals.from_dataframe(renamed, structure="cell", id="who", targets=["gap"]), crystals)
    assert list(crystals.to_pandas(structures=False).columns) == ["gap", "note"]
    assert len(Crystals.from_structures([]).to_pandas()) == 0


def test_crystals_are_read_whatever_they_are_in(crystals, tmp_path):
    crystals.write_parquet(tmp_path / "three.parquet")
    same(Crystals.read(tmp_path / "three.parquet"), crystals)
    crystals[1].to(filename=str(tmp_path / "Si.cif"))
    assert Crystals.read(str(tmp_path / "Si.cif"), units={}).ids.tolist() == ["Si"]


def test_crystals_say_what_they_are(crystals):
    assert repr(crystals).splitlines() == [
        "Crystals: 3 of 1 to 8 atoms, 5 elements: Ba, Co, O, Si, Ti",
        "  numbers: gap (eV): 2 known",
        "  other columns: note",
    ]
    assert repr(crystals[2:]).startswith("Crystals: 1 of 1 atom, 1 element: Co\n  numbers: gap (eV): 0 known")
    assert repr(crystals[:0]) == "Crystals: none"
    shown = crystals._repr_html_()
    assert all(text in shown for text in ("gap (eV)", "<td>Co1</td>", "<th>bto</th>"))
    many = Crystals.from_structures(list(crystals), columns={f"c{i}": [1, 2, 3] for i in range(30)})
    assert len(repr(many).splitlines()) == 2
    assert "c7: 3 known and 22 more" in repr(many)
