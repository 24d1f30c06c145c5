"""The loop over an epoch against Lightning's own."""

import numpy as np
import torch

from tlzoo import fit
from tlzoo.data import named
from tlzoo.training.epoch_loop import EpochLoop


def tree(source):
    return {
        "model": {
            "backbone": {"class_path": "CGCNN", "init_args": {"dim": 6, "depth": 1}},
            "head": {"class_path": "Regression", "init_args": {"hidden": [4]}},
        },
        "data": {"batch_size": 8, "source": str(source), "targets": ["band_gap"]},
        "trainer": {"max_epochs": 2, "gradient_clip_val": 1.0},
    }


def test_same_run_as_with_lightnings_own_loop(tmp_path, monkeypatch):
    source = tmp_path / "mine.parquet"
    named.load("semiconductors").select(np.arange(40)).write_parquet(source)
    fit(tree(source), run_dir=tmp_path / "ours", quiet=True)
    monkeypatch.setattr(EpochLoop, "put_into", lambda _: None)
    fit(tree(source), run_dir=tmp_path / "theirs", quiet=True)
    ours, theirs = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)  # noqa: TID251 (our own)
        for name in ("ours", "theirs")
    )
    assert ours["loops"] == theirs["loops"]
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
