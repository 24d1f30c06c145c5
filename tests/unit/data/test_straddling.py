"""Splits that somebody gives: crystals of the test part that training has, too, are counted, and can go."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.data.splits import FromColumn, FromFile, MatbenchFold, Random, Sampled
from tlzoo.data.splits.splitter import differ
from tlzoo.errors import UserError


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Twenty crystals; then, for the test part, three of them strained by 1 %, one of these as a supercell.

    The first is in training, the second in validation, the third is in no part.
    """
    crystals = named.load("semiconductors").select(np.arange(20))
    copies = crystals.select(np.arange(3))
    copies = replace(copies, lattice=copies.lattice * 1.01, ids=np.array(["a", "b", "c"], dtype=object))
    doubled = Crystals.from_structures([copies.structure(0) * (2, 1, 1)], ids=["a"])
    columns = {"band_gap": copies.columns["band_gap"][:1]}
    doubled = replace(doubled, columns=columns, units=copies.units)
    mine = [
        replace(one, columns={"band_gap": one.column("band_gap")})
        for one in (crystals, copies.select([1, 2]))
    ]
    both = Crystals.concatenated([mine[0], doubled, mine[1]])
    part = ["train", "val", "", *["train"] * 10, *["val"] * 3, *["test"] * 7]
    both = replace(both, columns={**both.columns, "split": np.array(part, dtype=object)})
    path = tmp_path_factory.mktemp("given") / "given.parquet"
    both.write_parquet(path)
    return path


def ids(table, rows):
    return sorted(table.crystals.ids[rows])


def test_given_splits_are_kept_and_their_copies_counted(table, tmp_path):
    read = LabelledTable(str(table), ["band_gap"], FromColumn())
    assert [len(rows) for rows in read.split.parts.values()] == [11, 4, 7]
    assert ids(read, read.split.copies) == ["a", "b"]
    assert "2 test crystal(s) have a duplicate in train or val" in read.split.describe()
    assert read.split.warning == (
        "2 of the 7 test crystals have the structure of one in train or val: the test error flatters. "
        "duplicates: drop in data.split takes these out of training."
    )
    file = tmp_path / "split.json"
    file.write_text(read.split.to_json(read.crystals.ids))
    again = LabelledTable(str(table), ["band_gap"], FromFile(str(file)))
    assert ids(again, again.split.copies) == ["a", "b"]


def test_copies_can_be_taken_out_of_training(table):
    kept = LabelledTable(str(table), ["band_gap"], FromColumn())
    read = LabelledTable(str(table), ["band_gap"], FromColumn(duplicates="drop"))
    assert len(read.split.copies) == 0
    assert read.split.warning == ""
    np.testing.assert_array_equal(read.split.test, kept.split.test)
    np.testing.assert_array_equal(read.split.train, np.setdiff1d(kept.split.train, [0]))
    np.testing.assert_array_equal(read.split.val, np.setdiff1d(kept.split.val, [1]))
    assert (
        "2 crystal(s) taken out of train or val: their structure is in a later part" in read.split.describe()
    )
    # without a table that looks, the splitter does it itself
    alone = FromColumn(duplicates="drop").split(kept.crystals, targets=["band_gap"])
    np.testing.assert_array_equal(alone.train, read.split.train)


def test_other_splits_are_looked_at_too(table):
    """Drawn ones keep copies together; where they were told not to, or a benchmark did not, it is said."""
    apart = LabelledTable(str(table), ["band_gap"], Random(val=4, test=6))
    assert len(apart.split.copies) == 0
    found = {}
    for splitter in (Random(val=4, test=8, keep_duplicates_together=False), MatbenchFold(val=3)):
        read = LabelledTable(str(table), ["band_gap"], splitter)
        pairs = dict(zip(["a", "b", "c"], read.crystals.ids[:3], strict=True))
        pairs |= {other: name for name, other in pairs.items()}
        test, learned = (
            set(read.crystals.ids[rows]) for rows in (read.split.test, [*read.split.train, *read.split.val])
        )
        found[splitter] = sorted(name for name in test if pairs.get(name) in learned)
        assert ids(read, read.split.copies) == found[splitter]
    assert all(found.values())
    assert Sampled(base=FromColumn(duplicates="drop")).duplicates == "drop"


def test_too_many_to_compare_are_an_upper_bound(table, monkeypatch):
    monkeypatch.setattr("tlzoo.data.duplicates.MANY", 1)
    read = LabelledTable(str(table), ["band_gap"], FromColumn())
    assert "at most 2 test crystal(s) have a duplicate" in read.split.describe()
    assert read.split.warning.startswith("at most 2 of the 7 test crystals")


def test_a_wrong_word_is_told(table):
    crystals = Crystals.read_parquet(table)
    with pytest.raises(UserError, match="duplicates must be keep or drop, got 'move'"):
        FromColumn(duplicates="move").split(crystals)


def test_runs_from_before_go_on(table):
    """Their split.json says nothing of duplicates; another crystal or other pseudo-labels still count."""
    read = LabelledTable(str(table), ["band_gap"], FromColumn())
    text = read.split.to_json(read.crystals.ids)
    before = json.loads(text)
    del before["splitter"]["init_args"]["duplicates"]
    before["notes"] = [note for note in before["notes"] if "duplicate" not in note]
    assert not differ(json.dumps(before), text)
    assert differ(json.dumps({**before, "train": before["train"][1:]}), text)
    assert differ(json.dumps({**before, "notes": [*before["notes"], "pseudo-labels (SHA-256 1)"]}), text)


def test_fit_says_it(table, tlzoo, tmp_path, caplog):
    words = ("--data.source", table, "--data.targets", "[band_gap]", "--data.split", "FromColumn")
    words += ("--model.backbone", "CGCNN", "--model.backbone.dim", 4, "--model.head", "Regression")
    words += ("--trainer.max_epochs", 1, "--trainer.accelerator", "cpu")
    answer = tlzoo("fit", *words, "--run-dir", tmp_path / "kept")
    assert answer.code == 0, answer.err
    assert "2 of the 7 test crystals have the structure of one in train or val" in caplog.text
    caplog.clear()
    answer = tlzoo("fit", *words, "--data.split.duplicates", "drop", "--run-dir", tmp_path / "dropped")
    assert answer.code == 0, answer.err
    assert "have the structure" not in caplog.text
    assert len(json.loads((tmp_path / "dropped" / "split.json").read_text())["train"]) == 10
