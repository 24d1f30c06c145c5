"""`precision: bf16-mixed`: trains, tests and predicts with every backbone, and costs little accuracy."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import tlzoo as package
from tlzoo.data import named
from tlzoo.descriptors.stores import batch_of

BACKBONES = {
    "cgcnn": {"class_path": "CGCNN", "init_args": {"dim": 32, "depth": 2}},
    "alignn": {"class_path": "ALIGNN", "init_args": {"dim": 32, "alignn_layers": 1, "gcn_layers": 1}},
    "descriptors": {"class_path": "DescriptorMLP", "init_args": {"dim": 32, "depth": 2}},
}
# Of the standard deviation of the labels; bf16 has 8 bits, a relative error of 2⁻⁹ = 0.002 a product.
TOLERANCE = 0.01


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request):
    return BACKBONES[request.param]


@pytest.fixture
def fitted(backbone, tlzoo, config, tmp_path):
    """A run in fp32 and one in bf16, alike but for that."""
    runs = {}
    for precision in ("32-true", "bf16-mixed"):
        path = config(
            {
                "model.backbone": backbone,
                "model.optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
                "trainer.precision": precision,
                "trainer.max_epochs": 3,
            }
        )
        runs[precision] = tmp_path / precision
        answer = tlzoo("fit", "--config", path, "--run_dir", runs[precision])
        assert answer.code == 0, answer.err
    return runs["32-true"], runs["bf16-mixed"]


def test_fit_test_and_predict(fitted, tlzoo, few, tmp_path):
    full, mixed = fitted
    losses = [pd.read_csv(run / "history.csv")["train/loss"] for run in (full, mixed)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert not losses[0].equals(losses[1]), "nothing was computed in bf16"
    assert tlzoo("test", mixed).code == 0
    metrics = json.loads((mixed / "metrics.json").read_text())
    assert all(np.isfinite(metrics[part]["mae"]) for part in ("train", "val", "test"))

    # weights are kept, and crystals predicted, in fp32
    assert {value.dtype for value in load_file(mixed / "model.safetensors").values()} <= {
        torch.float32,
        torch.int64,
    }
    assert tlzoo("predict", mixed, few, "-o", tmp_path / "out.csv").code == 0
    again = pd.read_csv(tmp_path / "out.csv").set_index("id")["band_gap"]
    recorded = pd.read_csv(mixed / "predictions.csv").set_index("id")["prediction"]
    np.testing.assert_allclose(again[recorded.index], recorded, rtol=1e-5, atol=1e-6)


def test_predictions_agree_with_full_precision(fitted):
    crystals = named.load("semiconductors")
    model = package.load(fitted[0])
    batch = batch_of(crystals, model.backbone.graph)
    with torch.inference_mode():
        full = model.head.predict(model.head(model.backbone(batch)))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model.head.predict(model.head(model.backbone(batch)))
    assert mixed.dtype == torch.float32
    error = (mixed - full).abs() / float(crystals.column("band_gap").std())
    assert 0 < error.max() < TOLERANCE


@pytest.mark.parametrize(
    ("precision", "able", "said"),
    [("bf16-mixed", False, True), ("bf16-mixed", True, False), ("32-true", False, False)],
)
def test_a_processor_without_bf16_is_told(
    precision, able, said, tlzoo, config, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("tlzoo.training.fitting.multiplies_bf16", lambda: able)
    path = config({"trainer.precision": precision, "trainer.max_epochs": 1})
    answer = tlzoo("fit", "--config", path, "--run_dir", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert ("this processor has no instructions for bf16" in caplog.text) == said
