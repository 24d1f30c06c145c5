"""What trainings take, by a clock that is set by hand; and that timing them leaves no trace."""

from itertools import count

import numpy as np
import pytest
import torch

from tlzoo.data import named
from tlzoo.training.pace import EPOCH, FORWARD, SECONDS, STEPS, TRAINING, Pace
from tlzoo.transfer.finetune.candidate import read
from tlzoo.transfer.finetune.duration import FILE, Durations

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.parquet"
    named.load("semiconductors").select(np.arange(40)).write_parquet(path)
    return {
        "model": {
            "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1, "pooling": "mean"}},
            "head": {"class_path": "Regression"},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-2}},
        },
        "data": {"source": str(path), "targets": ["band_gap"], "batch_size": 8},
        "trainer": {"accelerator": "cpu", "max_epochs": 20},
    }


@pytest.fixture(scope="module")
def data(tree):
    return read(tree)


def changed(tree, **backbone):
    model = tree["model"]
    inits = {**model["backbone"]["init_args"], **backbone}
    return {**tree, "model": {**model, "backbone": {**model["backbone"], "init_args": inits}}}


def ticking(seconds):
    """A clock of which each look is so many seconds after the one before."""
    return (seconds * n for n in count()).__next__


def test_a_step_is_timed_by_its_atoms(tree, data):
    durations = Durations(data, ticking(0.01))
    pace = durations.pace(tree)
    assert pace.timed == STEPS
    # 32 crystals in 4 batches, three times: a step is of average size
    assert len(data.split.train) == 32
    assert pace.crystal == pytest.approx(0.01 / 8, rel=0.05)


def test_large_networks_take_fewer_steps(tree, data):
    assert Durations(data, ticking(2 * SECONDS)).pace(tree).timed == 1


def test_equal_networks_are_timed_once(tree, data):
    durations = Durations(data, ticking(0.01))
    first = durations.seconds(tree)
    other = changed(tree, pooling="max")
    other["model"]["optimizer"]["init_args"]["lr"] = 1e-4
    assert durations.seconds(other) == first
    assert len(durations.kinds) == 1
    durations.seconds(changed(tree, dim=16))
    assert len(durations.kinds) == 2


def test_a_training_is_its_epochs_and_what_is_besides():
    pace = Pace(0.5, 12)
    once, twice = pace.seconds(100, 20, 10), pace.seconds(100, 20, 20)
    assert twice - once == pytest.approx(10 * (50 + 10 * FORWARD + EPOCH))
    assert once == pytest.approx(TRAINING + 60 * FORWARD + twice - once)


def test_what_is_assumed_is_not_timed(tree, data):
    durations = Durations(data, pytest.fail, assumed=Pace(1.0, 0))
    assert durations.seconds(tree) == Pace(1.0, 0).seconds(len(data.split.train), len(data.split.val), 20)


def test_timing_leaves_no_trace(tree, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, asked = torch.get_rng_state(), repr(tree)
    Durations(data).seconds(tree)
    assert torch.equal(torch.get_rng_state(), before)
    assert repr(tree) == asked
    assert not list(tmp_path.iterdir())


def test_a_comparison_that_was_begun_is_not_timed_again(tree, data, tmp_path):
    first = Durations(data, ticking(0.01))
    took = first.seconds(tree)
    first.keep(tmp_path)
    again = Durations.begun(data, tmp_path)
    assert again.seconds(tree) == took
    assert not again.kinds
    again.seconds(changed(tree, dim=16))
    assert len(again.kinds) == 1
    (tmp_path / FILE).write_text("[]")
    assert Durations.begun(data, tmp_path).paces == {}
