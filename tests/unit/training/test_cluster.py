"""Starting processes: what is refused, and with which words."""

import sys

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from tlzoo.backbones import CGCNN
from tlzoo.errors import UserError
from tlzoo.heads import Regression
from tlzoo.training import cluster
from tlzoo.training.task import Task


def trainer(devices=2, **options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    options = {"strategy": "ddp", "use_distributed_sampler": False, **options}
    return pl.Trainer(accelerator="cpu", devices=devices, **quiet, **options)


def task(**options):
    return Task(CGCNN(dim=8, depth=1), Regression(hidden=(8,)), **options)


class WithTheirs(CGCNN):
    """A network with a layer of torch's."""

    def __init__(self):
        super().__init__(dim=8, depth=1)
        self.theirs = torch.nn.BatchNorm1d(8)


def test_what_is_right_passes():
    cluster.check(trainer(), task())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_distributed_sampler": True}, "set trainer.use_distributed_sampler to false"),
        ({"sync_batchnorm": True}, "batch statistics are always those of the whole batch"),
        ({"strategy": DDPStrategy(ddp_comm_hook=print)}, "a communication hook of DDP would not be called"),
        ({"strategy": "auto", "devices": 1}, "need trainer.strategy ddp, got SingleDeviceStrategy"),
    ],
)
def test_trainers_that_would_get_it_wrong_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        cluster.check(trainer(**options), task())


def test_networks_that_would_get_it_wrong_are_refused():
    with pytest.raises(UserError, match=r"backbone\.theirs normalises over the batch of one process"):
        cluster.check(trainer(), Task(WithTheirs(), Regression(hidden=(8,))))
    with pytest.raises(UserError, match="compiled networks train in one process only"):
        cluster.check(trainer(), task(compiled=True))


def started_by_torchrun(patch, count):
    patch.setenv("TORCHELASTIC_RUN_ID", "test")
    for name, value in {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "RANK": 0, "LOCAL_RANK": 0}.items():
        patch.setenv(name, str(value))


def test_the_trainer_must_be_for_the_processes_that_were_started(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tlzoo", "fit"])
    alone = trainer(devices=1, strategy="auto")
    cluster.check_start(alone, "fit")
    started_by_torchrun(monkeypatch, 2)
    cluster.check_start(trainer(), "fit")
    with pytest.raises(UserError, match="2 processes were started, and the trainer is for 1: give --trainer"):
        cluster.check_start(alone, "fit")
    with pytest.raises(UserError, match=r"trainer: You set `devices=3` .* the world size \(2\)"):
        cluster.check_start(trainer(devices=3), "fit")
    # inside another command each of the processes may be on its own
    monkeypatch.setattr(sys, "argv", ["tlzoo", "study", "run"])
    cluster.check_start(alone, "fit")


def test_processes_are_started_from_the_command_line_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tlzoo", "fit", "--config", "some.yaml"])
    cluster.check_start(trainer(), "fit")
    with pytest.raises(UserError, match=r"several processes need --trainer\.strategy ddp"):
        cluster.check_start(trainer(strategy="ddp_spawn"), "fit")
    monkeypatch.setattr(sys, "argv", ["tlzoo", "finetune", "table.csv"])
    with pytest.raises(UserError, match=r"`tlzoo fit` can start processes only from the command line"):
        cluster.check_start(trainer(), "fit")


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(cluster, "usable_cores", lambda: 7)
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    cluster.share_threads(trainer())
    monkeypatch.delenv("OMP_NUM_THREADS")
    cluster.share_threads(trainer(devices=1, strategy="auto"))
    assert not chosen
    cluster.share_threads(trainer())
    assert chosen == [3]
