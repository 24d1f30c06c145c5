"""What a model was trained with is found again, by structure, and what it started from counts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tlzoo.cards.beside import files
from tlzoo.cards.library import find, locate
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.model.known_crystals import known_crystals
from tlzoo.model.seen import seen_in_training

LEARNED = np.arange(60, 84)

pytestmark = pytest.mark.usefixtures("quick", "few_kernels")


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("known")


@pytest.fixture(scope="module")
def run(tlzoo, crystals, work):
    """A network that learned from sixteen of the crystals."""
    crystals.select(LEARNED).write_parquet(work / "learned.parquet")
    words = ("--data.source", work / "learned.parquet", "--data.targets", "[band_gap]")
    words += ("--data.split", "Random", "--data.split.val", 4, "--data.split.test", 4)
    words += ("--model.backbone", "CGCNN", "--model.backbone.dim", 4, "--model.backbone.depth", 1)
    words += ("--model.head", "Regression", "--trainer.max_epochs", 1, "--trainer.accelerator", "cpu")
    answer = tlzoo("fit", *words, "--run-dir", work / "run")
    assert answer.code == 0, answer.err
    return work / "run"


@pytest.fixture(scope="module")
def mine(crystals, run):
    """Five that the network learned from, two that it was tested with, others; the last is the ninth.


    All are strained by 1 %, under other names.
    """
    split = json.loads((run / "split.json").read_text())
    learned = np.flatnonzero(np.isin(crystals.ids, split["train"]))[:5]
    tested = np.flatnonzero(np.isin(crystals.ids, split["test"]))[:2]
    some = crystals.select([*learned, *tested, *range(30), 1])
    ids = np.array([f"mine-{row}" for row in range(len(some))], dtype=object)
    return replace(some, ids=ids, lattice=some.lattice * 1.01)


def test_crystals_of_a_run_are_found_by_structure(run, mine):
    found = known_crystals([str(run)], mine, np.arange(len(mine)))
    assert np.flatnonzero(found.mask).tolist() == [0, 1, 2, 3, 4]
    assert known_crystals([str(run)], mine, np.arange(3, 9)).mask.tolist() == [True, True, *[False] * 4]


def test_in_the_same_table_those_that_chose_the_epoch_count_too(run):
    table = Crystals.read_parquet(run.parent / "learned.parquet")
    split = json.loads((run / "split.json").read_text())
    mask = known_crystals([str(run)], table, np.arange(24)).mask
    assert sorted(table.ids[mask]) == sorted([*split["train"], *split["val"]])
    assert len(split["test"]) == 4


def test_what_a_model_started_from_counts(tlzoo, run, crystals, mine, work):
    """The fine-tuned model's own crystals, in a directory of `tlzoo finetune`, and those of its start."""
    crystals.select(np.arange(100, 124)).write_parquet(work / "others.parquet")
    answer = tlzoo(
        "finetune", work / "others.parquet", "--target", "band_gap", "--from", run, "--epochs", 1,
        "--learning-rates", "1e-3", "--pooling", "mean", "--run-dir", work / "tuned",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    content = json.loads((work / "tuned" / "verdict.json").read_text())
    assert (content["seen"], content["unknown"]) == (0, "")
    assert f"0 of the {content['test_crystals']} test crystals were in the training of {run}." in answer.out
    side = work / "tuned" / content["sides"]["transfer"]["run"]
    both = Crystals.concatenated([mine, crystals.select(np.arange(100, 124))])
    learned = np.isin(both.ids, json.loads((side / "split.json").read_text())["train"])
    mask = known_crystals([str(side)], both, np.arange(len(both))).mask
    assert mask[:5].all()
    np.testing.assert_array_equal(mask[len(mine) :], learned[len(mine) :])
    # the directory itself is that of the side that validation chose
    chosen = work / "tuned" / content["sides"][content["model"]]["run"]
    directory = known_crystals([str(work / "tuned")], both, np.arange(len(both))).mask
    np.testing.assert_array_equal(directory, known_crystals([str(chosen)], both, np.arange(len(both))).mask)


def answers_of(folder, content):
    """Predictions and labels of the test crystals; of both together, the mean that the verdict tells."""
    runs = {side: folder / found["run"] for side, found in content["sides"].items()}
    tables = {
        side: table[table["part"] == "test"].set_index("id")
        for side, run in {**runs, "frozen": folder / "frozen"}.items()
        for table in [pd.read_csv(run / "predictions.csv")]
    }
    tested = pd.DataFrame({side: table["prediction"] for side, table in tables.items()})
    weights = content["decision"]["weights"]
    tested["both"] = sum(share * tested[side] for side, share in weights.items())
    return tested.assign(target=tables["frozen"]["target"])


def test_verdicts_count_what_was_seen_and_say_the_errors_without(tlzoo, run, mine, work):
    mine.write_parquet(work / "mine.parquet")
    parts = {"test": [0, 1, 2, *range(7, 17)], "val": [3, *range(17, 22)], "train": [4, 5, 6, *range(22, 38)]}
    (work / "split.json").write_text(json.dumps(parts))
    top = f"data: {{split: {{class_path: FromFile, init_args: {{path: {work / 'split.json'}}}}}}}\n"
    (work / "top.yaml").write_text(top)
    answer = tlzoo(
        "finetune", work / "mine.parquet", "--target", "band_gap", "--from", run, "--epochs", 1,
        "--learning-rates", "1e-3", "--pooling", "mean", "--config", work / "top.yaml",
        "--run-dir", work / "seen",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    content = json.loads((work / "seen" / "verdict.json").read_text())
    assert content["seen"] == 3
    assert f"{run} has learned from 3 of the 13 test crystals" in answer.out
    assert content["copies"].startswith("1 of the 13 test crystals have the structure of one in train or val")
    assert content["copies"] in answer.out
    tested = answers_of(work / "seen", content)
    for key, left_out in (("without_seen", ["mine-0", "mine-1", "mine-2"]), ("without_copies", ["mine-8"])):
        assert set(content[key]) == {"transfer", "frozen", "both", "scratch"}
        for side, error in content[key].items():
            predicted, target = tested[side], tested["target"]
            some = ~tested.index.isin(left_out)
            assert some.sum() == 13 - len(left_out)
            assert error == pytest.approx((predicted - target)[some].abs().mean())


def test_a_checkpoint_tells_by_its_keys_without_the_data(crystals, work, monkeypatch):
    """The production card has learned from textbook crystals; those of a benchmark card have none of them."""
    monkeypatch.delenv("TLZOO_DATA", raising=False)
    monkeypatch.setenv("TLZOO_CACHE", str(work / "empty"))
    names = ["C-diamond", "Si-diamond", "GaAs-zincblende"]
    rows = np.flatnonzero(np.isin(crystals.ids, names))
    assert known_crystals(["momentnet-all"], crystals, rows, "semiconductors").mask.all()
    found = known_crystals(["cgcnn-bg", "cgcnn-mpt"], crystals, np.arange(len(crystals)))
    assert found.mask is not None
    assert not found.mask.any()


def test_what_nobody_can_tell_has_a_reason(run, mine, work, monkeypatch):
    monkeypatch.delenv("TLZOO_DATA", raising=False)
    monkeypatch.setenv("TLZOO_CACHE", str(work / "empty"))
    rows = np.arange(len(mine))
    old = work / "old"
    old.mkdir()
    for path in files(locate("cgcnn-bg")):
        if "domain" not in path.name and "structures" not in path.name:
            shutil.copy(path, old)
    card = json.loads((old / "cgcnn-bg.json").read_text())
    bare = {key: value for key, value in card.items() if key not in ("domain", "structures")}
    (old / "cgcnn-bg.json").write_text(json.dumps(bare))
    found = known_crystals([str(old / "cgcnn-bg.safetensors")], mine, rows)
    assert found.mask is None
    absent = "the data set pretraining is not on this machine: tlzoo data info pretraining"
    assert found.reason.endswith(f"cgcnn-bg.safetensors: {absent}")
    assert seen_in_training(bare, mine, old / "cgcnn-bg.safetensors").note in found.reason
    # of the embedded example all crystals were kept out, which is known without the data
    assert not known_crystals(["cgcnn-bg", "cgcnn-mpt"], mine, rows, "semiconductors").mask.any()
    table = work / "learned.parquet"
    content = table.read_bytes()
    Crystals.read_parquet(table).select(np.arange(20)).write_parquet(table)
    changed = known_crystals([str(run)], mine, rows)
    table.write_bytes(content)
    # then its keys tell
    assert np.flatnonzero(changed.mask).tolist() == [0, 1, 2, 3, 4]
    assert "cannot be looked at" in known_crystals([str(Path("nowhere"))], mine, rows).reason


def test_checkpoints_of_the_zoo_are_asked_for_their_crystals(data_dir):
    """Five that `cgcnn-mpt` learned from, strained; and five of the paper's test set, which it did not."""
    pool = named.load("pretraining")
    part = pool.column("part")
    # in large cells keys take other orders on the same sites for the same: 1.8 % of the test crystals of `mp`
    small = np.flatnonzero((part == "test") & (pool.num_atoms <= 8))[:5]
    some = pool.select([*np.flatnonzero(part == "train")[:5], *small])
    some = replace(some, lattice=some.lattice * 0.99)
    card = json.loads(find("cgcnn-mpt").path.with_suffix(".json").read_text())
    expected = [*[True] * 5, *[False] * 5]
    assert seen_in_training(card, some).mask.tolist() == expected
    # without its keys the data say the same
    bare = {key: value for key, value in card.items() if key not in ("domain", "structures")}
    assert seen_in_training(bare, some).mask.tolist() == expected
