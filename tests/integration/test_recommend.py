"""`tlzoo recommend` on models that were trained: the one that has seen more of the property comes first."""

import json
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from tlzoo import load
from tlzoo.cards import library
from tlzoo.cards.beside import files
from tlzoo.data import named

pytestmark = pytest.mark.usefixtures("few_kernels")


@pytest.fixture(scope="module")
def models(tlzoo, tmp_path_factory):
    """Networks after one epoch and after fifteen, on crystals that are scored by none of the tests."""
    work = tmp_path_factory.mktemp("recommend")
    named.load("semiconductors").select(np.arange(60, 203)).write_parquet(work / "others.parquet")
    tree = {
        "model": {
            "backbone": {"class_path": "CGCNN", "init_args": {"dim": 16, "depth": 2}},
            "head": {"class_path": "Regression", "init_args": {"hidden": [16]}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-2}},
        },
        "data": {"source": str(work / "others.parquet"), "targets": ["band_gap"], "batch_size": 16},
        "trainer": {"accelerator": "cpu"},
    }
    for epochs in (1, 15):
        tree["trainer"]["max_epochs"] = epochs
        (work / "fit.yaml").write_text(yaml.safe_dump(tree))
        answer = tlzoo("fit", "--config", work / "fit.yaml", "--run_dir", work / str(epochs))
        assert answer.code == 0, answer.err
    return [str(work / "1"), str(work / "15")]


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "mine.parquet"
    named.load("semiconductors").select(np.arange(60)).write_parquet(path)
    return path


def test_more_training_on_the_property_ranks_first(tlzoo, models, mine):
    answer = tlzoo("recommend", mine, "--target", "band_gap", "--all", "--models", *models)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith(f"band_gap of {mine}, 60 crystals (all)")
    ranked = [line.split()[1] for line in lines[2:8]]
    assert ranked.index(models[1]) < ranked.index(models[0])
    assert f": tlzoo finetune {mine} --target band_gap --from {models[1]}" in answer.out


def test_what_is_printed_can_be_run(tlzoo, models, mine, tmp_path, monkeypatch):
    answer = tlzoo("recommend", mine, "--target", "band_gap", "--from", models[1], "--json")
    assert answer.code == 0, answer.err
    content = json.loads(answer.out)
    rows = {(row["name"], row["estimator"]): row for row in content["ranking"]}
    assert {("descriptors", "forest"), ("descriptors", "kernel"), (models[1], "kernel")} == set(rows)
    assert rows[models[1], "kernel"]["fine_tuning_seconds"] > 0
    assert all(row["crystals_per_second"] > 0 for row in rows.values())
    commands = [shlex.split(each["command"]) for each in content["proposals"]]
    assert {words[1] for words in commands} == {"finetune", "features"}
    monkeypatch.chdir(tmp_path)
    (frozen,) = [words for words in commands if words[1] == "features"]
    answer = tlzoo(*frozen[1:])
    assert answer.code == 0, answer.err
    report = json.loads((tmp_path / f"{frozen[frozen.index('-o') + 1]}.json").read_text())
    assert report["target"] == "band_gap"


def test_what_a_model_predicts_in_the_same_unit_is_compared(tlzoo, models, mine):
    answer = tlzoo("recommend", mine, "--target", "band_gap", "--all", "--models", *models, "--json")
    assert answer.code == 0, answer.err
    crystals = named.load("semiconductors").select(np.arange(60))
    rows = [row for row in json.loads(answer.out)["ranking"] if row["name"] in models]
    assert len(rows) == 2
    for row in rows:
        said = load(row["name"]).predict(crystals)["band_gap"]
        error = np.abs(said - crystals.column("band_gap").astype(float)).mean()
        assert row["as_it_is"] == {"band_gap": pytest.approx(error, rel=1e-4)}


def test_without_a_unit_nothing_is_compared(tlzoo, models, mine, tmp_path):
    crystals = named.load("semiconductors").select(np.arange(60))
    replace(crystals, units={}).write_parquet(tmp_path / "no-unit.parquet")
    answer = tlzoo(
        "recommend", tmp_path / "no-unit.parquet", "--target", "band_gap", "--models", *models, "--json"
    )
    assert answer.code == 0, answer.err
    assert not any(row["as_it_is"] for row in json.loads(answer.out)["ranking"])


