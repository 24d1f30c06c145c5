"""A table of formulas goes the whole way: check, fit, test, publish, predict, features, fine-tune, refuse."""

import json

import numpy as np
import pandas as pd
import pytest

import tlzoo as package
from tlzoo.crystals import Crystals
from tlzoo.zoo.publish import publish

pytestmark = pytest.mark.usefixtures("quick")

NETWORK = {"class_path": "Roost", "init_args": {"dim": 8, "depth": 1, "heads": 2, "hidden": 8}}


@pytest.fixture(scope="module")
def gaps(few, tmp_path_factory):
    """The few crystals without their structures."""
    crystals = Crystals.read_parquet(few)
    path = tmp_path_factory.mktemp("formulas") / "gaps.csv"
    table = {"id": crystals.ids, "formula": crystals.written, "band_gap": crystals.columns["band_gap"]}
    pd.DataFrame(table).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(tlzoo, gaps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("roost")
    tree = {
        "model": {"backbone": NETWORK, "head": {"class_path": "Regression", "init_args": {"hidden": [8]}}},
        "data": {
            "source": str(gaps),
            "targets": ["band_gap"],
            "split": {"class_path": "Random", "init_args": {"val": 4, "test": 6}},
            "units": {"band_gap": "eV"},
            "batch_size": 8,
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }
    (folder / "fit.yaml").write_text(json.dumps(tree))
    for command in (
        ["data", "check", gaps],
        ["fit", "--config", folder / "fit.yaml", "--run_dir", folder / "run"],
        ["test", folder / "run"],
    ):
        answer = tlzoo(*command)
        assert answer.code == 0, answer.err
    return folder / "run"


def test_predictions_are_those_of_the_run_with_structures_or_without(run, tlzoo, gaps, few, tmp_path):
    recorded = pd.read_csv(run / "predictions.csv").set_index("id")["prediction"]
    for source in (gaps, few):
        assert tlzoo("predict", run, source, "-o", tmp_path / "out.csv").code == 0
        found = pd.read_csv(tmp_path / "out.csv").set_index("id")["band_gap"]
        np.testing.assert_allclose(found[recorded.index], recorded, rtol=1e-5, atol=1e-6)


def test_those_of_the_training_are_known_by_their_formula(run, gaps, few):
    learned = set(json.loads((run / "split.json").read_text())["train"])
    for source in (gaps, few):
        crystals = package.read(source, targets=[])
        trust = package.load(run).trust(crystals)
        formulas = dict(zip(crystals.ids, crystals.formulas, strict=True))
        known = {formulas[name] for name in learned}
        assert [formulas[name] in known for name in trust["id"]] == (trust["trust"] == "in training").tolist()


def test_a_formula_is_predicted_by_itself(run, tlzoo):
    model = package.load(run)
    (wanted,) = model.predict(pd.DataFrame({"composition": ["GaAs"]}))["band_gap"]
    np.testing.assert_allclose(model.predict(["BaTiO3", "As2Ga2"])["band_gap"][1], wanted, rtol=1e-5)
    assert model.predict("GaAs")["id"].tolist() == ["GaAs"]
    answer = tlzoo("predict", run, "GaAs")
    assert (answer.code, answer.out.splitlines()[1].split(",")[0]) == (0, "GaAs")
    assert "does not exist" in tlzoo("predict", run, "GaAs.cif").err


def test_it_becomes_a_checkpoint(run, tlzoo, tmp_path, monkeypatch):
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(tmp_path))
    rights = {"citation": "Somebody (2024)", "licence": "CC0"}
    publish(run, "roost-gap", description="band gaps", folder=tmp_path, **rights)
    answer = tlzoo("zoo", "verify", "roost-gap")
    assert (answer.code, "agree" in answer.out) == (0, True)


def test_features_of_the_network_and_of_the_composition(run, tlzoo, gaps, tmp_path):
    asked = ["--target", "band_gap", "-o", tmp_path / "learned", "--cv", "5-fold"]
    answer = tlzoo("features", gaps, "--from", f"{run},composition", *asked)
    assert answer.code == 0, answer.err
    found = pd.read_parquet(tmp_path / "learned.parquet")
    assert len(found.select_dtypes("number").columns)
    refused = tlzoo("features", gaps, "--from", "descriptors", *asked)
    assert refused.code == 2
    assert "more: a formula without a structure: bring the structure, or take what" in refused.err


def test_fine_tuning_compares_with_the_composition(run, tlzoo, gaps, tmp_path):
    (tmp_path / "quick.yaml").write_text("trainer: {accelerator: cpu}\n")
    answer = tlzoo(
        "finetune", gaps, "--target", "band_gap", "--unit", "eV", "--from", run, "--epochs", "1",
        "--config", tmp_path / "quick.yaml", "--run-dir", tmp_path / "ft", "--jobs", "1",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    verdict = json.loads((tmp_path / "ft" / "verdict.json").read_text())
    assert any(name.startswith("composition") for name in verdict["frozen"]["tried"])
    assert tlzoo("predict", tmp_path / "ft", "GaAs").code == 0


def test_what_reads_structures_refuses_formulas_in_one_sentence(tlzoo, gaps, tmp_path):
    wanted = "gaps.csv, line 2 and"
    fit = ["fit", "--model.backbone", "CGCNN", "--model.head", "Regression", "--data.source", gaps]
    for command in (
        ["predict", "cgcnn-bg", gaps, "-o", tmp_path / "out.csv"],
        [*fit, "--data.targets", "[band_gap]", "--trainer.max_epochs", "1", "--run_dir", tmp_path / "run"],
        ["embed", "cgcnn-bg", gaps, "-o", tmp_path / "e.parquet"],
    ):
        answer = tlzoo(*command)
        assert answer.code == 2
        assert answer.err.count("a formula without a structure: bring the structure") == 1
        assert wanted in answer.err
        assert len(answer.err.splitlines()) <= 3


def test_numbers_of_atoms_are_not_those_of_a_formula(run, tlzoo, gaps, tmp_path):
    answer = tlzoo("embed", run, gaps, "--atoms", "-o", tmp_path / "atoms")
    assert answer.code == 2
    assert "reads formulas, and says nothing of the atoms of a crystal" in answer.err
