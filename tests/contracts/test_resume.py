"""An interrupted and resumed run ends bit-identical to a straight one; so do two runs of the same seed."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tlzoo.training.history import History

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
DESCRIPTORS = {
    "model.backbone": {"class_path": "DescriptorMLP", "init_args": {"dim": 8, "depth": 2, "dropout": 0.2}},
    "model.head.init_args": {"hidden": [8], "dropout": 0.2},
}
GRADUAL = {"model.freezing": {"class_path": "Gradual", "init_args": {"every": 1}}}
RUNS = {
    "cgcnn": CGCNN,
    "alignn": ALIGNN,
    "descriptors": DESCRIPTORS,
    "cgcnn-gradual": {**CGCNN, **GRADUAL, "model.layer_decay": 0.5},
    "alignn-gradual": {**ALIGNN, **GRADUAL},
    "cgcnn-bf16": {**CGCNN, "trainer.precision": "bf16-mixed"},
    "alignn-bf16": {**ALIGNN, "trainer.precision": "bf16-mixed"},
}
RESULTS = ("history.csv", "predictions.csv", "metrics.json", "model.safetensors", "split.json")


@pytest.fixture
def path(config, request):
    """The configuration of a run of four epochs."""
    return config({**RUNS[request.param], "trainer.max_epochs": 4})


def straight(tlzoo, path, run):
    answer = tlzoo("fit", "--config", path, "--run_dir", run)
    assert answer.code == 0, answer.err
    return run


def state(run):
    """All tensors and numbers of the resume files that say what was learned."""
    for name in ("best.ckpt", "last.ckpt"):
        content = torch.load(run / name, weights_only=True)  # noqa: TID251 (our own resume file)
        for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers"):
            yield from leaves(content[key], f"{name}:{key}")


def leaves(tree, name):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{name}.{key}")
    elif isinstance(tree, list | tuple):
        for i, value in enumerate(tree):
            yield from leaves(value, f"{name}.{i}")
    else:
        yield name, tree


def assert_identical(run, other):
    one, two = dict(state(run)), dict(state(other))
    assert one.keys() == two.keys()
    assert any("exp_avg" in name for name in one)
    differing = [
        name
        for name, value in one.items()
        if not (torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name])
    ]
    assert not differing
    for name in RESULTS:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("path", RUNS, indirect=True)
def test_resumed_equals_straight(path, tlzoo, tmp_path):
    whole = straight(tlzoo, path, tmp_path / "straight")

    def interrupt(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 1:
            signal.raise_signal(signal.SIGINT)

    broken = tmp_path / "broken"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "on_train_batch_start", interrupt)
        answer = tlzoo("fit", "--config", path, "--run_dir", broken)
    assert answer.code == 2
    assert answer.err.endswith("the same command goes on from there\n")
    assert len((broken / "history.csv").read_text().splitlines()) == 1 + 2

    # a resumed run may lie elsewhere, and what the process did meanwhile must not matter
    resumed = broken.rename(tmp_path / "resumed")
    torch.rand(7)
    assert_identical(whole, straight(tlzoo, path, resumed))


@pytest.mark.parametrize("path", ["cgcnn"], indirect=True)
def test_the_seed_decides(path, tlzoo, tmp_path):
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    assert_identical(straight(tlzoo, path, one), straight(tlzoo, path, same))
    assert tlzoo("fit", "--config", path, "--run_dir", other, "--seed_everything", 1).code == 0
    assert (one / "history.csv").read_bytes() != (other / "history.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["cgcnn"], indirect=True)
def test_a_killed_process_resumes(path, tlzoo, tmp_path):
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