def test_the_training_part_alone_is_scored_and_the_same_again(tlzoo, models, mine, tmp_path):
    def content():
        arguments = ("--target", "band_gap", "--models", *models, "--config", split, "--json")
        answer = tlzoo("recommend", mine, *arguments)
        assert answer.code == 0, answer.err
        content = json.loads(answer.out)
        for row in (*content["ranking"], *content["baselines"], *content["proposals"]):
            for name in ("crystals_per_second", "fine_tuning_seconds", "seconds"):
                row.pop(name, None)  # no two times are equal
        return content

    # labels are changed further down, and other tests learn from the file
    mine = shutil.copy(mine, tmp_path)
    split = tmp_path / "split.yaml"
    split.write_text("data: {split: {init_args: {val: 5, test: 30}}}")
    first = content()
    assert first["part"] == "the training part"
    assert first["crystals"] == 25
    (tuned,) = [row["command"] for row in first["proposals"] if "finetune" in row["command"]]
    assert f"--target band_gap --config {split} --from " in tuned
    assert content() == first
    # other labels in the other parts: nothing changes
    crystals = named.load("semiconductors").select(np.arange(60))
    rows = ~np.isin(crystals.ids, train_ids(mine, split))
    labels = np.asarray(crystals.column("band_gap"), dtype=np.float64)
    crystals.columns["band_gap"][:] = np.where(rows, 50.0, labels)
    crystals.write_parquet(mine)
    assert content() == first


def train_ids(path, split):
    from tlzoo.data.module import CrystalDataModule
    from tlzoo.data.splits import Random

    data = CrystalDataModule(str(path), targets=["band_gap"], split=Random(val=5, test=30))
    return data.crystals.ids[data.split.train]


def test_a_sample_of_many_crystals_is_enough(tlzoo, models):
    answer = tlzoo("recommend", "semiconductors", "--models", models[0], "--max-crystals", 40)
    assert answer.code == 0, answer.err
    assert "40 crystals (drawn from 132 of the training part)" in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "cgcnn-xyz"], "cgcnn-xyz is no model: give a checkpoint"),
        (["--models", "{model}", "--repeats", 0], "repeats and max-crystals must be at least 1, got 0"),
        (["--models", "{model}", "--minutes", 0], "minutes must be at least 1, got 0"),
        (["--models", "{model}", "--target", "nix"], "there is no column 'nix'"),
        (["--models", "{model}", "--max-crystals", 4], "5-fold cross-validation needs at least 5"),
    ],
)
def test_mistakes_are_told(arguments, message, tlzoo, models):
    given = [str(part).format(model=models[0]) for part in arguments]
    answer = tlzoo("recommend", "semiconductors", *given)
    assert answer.code == 2
    assert message in answer.err


def test_an_empty_zoo_is_told(tlzoo, monkeypatch):
    monkeypatch.setattr("tlzoo.cards.library.names", lambda *_: [])
    answer = tlzoo("recommend", "semiconductors")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: there are no checkpoints yet")
    assert answer.err.endswith("name run directories or files with --from\n")


def test_equal_labels_are_told(tlzoo, models, tmp_path):
    crystals = named.load("semiconductors").select(np.arange(30))
    crystals.columns["band_gap"][:] = 1.5
    crystals.write_parquet(tmp_path / "equal.parquet")
    answer = tlzoo("recommend", tmp_path / "equal.parquet", "--target", "band_gap", "--models", models[0])
    assert answer.code == 2
    assert answer.err == "tlzoo: band_gap is 1.5 for all crystals: there is nothing to learn\n"


def test_a_damaged_checkpoint_is_left_out_of_all(tlzoo, mine, tmp_path, monkeypatch):
    """Of those in a folder; one that is named is an error."""
    there = ["cgcnn-bg", "cgcnn-mpt"]
    for path in dict.fromkeys(path for name in there for path in files(library.locate(name))):
        shutil.copy(path, tmp_path)
    (tmp_path / "worse.json").write_text("{")
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(tmp_path))
    monkeypatch.setattr(library, "repository", lambda: None)
    monkeypatch.setattr(library, "_installed", list)  # twenty more
    answer = tlzoo("recommend", mine, "--target", "band_gap", "--repeats", 1)
    assert answer.code == 0, answer.err
    assert "worse is left out: " in answer.err
    assert set(there) <= set(answer.out.split())
    named_one = tlzoo("recommend", mine, "--target", "band_gap", "--from", "worse")
    assert named_one.code == 2
