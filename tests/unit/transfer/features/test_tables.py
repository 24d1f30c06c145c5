"""Several tables of one quantity: together, each structure once, and what does not fit is named."""

from dataclasses import replace

import numpy as np
import pytest

from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.transfer.features.tables import content, described, read

SIZE = 30


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(SIZE))


@pytest.fixture
def tables(crystals, tmp_path):
    """Rows 0 to 19, and rows 15 to 29 in other cells, in another order, by other names and a tenth higher."""
    gaps = crystals.columns["band_gap"]
    first = crystals.select(np.arange(20))
    first.write_parquet(tmp_path / "a.parquet")
    rows = np.arange(15, SIZE)[::-1]
    other = crystals.select(rows)
    other = replace(
        other,
        ids=np.array([f"other-{i}" for i in rows], dtype=object),
        lattice=1.01 * other.lattice,
        columns={"Eg": 1.1 * gaps[rows]},
        units={"Eg": "eV"},
    )
    other.write_parquet(tmp_path / "b.parquet")
    return [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]


def test_each_structure_once_by_the_first_table(tables, crystals):
    found = read(tables, ["band_gap", "Eg"], None, log=True)
    gaps = crystals.columns["band_gap"]
    assert (found.target, found.unit) == ("band_gap", "eV")
    later = np.arange(20, SIZE)[::-1]
    assert found.crystals.ids.tolist() == [*crystals.ids[:20], *(f"other-{i}" for i in later)]
    np.testing.assert_allclose(found.truth, [*gaps[:20], *(1.1 * gaps[later])], rtol=1e-6)
    first, second = found.tables
    assert not first.repeats
    assert [one.id for one in second.repeats] == [f"other-{i}" for i in range(19, 14, -1)]
    assert [one.first for one in second.repeats] == crystals.ids[15:20][::-1].tolist()
    assert [one.value / one.first_value for one in second.repeats] == pytest.approx([1.1] * 5, rel=1e-6)
    assert described(second, log=True).startswith(
        f"5 of 15 crystals of {tables[1]} are in an earlier table, which is believed; ln Eg differs by 0.095 "
    )
    assert content(second)["crystals"] == 10
    assert [each.crystals.ids[rows[0]] for each, rows in zip(found.data, found.rows, strict=True)] == [
        crystals.ids[0],
        "other-29",
    ]


def test_the_other_table_first(tables):
    found = read(tables[::-1], ["Eg", "band_gap"], None, log=False)
    assert found.target == "Eg"
    assert [len(table.ids) for table in found.tables] == [15, 15]
    assert len(found.tables[1].repeats) == 5


def test_one_table_keeps_its_own_duplicates(tables, crystals, tmp_path):
    twice = replace(crystals.select([0, 0, 1, 2]), ids=np.array(list("abcd"), dtype=object))
    twice.write_parquet(tmp_path / "twice.parquet")
    found = read([str(tmp_path / "twice.parquet")], ["band_gap"], None, log=False)
    assert len(found.crystals) == 4
    assert not found.tables[0].repeats


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["Eg"], "there is no column 'Eg'; there are: band_gap"),
        (["band_gap", "Eg", "Eg"], "2 tables have one column to learn, or one each; got 3: band_gap, Eg, Eg"),
    ],
)
def test_wrong_columns(tables, targets, message):
    with pytest.raises(UserError, match=message):
        read(tables, targets, None, log=False)


def test_tables_that_do_not_go_together(tables, crystals, tmp_path):
    replace(crystals, units={"band_gap": "meV"}).write_parquet(tmp_path / "c.parquet")
    message = r"the same quantity in the same unit, got .*a\.parquet: band_gap in eV; .*: band_gap in meV"
    with pytest.raises(UserError, match=message):
        read([tables[0], str(tmp_path / "c.parquet")], ["band_gap"], None, log=False)
    with pytest.raises(UserError, match="a table is named twice"):
        read([tables[0], tables[0]], ["band_gap"], None, log=False)
