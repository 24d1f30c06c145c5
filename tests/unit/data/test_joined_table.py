"""Tables put together by id: nothing is lost, nothing guessed, and no copy of a test crystal is learned."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.joined_table import Facts, base_of, joined, read
from tlzoo.data.perturbed import perturbed
from tlzoo.data.splits import FromColumn, Pretraining, Random
from tlzoo.errors import UserError
from tlzoo.machine.files import write_columns

NAN = float("nan")


def text(*values):
    return np.array(values, dtype=object)


@pytest.fixture(scope="module")
def base():
    """Nine crystals in three parts, one in none."""
    rows = named.load("semiconductors").select(range(9))
    parts = text("train", "train", "train", "train", "val", "val", "test", "test", None)
    ids = text(*"abcdefghi")
    return replace(rows, ids=ids, columns={"gap": np.arange(9.0), "part": parts}, units={"gap": "eV"})


@pytest.fixture(scope="module")
def others():
    return named.load("semiconductors").select(range(100, 103))


def facts(ids, unit="GPa", **columns):
    return Facts(text(*ids), {k: np.array(v) for k, v in columns.items()}, dict.fromkeys(columns, unit))


def test_columns_are_joined_by_id(base):
    more = facts("ca", modulus=np.array([3, 1], dtype=np.float32))
    words = Facts(text("b"), {"source": text("tables")})
    table = joined("base", base, {"x": more, "y": words})
    np.testing.assert_array_equal(table.columns["modulus"], [1, NAN, 3] + [NAN] * 6)
    assert list(table.columns["source"]) == [None, "tables"] + [None] * 7
    assert table.units == {"gap": "eV", "modulus": "GPa"}
    assert table.content_hash == base.content_hash
    np.testing.assert_array_equal(table.columns["gap"], base.columns["gap"])


def test_shards_of_one_column_fill_each_other(base):
    one, other = facts("ab", modulus=[1.0, NAN]), facts("bca", modulus=[2.0, 3.0, 1 + 1e-8])
    table = joined("base", base, {"x": one, "y": other})
    np.testing.assert_array_equal(table.columns["modulus"], [1, 2, 3] + [NAN] * 6)


def test_copies_are_in_the_part_of_their_parents(base):
    copies = perturbed(base.select([0, 4, 5]), copies=2)
    copies = replace(copies, columns={"parent": copies.columns["parent"]})
    physics = facts(["a~1", "b"], modulus=[5.0, 6.0])
    table = joined("base", base, {"copies": copies, "physics": physics})
    assert list(table.ids) == [*"abcdefghi", "a~1", "a~2", "e~1", "e~2", "f~1", "f~2"]
    assert list(table.columns["part"][9:]) == ["train"] * 2 + ["val"] * 4
    assert np.isnan(table.columns["gap"][9:]).all()
    assert table.columns["modulus"][[1, 9]].tolist() == [6, 5]
    # without a label they are in no part, but a splitter that is asked for all knows where they belong
    split = Pretraining(max_atoms=100).split(table, targets=["gap"])
    assert [list(table.ids[rows]) for rows in split.parts.values()] == [[*"abcd"], [*"ef"], [*"gh"]]
    split = Pretraining().split(table)
    assert set(table.ids[split.train]) == {*"abcd", "a~1", "a~2"}
    assert set(table.ids[split.val]) == {*"ef", "e~1", "e~2", "f~1", "f~2"}
    assert list(table.ids[split.test]) == [*"gh"]


def test_further_crystals_say_their_part(base, others):
    more = replace(others, columns={"part": text("train", "val", "train")}, units={})
    table = joined("base", base, {"more": more})
    assert list(table.columns["part"][9:]) == ["train", "val", "train"]
    alone = replace(base, columns={"gap": base.columns["gap"]})
    assert len(joined("base", alone, {"more": replace(others, columns={}, units={})})) == 12


def wrong_tables(base, others):
    train = text("train")
    copies = perturbed(base.select([0]))
    stranger = replace(others.select([0]), columns={"part": train}, units={})
    return {
        "nowhere": (facts("bz", m=[1, 2.0]), "x, row 2: 'z' is no crystal of the table"),
        "twice": (facts("aba", m=[1, 2, 1.0]), "x, row 3: the id 'a' is in row 1, too"),
        "other value": (facts("ab", "eV", gap=[0, 2.0]), "x, row 2: 'gap' of 'b' is 2.0, in the table 1.0"),
        "other unit": (facts("a", "meV", gap=[0.0]), "x: 'gap' is in meV, in the table in eV"),
        "text": (Facts(text("a"), {"gap": text("wide")}), "x: 'gap' is text, in the table numbers"),
        "other text": (
            Facts(text("a", "g"), {"part": text("train", "val")}),
            "x, row 2: 'part' of 'g' is val, in the table test",
        ),
        "structure": (facts("a", lattice=[1.0]), "x: the column 'lattice' belongs to structures"),
        "same crystal": (
            replace(stranger, ids=text("c")),
            "x, row 1: there is a crystal 'c' in the table already",
        ),
        "no part": (replace(stranger, columns={}), r"would be in the part none; only train and val"),
        "more tests": (replace(stranger, columns={"part": text("test")}), "would be in the part test"),
        "known": (
            replace(base.select([6]), ids=text("new"), columns={"part": train}),
            r"x, row 1 \(new\) has the structure of a test crystal",
        ),
        "of a test crystal": (
            replace(copies, ids=text("g~1"), columns={"parent": text("g")}),
            r"x, row 1 \(g~1\) would be in the part test",
        ),
        "of one in no part": (
            replace(copies, ids=text("i~1"), columns={"parent": text("i")}),
            r"x, row 1 \(i~1\) would be in the part none",
        ),
        "orphan": (
            replace(copies, ids=text("z~1"), columns={"parent": text("z"), "part": train}),
            r"x, row 1 \(z~1\) is a copy of 'z', which is not in the table",
        ),
        "elsewhere": (
            replace(copies, columns={**copies.columns, "part": text("val")}),
            r"x, row 1 \(a~1\) is in the part val, 'a' in the part train",
        ),
    }


NAMES = [*wrong_tables(named.load("semiconductors"), named.load("semiconductors"))]


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_named(base, others, name):
    more, message = wrong_tables(base, others)[name]
    with pytest.raises(UserError, match=message):
        joined("base", base, {"x": more})


def test_a_table_without_parts_takes_no_copies(base):
    alone = replace(base, columns={})
    with pytest.raises(UserError, match="x, row 1 is a copy of 'a'; without a column 'part'"):
        joined("base", alone, {"x": perturbed(alone.select([0]))})
    with pytest.raises(UserError, match="base, row 2: the id 'a' is in row 1, too"):
        joined("base", alone.select([0, 0]), {})


def test_no_splitter_parts_a_copy_from_its_crystal(base):
    copies = perturbed(base.select(range(6)), copies=3)
    table = joined("base", base, {"x": copies})
    labelled = replace(table, columns={**table.columns, "gap": np.arange(len(table)) + 0.0})
    with pytest.raises(UserError, match=r"'\w~\d' is in the \w+ part, but a copy of '\w' in the \w+ part"):
        Random(val=0.3, test=0.3, keep_duplicates_together=False).split(labelled, targets=["gap"])
    assert FromColumn(column="part").split(labelled, targets=["gap"]).describe().startswith("16 train, 8 val")


def test_tables_are_read_with_their_units(base, tmp_path):
    columns = {"id": text("a", "007"), "modulus": np.array([1, 2], dtype=np.float32)}
    write_columns(columns, tmp_path / "x.parquet", units={"modulus": "GPa"})
    write_columns(columns, tmp_path / "x.csv", units={"modulus": "GPa"})
    for ending, units in (("parquet", {"modulus": "GPa"}), ("csv", {})):
        found = read(str(tmp_path / f"x.{ending}"))
        assert isinstance(found, Facts)
        assert list(found.ids) == ["a", "007"]
        assert found.columns["modulus"].tolist() == [1, 2]
        assert found.units == units
    base.write_parquet(tmp_path / "base.parquet")
    assert isinstance(read(str(tmp_path / "base.parquet")), Crystals)
    pd.DataFrame({"name": ["a"]}).to_csv(tmp_path / "y.csv")
    with pytest.raises(UserError, match=r"y\.csv has no column 'id'"):
        read(str(tmp_path / "y.csv"))
    pd.DataFrame({"id": ["a", None]}).to_parquet(tmp_path / "y.parquet")
    with pytest.raises(UserError, match=r"y\.parquet, row 2 has no id"):
        read(str(tmp_path / "y.parquet"))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_empty_column_is_none(ending, tmp_path):
    path = tmp_path / f"x.{ending}"
    write_columns({"id": text("a", "b"), "gap": np.array([1, NAN]), "said": text("", "")}, path)
    assert list(read(str(path)).columns) == ["gap"]


def test_a_file_says_what_it_was_made_of(base, tmp_path, monkeypatch):
    base.write_parquet(tmp_path / "plain.parquet")
    base.write_parquet(tmp_path / "made.parquet", base="pretraining")
    assert base_of("pretraining") == "pretraining"
    assert base_of(str(tmp_path / "plain.parquet")) == str(tmp_path / "plain.parquet")
    assert base_of(str(tmp_path / "made.parquet")) == "pretraining"
    monkeypatch.setenv("TLZOO_DATA", str(tmp_path))
    assert base_of("made") == "pretraining"
    assert base_of("mine.csv") == "mine.csv"
