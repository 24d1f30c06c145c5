"""Our networks resumed: to the bit what a straight run gives."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from tlzoo.data import named
from tlzoo.testing import ResumeContract, workbench
from tlzoo.testing.resume_contract import assert_identical

CGCNN = {
    "model.backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 2, "dropout": 0.2}},
    "model.head.init_args": {"hidden": [8], "dropout": 0.2},
}
ALIGNN = {
    "model.backbone": {
        "class_path": "ALIGNN",
        "init_args": {"dim": 8, "alignn_layers": 1, "gcn_layers": 1, "dropout": 0.2},
    },
    "model.head.init_args": {"hidden": [8], "dropout": 0.2},
}
MOMENTNET = {
    "model.backbone": {"class_path": "MomentNet", "init_args": {"dim": 8, "depth": 2, "dropout": 0.2}},
    "model.head.init_args": {"hidden": [8], "dropout": 0.2},
}
DESCRIPTORS = {
    "model.backbone": {"class_path": "DescriptorMLP", "init_args": {"dim": 8, "depth": 2, "dropout": 0.2}},
    "model.head.init_args": {"hidden": [8], "dropout": 0.2},
}
GRADUAL = {"model.freezing": {"class_path": "Gradual", "init_args": {"every": 1}}}
LORA = {"model.freezing": {"class_path": "LoRA", "init_args": {"rank": 2}}}
LPFT = {
    "model.freezing": {"class_path": "LPFT", "init_args": {"epochs": 1, "then": {"class_path": "LoRA"}}},
}
RUNS = {
    "cgcnn": CGCNN,
    "alignn": ALIGNN,
    "momentnet": MOMENTNET,
    "descriptors": DESCRIPTORS,
    "cgcnn-gradual": {**CGCNN, **GRADUAL, "model.layer_decay": 0.5},
    "alignn-gradual": {**ALIGNN, **GRADUAL},
    "cgcnn-lora": {**CGCNN, **LORA, "model.layer_decay": 0.5},
    "alignn-lora": {**ALIGNN, **LORA},
    "descriptors-lp-ft": {**DESCRIPTORS, **LPFT},
    "cgcnn-lp-ft-bf16": {**CGCNN, **LPFT, "trainer.precision": "bf16-mixed"},
    "cgcnn-l2-sp": {
        "model.backbone": {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "cgcnn-fe"}},
        "model.l2_sp": 0.1,
    },
    "cgcnn-bf16": {**CGCNN, "trainer.precision": "bf16-mixed"},
    "alignn-bf16": {**ALIGNN, "trainer.precision": "bf16-mixed"},
}

pytestmark = pytest.mark.usefixtures("quick", "unchecked")


class TestResuming(ResumeContract):
    runs = RUNS


class TestResumingTaught(ResumeContract):
    """A student of few labels; its table is where the configuration says, seen from where it runs."""

    runs: ClassVar = {
        "taught": {
            **CGCNN,
            "model.head": {
                "class_path": "MultiProperty",
                "init_args": {"hidden": [8], "targets": ["few", "rare"], "weighting": "uncertainty"},
            },
            "model.distillation": {"class_path": "Distillation", "init_args": {"weight": 0.5}},
            "data.targets": ["few", "rare"],
            "data.source": "few-labels.parquet",
            "data.teacher": "taught",
        }
    }

    @pytest.fixture(autouse=True)
    @staticmethod
    def here(tmp_path, monkeypatch):
        crystals = named.load("semiconductors").select(np.arange(40))
        gap, number = crystals.column("band_gap"), np.arange(40)
        columns = {
            "few": np.where(number % 3 == 0, gap, np.nan),
            "rare": np.where(number % 9 == 0, gap, np.nan),
        }
        replace(crystals, columns=columns).write_parquet(tmp_path / "few-labels.parquet")
        workbench.write_teacher(tmp_path / "taught", crystals.select(np.arange(0, 40, 2)))
        monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_killed_process_resumes(config, tmp_path):
    path = config({**CGCNN, "trainer.max_epochs": 4})
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "tlzoo", "fit", "--config", str(path), "--run_dir"]
    more = ["--trainer.max_epochs", "60"]
    with subprocess.Popen([*command, str(killed), *more], stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 240
        while time.monotonic() < end and not (killed / "last.ckpt").exists():
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "model.safetensors").exists()
    for run in (killed, tmp_path / "straight"):
        subprocess.run([*command, str(run), *more], check=True, capture_output=True)
    assert_identical(killed, tmp_path / "straight")
