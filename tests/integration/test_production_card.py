"""A network that has learned from every crystal is published with the errors of a cross-validation."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from tlzoo.cards.card import Card
from tlzoo.cards.catalogue import PRODUCTION, kind_of
from tlzoo.data import named
from tlzoo.model.known_crystals import known_crystals

WORDS = ("--description", "x", "--citation", "Somebody (2024)", "--licence", "CC0")
FOLDS = 3


def recipe(split):
    return {
        "seed_everything": 0,
        "model": {
            "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
            "head": {"class_path": "Regression", "init_args": {"minimum": 0.5}},
        },
        "data": {"source": "semiconductors", "split": split},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
    }


@pytest.fixture(scope="module")
def runs(tlzoo, tmp_path_factory):
    """The run on everything, and the folds."""
    folder = tmp_path_factory.mktemp("production")
    splits = {"all": {"class_path": "Random", "init_args": {"val": 6, "test": 0}}}
    for fold in range(FOLDS):
        arguments = {"folds": FOLDS, "fold": fold, "val": 6}
        splits[f"fold-{fold}"] = {"class_path": "KFold", "init_args": arguments}
    for name, split in splits.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe(split)))
        answer = tlzoo("fit", "--config", folder / f"{name}.yaml", "--run_dir", folder / name)
        assert answer.code == 0, answer.err
        if name != "all":
            assert tlzoo("test", folder / name).code == 0
    return folder


def publish(tlzoo, runs, out, *folds):
    named = ["--folds", ",".join(str(fold) for fold in folds)] if folds else []
    return tlzoo("zoo", "publish", runs / "all", "net", *WORDS, "--folder", out, *named)


def test_its_errors_are_those_of_all_folds_together(tlzoo, runs, tmp_path):
    folds = [runs / f"fold-{fold}" for fold in range(FOLDS)]
    answer = publish(tlzoo, runs, tmp_path, *folds)
    assert answer.code == 0, answer.err
    card = Card.read(tmp_path / "net.json")
    tables = [pd.read_csv(fold / "predictions.csv") for fold in folds]
    tested = pd.concat([table[table["part"] == "test"] for table in tables])
    crystals = card.training.train.crystals + card.training.val.crystals
    assert tested["id"].nunique() == len(tested) == card.metrics["band_gap"].n == crystals
    mae = np.abs(tested["prediction"] - tested["target"]).mean()
    assert card.metrics["band_gap"].mae == pytest.approx(mae, rel=1e-12)
    assert [part.crystals for part in card.cross_validation] == tables_sizes(tables)
    assert card.training.test.crystals == 0
    said = " ".join(answer.out.split())
    assert f"on {crystals:,} crystals (measured by {FOLDS}-fold cross-validation)" in said
    assert "so it is made to predict" in said
    assert tested["prediction"].min() >= 0.5, "the least value holds wherever a head predicts"


def tables_sizes(tables):
    return [int((table["part"] == "test").sum()) for table in tables]


def test_one_trained_further_on_all_states_the_errors_of_its_start(tlzoo, runs, tmp_path):
    before = tmp_path / "before"
    assert tlzoo("zoo", "publish", runs / "fold-0", "start", *WORDS, "--folder", before).code == 0
    start = Card.read(before / "start.json")
    network = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": str(before / "start.safetensors")}}
    further = recipe({"class_path": "Random", "init_args": {"val": 6, "test": 0}})
    further["model"]["backbone"] = network
    (tmp_path / "further.yaml").write_text(yaml.safe_dump(further))
    answer = tlzoo("fit", "--config", tmp_path / "further.yaml", "--run_dir", tmp_path / "run")
    assert answer.code == 0, answer.err
    place = ("--folder", tmp_path / "out", "--errors-of", before / "start.safetensors")
    answer = tlzoo("zoo", "publish", tmp_path / "run", "net", *WORDS, *place)
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    assert f"on {start.training.test.crystals} crystals (measured before it learned from them)" in said
    card = Card.read(tmp_path / "out" / "net.json")
    assert card.metrics == start.metrics
    assert kind_of(card) == PRODUCTION
    refused = tlzoo("zoo", "publish", runs / "all", "net", *WORDS, *place)
    assert refused.code == 2
    assert "did not start from" in refused.err


def test_without_folds_there_are_no_errors_to_state(tlzoo, runs, tmp_path):
    answer = publish(tlzoo, runs, tmp_path)
    assert answer.code == 2
    assert "learned from every crystal, name the runs of a cross-validation with folds" in answer.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("config.yaml", "max_epochs: 1", "max_epochs: 2"), "another recipe: trainer.max_epochs 1 → 2"),
        (("environment.json", '"source": "semiconductors"', '"source": "mp"'), "learned from other data"),
    ],
)
def test_folds_are_of_the_same_recipe_and_data(tlzoo, runs, tmp_path, change, message):
    fold = shutil.copytree(runs / "fold-0", tmp_path / "fold")
    file, old, new = change
    text = (fold / file).read_text()
    assert old in text
    (fold / file).write_text(text.replace(old, new))
    answer = publish(tlzoo, runs, tmp_path / "out", fold)
    assert answer.code == 2
    assert message in answer.err


def test_no_crystal_is_in_two_folds(tlzoo, runs, tmp_path):
    size = len(json.loads((runs / "fold-0" / "split.json").read_text())["test"])
    answer = publish(tlzoo, runs, tmp_path / "out", runs / "fold-0", runs / "fold-0")
    assert answer.code == 2
    assert f"{size} crystals are in the test part of {runs / 'fold-0'} and of another fold" in answer.err


def test_a_fold_that_was_not_tested(tlzoo, runs, tmp_path):
    fold = shutil.copytree(runs / "fold-0", tmp_path / "fold")
    (fold / "predictions.csv").unlink()
    answer = publish(tlzoo, runs, tmp_path / "out", fold)
    assert (answer.code, answer.err) == (2, f"tlzoo: {fold} was not tested; call: tlzoo test {fold}\n")


def test_a_run_that_it_went_on_from_is_known_or_within(tlzoo, runs, tmp_path):
    """Nobody else has that run; what it has learned from is known without it if that is within."""
    crystals = named.load("semiconductors")
    for first, within in (("fold-0", True), ("fold-1", False)):
        start = shutil.copytree(runs / first, tmp_path / first)
        here = tmp_path / f"on-{first}"
        further = ("fit", "--config", runs / "fold-0.yaml", "--from", start, "--run_dir", here)
        assert tlzoo(*further).code == 0
        assert tlzoo("test", here).code == 0
        answer = tlzoo("zoo", "publish", here, "net", *WORDS, "--folder", tmp_path / first / "out")
        assert answer.code == 0, answer.err
        shutil.rmtree(here)
        [origin] = Card.read(tmp_path / first / "out" / "net.json").started_from
        assert (origin.name, origin.within) == (str(start), within)
        start.rename(tmp_path / f"gone-{first}")
        net = str(tmp_path / f"gone-{first}" / "out" / "net.safetensors")
        found = known_crystals([net], crystals, np.arange(len(crystals)))
        assert (found.mask is not None and found.mask.sum() > 100) == within
        assert within or "cannot be looked at" in found.reason
