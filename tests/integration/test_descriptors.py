"""A network on descriptors goes the whole way: fit, test, publish, verify, predict, fine-tune, refuse."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import tlzoo as package
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.descriptor_store import DescriptorStore
from tlzoo.zoo.golden import verify
from tlzoo.zoo.publish import publish

pytestmark = pytest.mark.usefixtures("quick")

NETWORK = {"class_path": "DescriptorMLP", "init_args": {"dim": 8, "depth": 2}}


@pytest.fixture(scope="module")
def run(tlzoo, few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("descriptors")
    tree = {
        "model": {"backbone": NETWORK, "head": {"class_path": "Regression", "init_args": {"hidden": [8]}}},
        "data": {
            "source": str(few),
            "targets": ["band_gap"],
            "split": {"class_path": "Random", "init_args": {"val": 4, "test": 6}},
            "batch_size": 8,
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    }
    (folder / "fit.yaml").write_text(json.dumps(tree))
    for command in (
        ["fit", "--config", folder / "fit.yaml", "--run_dir", folder / "run"],
        ["test", folder / "run"],
    ):
        answer = tlzoo(*command)
        assert answer.code == 0, answer.err
    return folder / "run"


def test_the_scaler_is_that_of_the_training_part(run, few):
    crystals = Crystals.read_parquet(few)
    train = set(json.loads((run / "split.json").read_text())["train"])
    rows = [i for i, name in enumerate(crystals.ids) if name in train]
    values = DescriptorStore.in_memory(crystals.select(rows), DescriptorOptions()).values.astype(np.float64)
    weights = load_file(run / "model.safetensors")
    np.testing.assert_allclose(
        weights["backbone.standardise.mean"], values.mean(axis=0), rtol=1e-5, atol=1e-6
    )
    everything = DescriptorStore.in_memory(crystals, DescriptorOptions()).values.mean(axis=0)
    assert abs(weights["backbone.standardise.mean"].numpy() - everything).max() > 1e-3


def test_predictions_are_those_of_the_run(run, tlzoo, few, tmp_path):
    assert tlzoo("predict", run, few, "-o", tmp_path / "out.csv").code == 0
    found = pd.read_csv(tmp_path / "out.csv").set_index("id")["band_gap"]
    recorded = pd.read_csv(run / "predictions.csv").set_index("id")["prediction"]
    np.testing.assert_allclose(found[recorded.index], recorded, rtol=1e-5, atol=1e-6)


def test_it_becomes_a_checkpoint(run, tlzoo, tmp_path, monkeypatch):
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(tmp_path))
    rights = {"citation": "Somebody (2024)", "licence": "CC0"}
    card = publish(run, "mlp-gap", description="band gaps", folder=tmp_path, **rights)
    assert len(card.golden) == 16
    assert "DescriptorMLP(dim=8, depth=2, composition=True, structure=True" in card.text()
    assert "\n  graph" not in card.text()
    assert verify("mlp-gap").passed
    answer = tlzoo("zoo", "verify", "mlp-gap")
    assert (answer.code, "agree" in answer.out) == (0, True)


def test_fine_tuning_keeps_the_scaler_it_was_trained_with(run, config, tlzoo, tmp_path):
    start = {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": str(run)}}
    path = config({"model.backbone": start, "model.freezing": {"class_path": "NewHead"}})
    answer = tlzoo("fit", "--config", path, "--run_dir", tmp_path / "tuned")
    assert answer.code == 0, answer.err
    before, after = (load_file(path / "model.safetensors") for path in (run, tmp_path / "tuned"))
    frozen = [name for name in before if name.startswith("backbone.")]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)


def test_crystals_without_descriptors_are_named_and_can_be_left_out(run, tlzoo, tmp_path):
    crystals = named.load("semiconductors").select(np.arange(3))
    lattice = crystals.lattice.copy()
    lattice[1] *= 8  # every atom alone
    strange = Crystals(
        ids=crystals.ids,
        lattice=lattice,
        offsets=crystals.offsets,
        numbers=crystals.numbers,
        frac_coords=crystals.frac_coords,
    )
    strange.write_parquet(tmp_path / "strange.parquet")
    answer = tlzoo("predict", run, tmp_path / "strange.parquet", "-o", tmp_path / "out.csv")
    assert answer.code == 2
    assert answer.err.startswith("tlzoo: 1 crystal cannot be predicted:\n  ")
    assert "no neighbour within 8 Å" in answer.err
    left = tlzoo("predict", run, tmp_path / "strange.parquet", "-o", tmp_path / "out.csv", "--skip-bad")
    assert left.code == 0
    assert len(pd.read_csv(tmp_path / "out.csv")) == 2


def test_it_embeds_as_other_models_do(run):
    crystals = named.load("semiconductors").select(np.arange(5))
    assert package.load(run).embed(crystals).shape == (5, 8)
