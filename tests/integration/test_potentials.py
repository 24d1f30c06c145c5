"""Whole commands with a potential whose weights a package brings."""

import json

import numpy as np
import pandas as pd
import pytest

from tlzoo.data import named
from tlzoo.model.checkpoint import load

pytest.importorskip("chgnet", reason="pip install 'tlzoo[chgnet]'")

CRYSTALS = 40


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("potentials") / "mine.parquet"
    named.load("semiconductors").select(np.arange(CRYSTALS)).write_parquet(path)
    return path


def test_embed_reads_a_layer(tlzoo, mine, tmp_path):
    answer = tlzoo("embed", "chgnet", mine, "--layer", "conv.3", "-o", tmp_path / "conv.parquet")
    assert answer.code == 0, answer.err
    assert pd.read_parquet(tmp_path / "conv.parquet").shape == (CRYSTALS, 65)


def test_predictions_say_what_is_not_known(tlzoo, mine, tmp_path):
    answer = tlzoo("predict", "chgnet", mine, "-o", tmp_path / "energy.csv")
    assert answer.code == 0, answer.err
    table = pd.read_csv(tmp_path / "energy.csv")
    assert table["energy"].between(-12, 0).all()
    assert set(table["trust"]) == {"not known"}
    assert "not known by structure: the package has no list of its training crystals" in answer.err


def test_features_and_recommend(tlzoo, mine, tmp_path):
    choice = ("--target", "band_gap", "--from", "chgnet")
    learned = tlzoo(
        "features",
        mine,
        *choice,
        "--layer",
        "embedding",
        "--estimator",
        "ridge",
        "--cv",
        "3-fold",
        "-o",
        tmp_path / "gap",
    )
    assert learned.code == 0, learned.err
    assert "chgnet" in learned.out
    ranked = tlzoo("recommend", mine, *choice, "--repeats", 1)
    assert ranked.code == 0, ranked.err
    assert "--from chgnet" in ranked.out


def test_finetune_keeps_the_weights_and_says_where_they_are_from(tlzoo, mine, tmp_path):
    options = ("--target", "band_gap", "--from", "chgnet", "--epochs", 1, "--learning-rates", 1e-3)
    run = tmp_path / "run"
    refused = tlzoo("finetune", mine, *options, "--pooling", "max", "--run_dir", run)
    assert refused.code == 2
    assert "chgnet has the poolings statistics and mean, not max" in refused.err
    answer = tlzoo("finetune", mine, *options, "--run_dir", run)
    assert answer.code == 0, answer.err
    assert "not known by structure" in answer.out + answer.err
    model = load(run / "model.safetensors")
    assert model.card["spec"]["backbone"]["class_path"] == "tlzoo.backbones.CHGNet"
    assert model.card["spec"]["backbone"]["init_args"]["pooling"] == "mean"
    screened = tlzoo("screen", run, mine, "-o", tmp_path / "ranked.parquet", "--top", 5)
    assert screened.code == 0, screened.err
    compared = json.loads((run / "comparison.json").read_text())
    assert compared["asked"]["starts"] == ["chgnet"]
