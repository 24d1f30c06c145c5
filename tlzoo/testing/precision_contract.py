"""`precision: bf16-mixed`: trains, tests and predicts with every backbone, and costs little accuracy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tlzoo.data import named
from tlzoo.descriptors.stores import batch_of
from tlzoo.model.trained import load
from tlzoo.testing import workbench

Runs = tuple[Path, Path, Path]


class PrecisionContract:
    """Tests of backbones in mixed precision.

    Attributes:
        backbones: The section ``model.backbone`` of each, without dropout: ``class_path``, ``init_args``.
        tolerance: Largest difference of a prediction, as a part of the standard deviation of the labels; bf16
            has 8 bits, a relative error of 2⁻⁹ = 0.002 a product.
    """

    backbones: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    tolerance: ClassVar[float] = 0.01

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test for all backbones."""
        if "runs" in metafunc.fixturenames:
            metafunc.parametrize("runs", list(self.backbones), indirect=True, scope="class")

    @pytest.fixture(scope="class")
    @staticmethod
    def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
        """A run in fp32 and one in bf16, alike but for that, and their data."""
        folder = tmp_path_factory.mktemp("precision")
        source = workbench.write_few(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TLZOO_CACHE", str(folder / "cache"))
            for precision in ("32-true", "bf16-mixed"):
                changes = {
                    "model.backbone": request.cls.backbones[request.param],
                    "model.optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
                    "trainer.precision": precision,
                    "trainer.max_epochs": 3,
                }
                config = workbench.write_config(folder / f"{precision}.yaml", source, changes)
                workbench.fit(config, folder / precision)
        return folder / "32-true", folder / "bf16-mixed", source

    def test_fit_test_and_predict(self, runs: Runs, tmp_path: Path) -> None:
        full, mixed, source = runs
        losses = [pd.read_csv(run / "history.csv")["train/loss"] for run in (full, mixed)]
        np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
        assert not losses[0].equals(losses[1]), "nothing was computed in bf16"
        assert workbench.run("test", mixed).code == 0
        metrics = json.loads((mixed / "metrics.json").read_text())
        assert all(np.isfinite(metrics[part]["mae"]) for part in ("train", "val", "test"))

        weights = load_file(mixed / "model.safetensors").values()
        assert {value.dtype for value in weights} <= {torch.float32, torch.int64}
        assert workbench.run("predict", mixed, source, "-o", tmp_path / "out.csv").code == 0
        again = pd.read_csv(tmp_path / "out.csv").set_index("id")["band_gap"]
        recorded = pd.read_csv(mixed / "predictions.csv").set_index("id")["prediction"]
        np.testing.assert_allclose(again[recorded.index], recorded, rtol=1e-5, atol=1e-6)

    def test_predictions_agree_with_full_precision(self, runs: Runs) -> None:
        crystals = named.load("semiconductors")
        model = load(runs[0])
        batch = batch_of(crystals, model.backbone.graph)
        with torch.inference_mode():
            full = model.head.predict(model.head(model.backbone(batch)))
            with torch.autocast("cpu", torch.bfloat16):
                mixed = model.head.predict(model.head(model.backbone(batch)))
        assert mixed.dtype == torch.float32
        error = (mixed - full).abs() / float(crystals.column("band_gap").std())
        assert 0 < error.max() < self.tolerance
