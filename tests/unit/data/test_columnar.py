"""The columnar format: what is no crystal is told by row, not cast to one."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlzoo.crystals import Crystals
from tlzoo.data.sources import read, read_all
from tlzoo.errors import UserError
from tlzoo.screen.pool import ParquetPool

ROWS = 4
TYPES = {"lattice": pa.float64(), "numbers": pa.uint8(), "frac_coords": pa.float32()}


@pytest.fixture
def parquet(tmp_path):
    """A file of four crystals of CsCl, with other values in some columns of the third."""

    def written(columns=None, *, types=None):
        values = {
            "id": ["a", "b", "c", "d"],
            "lattice": [np.diag([4.1] * 3).ravel().tolist()] * ROWS,
            "numbers": [[55, 17]] * ROWS,
            "frac_coords": [[0.0] * 3 + [0.5] * 3] * ROWS,
        }
        types = TYPES | (types or {})
        for name, value in (columns or {}).items():
            values[name] = [*values[name][:2], value, *values[name][3:]]
        arrays = {
            name: pa.array(value, pa.list_(types[name])) if name in types else pa.array(value)
            for name, value in values.items()
        }
        pq.write_table(pa.table(arrays), tmp_path / "a.parquet")
        return tmp_path / "a.parquet"

    return written


def only_the_third(path, message):
    """It alone is left out by `read_all`, named by `read` and by `Crystals.read_parquet`."""
    crystals, (problem,) = read_all(path)
    assert crystals.ids.tolist() == ["a", "b", "d"]
    assert (problem.kind, problem.row, problem.place.word) == ("unreadable", 3, "row")
    assert message in problem.message
    assert crystals.origins[2].endswith("row 4")
    with pytest.raises(UserError, match=r"a\.parquet, row 3: "):
        read(path)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (300, pa.int64()),  # 44 in a byte, ruthenium
        (-1, pa.int64()),
        (0, pa.int64()),
        (0, pa.uint8()),
        (119, pa.uint8()),
        (None, pa.uint8()),
        (14.5, pa.float64()),
        (float("nan"), pa.float64()),
        (float("inf"), pa.float32()),
        (2**40, pa.int64()),
    ],
)
def test_what_is_no_atomic_number(parquet, number, kind):
    path = parquet({"numbers": [55, number]}, types={"numbers": kind})
    only_the_third(path, "in numbers, which is no atomic number (1 to 118)")
    with pytest.raises(UserError, match=r"a\.parquet, row 3 has .* in numbers, which is no atomic number"):
        Crystals.read_parquet(path)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint16(), pa.float64()])
def test_atomic_numbers_of_other_types(parquet, kind):
    assert read(parquet(types={"numbers": kind})).numbers.tolist() == [55, 17] * ROWS


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"numbers": None}, "got 9, 6 and 0 atoms"),
        ({"frac_coords": None}, "got 9, 0 and 2 atoms"),
        ({"lattice": None}, "got 0, 6 and 2 atoms"),
        ({"numbers": [55, 17, 17]}, "got 9, 6 and 3 atoms"),
        ({"lattice": [4.1] * 8}, "got 8, 6 and 2 atoms"),
        ({"frac_coords": [0.0] * 4}, "got 9, 4 and 2 atoms"),
    ],
)
def test_rows_of_wrong_lengths(parquet, columns, message):
    path = parquet(columns)
    only_the_third(path, message)
    with pytest.raises(
        UserError, match=r"row 3 is damaged: wanted 9 numbers in each lattice.*; write it again"
    ):
        Crystals.read_parquet(path)


def test_lengths_that_are_wrong_by_row_and_right_in_sum(tmp_path, parquet):
    """Every atom after the first crystal had the coordinates of another."""
    table = pq.read_table(parquet()).to_pydict()
    table["numbers"] = [[55], [55, 17, 17], [55, 17], [55, 17]]
    arrays = {name: pa.array(table[name], pa.list_(kind)) for name, kind in TYPES.items()}
    pq.write_table(pa.table({"id": table["id"], **arrays}), tmp_path / "b.parquet")
    crystals, problems = read_all(tmp_path / "b.parquet")
    assert [p.row for p in problems] == [1, 2]
    assert crystals.formulas == ["Cl1-Cs1"] * 2
    with pytest.raises(UserError, match=r"row 1 is damaged: .*; so are 1 more rows"):
        Crystals.read_parquet(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"lattice": [float("nan")] * 9}, "has a cell or coordinates that are not finite numbers"),
        ({"lattice": [4.1, None, *[1.0] * 7]}, "has a cell or coordinates that are not finite numbers"),
        ({"frac_coords": [float("inf")] * 6}, "has a cell or coordinates that are not finite numbers"),
        ({"frac_coords": [0.0] * 5 + [None]}, "has a cell or coordinates that are not finite numbers"),
        ({"lattice": [1.0] * 9}, "has a flat cell; the lattice must be three independent vectors"),
    ],
)
def test_cells_that_are_none(parquet, columns, message):
    only_the_third(parquet(columns), message)


def test_an_id_that_is_missing(parquet):
    path = parquet({"id": None})
    only_the_third(path, "has no id; every crystal needs one")
    with pytest.raises(UserError, match="row 3 has no id"):
        Crystals.read_parquet(path)


@pytest.mark.parametrize(("ids", "expected"), [([7, 8, 9, 10], "9"), ([0.5, 1.0, 2.5, 3.0], "2.5")])
def test_ids_are_text(parquet, tmp_path, ids, expected):
    table = pq.read_table(parquet())
    pq.write_table(table.set_column(0, "id", pa.array(ids)), tmp_path / "b.parquet")
    for crystals in (read(tmp_path / "b.parquet"), Crystals.read_parquet(tmp_path / "b.parquet")):
        assert crystals.ids[2] == expected


def test_ids_of_categories(parquet, tmp_path):
    table = pq.read_table(parquet())
    pq.write_table(table.set_column(0, "id", table["id"].dictionary_encode()), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet").ids.tolist() == list("abcd")


def test_a_missing_number_among_ids(parquet, tmp_path):
    table = pq.read_table(parquet()).set_column(0, "id", pa.array([1.0, 2.0, float("nan"), 4.0]))
    pq.write_table(table, tmp_path / "b.parquet")
    (problem,) = read_all(tmp_path / "b.parquet")[1]
    assert str(problem).endswith("b.parquet, row 3: has no id; every crystal needs one")


def test_columns_that_are_no_lists_of_numbers(parquet, tmp_path):
    table = pq.read_table(parquet())
    nested = pa.array([[[4.1, 0, 0], [0, 4.1, 0], [0, 0, 4.1]]] * ROWS)
    for column in (pa.array([1.0] * ROWS), pa.array([["a"]] * ROWS), nested):
        pq.write_table(table.set_column(1, "lattice", column), tmp_path / "b.parquet")
        with pytest.raises(
            UserError, match=r"column 'lattice' is of the type .*; wanted a list of numbers a row"
        ):
            read(tmp_path / "b.parquet")


def test_a_column_twice(parquet, tmp_path):
    table = pq.read_table(parquet())
    pq.write_table(table.append_column("id", table["id"]), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: several columns are called 'id'; rename"):
        read(tmp_path / "b.parquet")


def test_lists_of_one_length(parquet, tmp_path):
    """As polars writes arrays."""
    table = pq.read_table(parquet())
    for at, (name, length) in enumerate({"lattice": 9, "numbers": 2, "frac_coords": 6}.items(), start=1):
        table = table.set_column(at, name, table[name].combine_chunks().cast(pa.list_(TYPES[name], length)))
    pq.write_table(table, tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet").content_hash == read(parquet()).content_hash


def test_a_pool_names_the_row_of_the_file(parquet):
    pool = ParquetPool("pool", parquet({"numbers": [55, 300]}, types={"numbers": pa.int64()}))
    with pytest.raises(UserError, match=r"a\.parquet, row 3 has 300 in numbers"):
        list(pool.slices(1, [2], []))
