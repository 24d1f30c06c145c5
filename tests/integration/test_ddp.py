"""Several processes learn what one does, and leave the same run directory.

Equal but for rounding: losses and metrics to 1e-5, weights to 1e-4. They are compared after SGD. The gradient
of a bias before batch normalisation is zero but for rounding; Adam divides that by its own size, and the bias
wanders, to no effect in training.
"""

import contextlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.testing import workbench

CGCNN = {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 2}}
ALIGNN = {"class_path": "ALIGNN", "init_args": {"dim": 8, "alignn_layers": 2, "gcn_layers": 1}}
TARGETS = ["gap", "volume", "rare"]
SEVERAL = {
    "model.head": {
        "class_path": "MultiProperty",
        "init_args": {"hidden": [8], "targets": TARGETS, "weighting": "uncertainty"},
    },
    "data.targets": TARGETS,
}
SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.02, "momentum": 0.9}}
# less than the bonds of the largest crystal, whose batch leaves a process without any
TIGHT = {"data.max_rows": 24}
CASES = {
    "cgcnn-several": {"model.backbone": CGCNN, **SEVERAL, "data.oversample": 0.4, **TIGHT},
    "cgcnn": {"model.backbone": CGCNN},
    "alignn": {"model.backbone": ALIGNN, "data.batch_size": 5},
    "alignn-several": {"model.backbone": ALIGNN, **SEVERAL},
    "cgcnn-attention": {
        "model.backbone": {
            "class_path": "CGCNN",
            "init_args": {"dim": 8, "depth": 1, "pooling": "attention"},
        },
        "model.head": {"class_path": "Gaussian", "init_args": {"hidden": [8]}},
        **TIGHT,
    },
    "cgcnn-max-quantile": {
        "model.backbone": {
            "class_path": "CGCNN",
            "init_args": {"dim": 8, "depth": 1, "pooling": "max", "norm": "layer", "features": "learned"},
        },
        "model.head": {"class_path": "Quantile", "init_args": {"hidden": [8]}},
        **TIGHT,
    },
    "descriptors": {
        "model.backbone": {"class_path": "DescriptorMLP", "init_args": {"dim": 8, "depth": 2}},
        "data.batch_size": 17,
    },
    "alignn-gradual": {
        "model.backbone": ALIGNN,
        "model.freezing": {"class_path": "Gradual", "init_args": {"every": 1}},
        "model.layer_decay": 0.5,
    },
    "cgcnn-lp-ft-lora": {
        "model.backbone": CGCNN,
        "model.freezing": {
            "class_path": "LPFT",
            "init_args": {"epochs": 1, "then": {"class_path": "LoRA", "init_args": {"rank": 2}}},
        },
    },
    "cgcnn-l2-sp": {
        "model.backbone": {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": "cgcnn-fe"}},
        "model.l2_sp": 1.0,
    },
    "cgcnn-taught": {
        "model.backbone": CGCNN,
        **SEVERAL,
        "model.distillation": {"class_path": "Distillation", "init_args": {"weight": 0.3}},
        **TIGHT,
    },
    "cgcnn-accumulated": {
        "model.backbone": CGCNN,
        "trainer.accumulate_grad_batches": 2,
        "trainer.gradient_clip_val": 0.5,
    },
}


def member(rank, world, port, environment, arguments, folder, change=None):
    """Be one of the processes that torchrun starts."""
    from tlzoo.__main__ import main

    torch.set_num_threads(1)
    os.environ |= environment | {
        "TORCHELASTIC_RUN_ID": "test",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
    }
    sys.argv = ["tlzoo", *arguments]
    if change is not None:
        change(rank)
    with (
        (folder / f"out-{rank}.txt").open("w") as out,
        (folder / f"err-{rank}.txt").open("w") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(arguments)
    sys.exit(code)


class Answer(NamedTuple):
    """What each process gave: exit code, standard output, standard error."""

    code: list[int | None]
    out: list[str]
    err: list[str]


@pytest.fixture(scope="module")
def few_trees():
    """All trees: what this process says is compared with what others say."""


@pytest.fixture
def several(cache, tmp_path):
    """A command in several processes, as torchrun would start them."""
    context = multiprocessing.get_context("forkserver")
    # torch and Lightning are imported once
    context.set_forkserver_preload(["tlzoo.commands.fit", "tlzoo.__main__"])

    def run(*arguments, world=2, change=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [*map(str, arguments), "--trainer.devices", str(world)]
        members = [
            context.Process(
                target=member, args=(rank, world, port, dict(os.environ), words, tmp_path, change)
            )
            for rank in range(world)
        ]
        for process in members:
            process.start()
        for process in members:
            process.join(240)
        codes = [process.exitcode for process in members]
        for process in members:
            process.kill()
        said = (
            [(tmp_path / f"{name}-{rank}.txt").read_text() for rank in range(world)]
            for name in ("out", "err")
        )
        return Answer(codes, *said)

    return run


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """26 crystals with a property that all have, one that half have, and one that few have."""
    crystals = named.load("semiconductors").select(np.arange(0, 203, 8))
    gap = crystals.column("band_gap")
    volume = np.abs(np.linalg.det(crystals.lattice)) / crystals.num_atoms
    number = np.arange(len(crystals))
    columns = {
        "gap": gap,
        "volume": np.where(number % 2 == 0, volume, np.nan),
        "rare": np.where(number % 5 == 0, gap**2, np.nan),
    }
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    replace(crystals, columns=columns, units={"gap": "eV"}).write_parquet(path)
    return path


@pytest.fixture
def case(request, config, table, tmp_path):
    """The configuration of a run of three epochs."""
    common = {
        "data.source": str(table),
        "data.targets": ["gap"],
        "trainer.max_epochs": 3,
        "model.optimizer": SGD,
        "model.schedule": "constant",
    }
    if "model.distillation" in CASES[request.param]:
        crystals = Crystals.read_parquet(table).select(np.arange(0, 26, 2))
        common["data.teacher"] = str(workbench.write_teacher(tmp_path / "taught", crystals))
    return config({**common, **CASES[request.param]})


def words(said):
    """What was said, but for numbers and folders."""
    return re.findall(r"^[a-z][^\d/]*", said, re.MULTILINE)


def state(run, name="last.ckpt"):
    return torch.load(run / name, weights_only=True)  # noqa: TID251 (our own resume file)


def assert_equal(one, other):
    """The runs have the same curve, weights and predictions, but for rounding."""
    courses = [pd.read_csv(run / "history.csv") for run in (one, other)]
    pd.testing.assert_frame_equal(*courses, rtol=1e-5, atol=1e-5)
    for name in ("best.ckpt", "last.ckpt"):
        first, second = state(one, name), state(other, name)
        assert first["epoch"] == second["epoch"]
        for key, value in first["state_dict"].items():
            scale = max(1.0, float(value.abs().max()))
            torch.testing.assert_close(
                second["state_dict"][key],
                value,
                rtol=0,
                atol=1e-4 * scale,
                msg=lambda text, k=key: f"{k}: {text}",
            )
    predictions = [pd.read_csv(run / "predictions.csv") for run in (one, other)]
    pd.testing.assert_frame_equal(*predictions, rtol=1e-4, atol=1e-4)
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (one, other)]
    assert metrics[0].keys() == metrics[1].keys()
    assert (one / "split.json").read_bytes() == (other / "split.json").read_bytes()
    # pictures are drawn in other processes than this one alone
    files = [{path.name for path in run.iterdir() if path.suffix != ".png"} for run in (one, other)]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    "case",
    ["cgcnn-several", *(pytest.param(name, marks=pytest.mark.slow) for name in list(CASES)[1:])],
    indirect=True,
)
def test_two_processes_learn_what_one_does(case, tlzoo, several, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    alone = tlzoo("fit", "--config", case, "--run_dir", one)
    assert alone.code == 0, alone.err
    answer = several("fit", "--config", case, "--run_dir", two)
    assert answer.code == [0, 0], answer.err
    # what is said is said once
    assert words(answer.out[0]) == words(alone.out)
    assert answer.out[1] == answer.err[1] == ""
    assert_equal(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cgcnn-several"], indirect=True)
def test_three_processes_do_as_well(case, tlzoo, several, tmp_path):
    one, three = tmp_path / "one", tmp_path / "three"
    assert tlzoo("fit", "--config", case, "--run_dir", one).code == 0
    answer = several("fit", "--config", case, "--run_dir", three, world=3)
    assert answer.code == [0, 0, 0], answer.err
    assert_equal(one, three)


def interrupted(rank):
    """Ctrl-C, which all processes of a terminal get, in the third epoch."""
    from tlzoo.training.history import History

    def interrupt(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 1:
            signal.raise_signal(signal.SIGINT)

    History.on_train_batch_start = interrupt


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cgcnn-several"], indirect=True)
def test_resumed_equals_straight_whatever_the_number_of_processes(case, several, tlzoo, tmp_path):
    straight, broken, alone = tmp_path / "straight", tmp_path / "broken", tmp_path / "alone"
    assert several("fit", "--config", case, "--run_dir", straight).code == [0, 0]
    answer = several("fit", "--config", case, "--run_dir", broken, change=interrupted)
    assert answer.code == [2, 2]
    told = f"stopped. All finished epochs are in {broken / 'last.ckpt'}; the same command goes on from there"
    assert answer.err[0].endswith(f"\ntlzoo: {told}\n")
    assert answer.err[1] == ""
    assert len(pd.read_csv(broken / "history.csv")) == 2
    shutil.copytree(broken, alone)
    assert several("fit", "--config", case, "--run_dir", broken).code == [0, 0]
    for name in ("history.csv", "predictions.csv", "metrics.json", "model.safetensors"):
        assert (straight / name).read_bytes() == (broken / name).read_bytes(), name
    # and by one process what two have begun
    answer = tlzoo("fit", "--config", case, "--run_dir", alone)
    assert answer.code == 0, answer.err
    assert_equal(straight, alone)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cgcnn"], indirect=True)
def test_predictions_are_complete_unique_and_in_order(case, several, tlzoo, tmp_path):
    two, one = tmp_path / "two", tmp_path / "one"
    assert several("fit", "--config", case, "--run_dir", two).code == [0, 0]
    shutil.copytree(two, one)
    for command in ("validate", "test"):
        answer = several(command, two)
        assert answer.code == [0, 0], answer.err
        assert answer.out[1] == ""
        alone = tlzoo(command, one)
        assert alone.code == 0, alone.err
        assert words(answer.out[0]) == words(alone.out)
    table, other = (pd.read_csv(run / "predictions.csv") for run in (two, one))
    pd.testing.assert_frame_equal(table, other, rtol=1e-5)
    split = json.loads((two / "split.json").read_text())
    assert len(table) == 26
    for part in ("train", "val", "test"):
        assert table.loc[table["part"] == part, "id"].tolist() == split[part]


def short_of_memory(rank, *, backward, rows=31):
    """Process 1 has memory for so many bonds, and notices in the middle of the network."""
    from tlzoo.nn.gated_conv import GatedConv

    forward = GatedConv.forward

    def limited(self, x, edge_attr, atoms, bonds):
        def fail(_gradient=None):
            if len(edge_attr) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

        result = forward(self, x, edge_attr, atoms, bonds)
        if not backward:
            fail()
        elif result.requires_grad:
            result.register_hook(fail)
        return result

    if rank == 1:
        GatedConv.forward = limited


def short_forward(rank):
    short_of_memory(rank, backward=False)


def short_backward(rank):
    short_of_memory(rank, backward=True)


def warned(rank):
    """All know from the start what `short_of_memory` learns."""
    import tlzoo.training.task

    tlzoo.training.task.RowBudget = partial(tlzoo.training.task.RowBudget, int(os.environ["KNOWN_ROWS"]))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cgcnn"], indirect=True)
@pytest.mark.parametrize("change", [short_forward, short_backward])
def test_memory_that_runs_out_in_one_process_stops_none(change, case, several, tmp_path, monkeypatch):
    """All go on in parts, and the failed steps leave no trace: as if they had known."""
    whole = ("--data.batch_size", 18)
    surprised, known = tmp_path / "surprised", tmp_path / "known"
    answer = several("fit", "--config", case, "--run_dir", surprised, *whole, change=change)
    assert answer.code == [0, 0], answer.err
    told = re.findall(r"out of memory .* at most (\d+) rows are computed", answer.err[0])
    assert len(told) > 1, answer.err[0]
    monkeypatch.setenv("KNOWN_ROWS", told[-1])
    answer = several("fit", "--config", case, "--run_dir", known, *whole, change=warned)
    assert answer.code == [0, 0], answer.err
    assert "out of memory" not in answer.err[0]
    for name, value in state(known)["state_dict"].items():
        assert torch.equal(state(surprised)["state_dict"][name], value), name
    courses = [pd.read_csv(run / "history.csv") for run in (known, surprised)]
    pd.testing.assert_frame_equal(*courses, rtol=1e-6)


def builds_nothing(rank):
    """Only process 0 may build graphs."""
    import tlzoo.graphs.graph_store

    def build(*_, **__):
        raise AssertionError

    if rank:
        tlzoo.graphs.graph_store._build = build


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cgcnn"], indirect=True)
def test_one_process_builds_and_all_stop_at_the_same_time(case, several, tlzoo, tmp_path, monkeypatch):
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
    callbacks = tmp_path / "callbacks.yaml"
    callbacks.write_text(
        "trainer:\n  max_epochs: 12\n  callbacks:\n"
        "  - class_path: lightning.pytorch.callbacks.EarlyStopping\n"
        "    init_args: {monitor: val/mae, patience: 1}\n"
        "  - {class_path: lightning.pytorch.callbacks.EMAWeightAveraging, init_args: {decay: 0.5}}\n"
    )
    both = ("--config", case, "--config", callbacks, "--run_dir")
    answer = several("fit", *both, tmp_path / "two", change=builds_nothing)
    assert answer.code == [0, 0], answer.err
    alone = tlzoo("fit", *both, tmp_path / "one")
    assert alone.code == 0, alone.err
    assert len(pd.read_csv(tmp_path / "one" / "history.csv")) < 12
    assert_equal(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cgcnn"], indirect=True)
def test_a_loss_that_diverges_ends_all(case, several, tmp_path):
    run = tmp_path / "run"
    answer = several("fit", "--config", case, "--run_dir", run, "--model.optimizer.init_args.lr", "1e30")
    assert answer.code == [2, 2]
    for rank, start in enumerate(("tlzoo: the training loss", "tlzoo: process 1: the training loss")):
        assert answer.err[rank].splitlines()[-1].startswith(start)


def on_slurm(rank):
    """What srun sets, and a signal in the third epoch; `scontrol` notes what it is told."""
    from tlzoo.training.history import History

    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "LOCAL_RANK", "GROUP_RANK"):
        del os.environ[name]
    os.environ |= {
        "SLURM_JOB_ID": "1234567",
        "SLURM_JOB_NAME": "pretrain",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank),
        "SLURM_NODELIST": "localhost",
    }

    def announce(self, trainer, pl_module, batch, batch_idx):
        if trainer.current_epoch == 2 and batch_idx == 1:
            signal.raise_signal(signal.SIGUSR1)
            # what SLURM does to a job that is put back
            signal.raise_signal(signal.SIGTERM)

    History.on_train_batch_start = announce


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cgcnn"], indirect=True)
def test_a_slurm_job_goes_back_into_the_queue(case, several, tmp_path, monkeypatch):
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said.txt\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}")
    run, straight = tmp_path / "run", tmp_path / "straight"
    answer = several("fit", "--config", case, "--run_dir", run, change=on_slurm)
    assert answer.code == [2, 2], answer.err
    assert (tmp_path / "said.txt").read_text() == "requeue 1234567\n"
    assert "job 1234567 goes back into the queue" in answer.err[0]
    assert not list(run.glob("hpc*"))
    # its turn comes again
    assert several("fit", "--config", case, "--run_dir", run).code == [0, 0]
    assert several("fit", "--config", case, "--run_dir", straight).code == [0, 0]
    assert (run / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cgcnn"], indirect=True)
def test_lightning_starts_and_ctrl_c_ends_the_processes(case, cache, tmp_path):
    command = [sys.executable, "-m", "tlzoo", "fit", "--config", str(case), "--trainer.devices", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    stopped, run = tmp_path / "stopped", tmp_path / "run"
    long = [*command, "--run_dir", str(stopped), "--trainer.max_epochs", "100000"]
    with subprocess.Popen(
        long, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        end = time.monotonic() + 240
        while time.monotonic() < end and not (stopped / "last.ckpt").exists():
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert err.endswith("the same command goes on from there\n")
    assert err.count("tlzoo: stopped.") == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    done = subprocess.run(
        [*command, "--run_dir", run], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(run / "predictions.csv")) == 22
