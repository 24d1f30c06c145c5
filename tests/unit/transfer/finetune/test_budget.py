"""Fewer candidates, then fewer epochs: as much as there is time for, and what is asked for by name stays."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlzoo.errors import UserError
from tlzoo.model.checkpoint import Loaded
from tlzoo.transfer.finetune.budget import FILE, affordable, least, seconds, within
from tlzoo.transfer.finetune.experiment import plan
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import RECIPES

ROW = replace(RECIPES[0], epochs=60, rates=(1e-3, 3e-3, 1e-2), poolings=("mean", "max"))
SPEC = {"class_path": "tlzoo.backbones.CGCNN", "init_args": {"dim": 8, "pooling": "mean"}}
START = Loaded(None, None, {"spec": {"backbone": SPEC}})
# A training takes as many seconds as it has epochs.
DURATIONS = SimpleNamespace(seconds=lambda tree: float(tree["trainer"]["max_epochs"]))


def cost(row):
    return 2.0 * len(row.rates) * len(row.poolings) * row.epochs


def planner(request):
    return lambda row: plan(request, {"cgcnn-fe": START}, row, ["gap"])


def request_(folder, **changes):
    return Request(**{"source": "mine.csv", "run_dir": folder, "starts": ("cgcnn-fe",), **changes})


@pytest.mark.parametrize(
    ("limit", "rates", "poolings", "epochs"),
    [
        (720, ROW.rates, ROW.poolings, 60),
        (719, (1e-2,), ROW.poolings, 60),
        (239, (1e-2,), ("mean",), 60),
        (119, (1e-2,), ("mean",), 59),
        (61, (1e-2,), ("mean",), 30),
    ],
)
def test_what_is_left_out_first(limit, rates, poolings, epochs):
    less = within(limit, ROW, cost)
    assert (less.rates, less.poolings, less.epochs) == (rates, poolings, epochs)
    assert cost(less) <= limit


def test_too_few_minutes_are_told():
    assert cost(least(ROW)) == 60
    with pytest.raises(UserError, match=r"--minutes 0.9 are too few: .* Give --minutes 1, or a smaller"):
        within(54, ROW, cost)


def test_a_kept_head_has_fewer_rates_too():
    assert within(719, ROW, cost).kept_head_rates == ROW.kept_head_rates[-1:]


def test_seconds_are_those_of_all_trainings(tmp_path):
    asked = request_(tmp_path, seeds=3)
    # 3 x 2 to choose from, and 2 more with what was chosen, on both sides
    assert seconds(planner(asked)(ROW), DURATIONS, asked) == {"transfer": 8 * 60, "scratch": 8 * 60}


def test_what_is_asked_for_by_name_stays(tmp_path):
    said = []
    asked = request_(tmp_path, minutes=8, rates=(1e-3, 3e-3), epochs=100)
    found, took = affordable(asked, ROW, DURATIONS, planner(asked), said.append)
    assert {choice.rate for choice in found.choices["transfer"]} == {1e-3, 3e-3}
    assert {choice.pooling for choice in found.choices["scratch"]} == {"mean"}
    assert took == 4 * 100
    assert said == ["--minutes 8 leave one pooling instead of 2"]
    with pytest.raises(UserError, match="--minutes 6 are too few"):
        affordable(replace(asked, minutes=6), ROW, DURATIONS, planner(asked), said.append)


def test_without_a_limit_all_is_left(tmp_path):
    asked = request_(tmp_path)
    found, took = affordable(asked, ROW, DURATIONS, planner(asked), pytest.fail)
    assert found == planner(asked)(ROW)
    assert took == 2 * 6 * 60
    assert not list(tmp_path.iterdir())


def test_a_comparison_goes_on_with_what_it_began_with(tmp_path):
    asked = request_(tmp_path, minutes=1.5)
    first, _ = affordable(asked, ROW, DURATIONS, planner(asked), lambda _: None)
    assert json.loads((tmp_path / FILE).read_text())["epochs"] == 45
    slower = SimpleNamespace(seconds=lambda tree: 10 * DURATIONS.seconds(tree))
    again, took = affordable(asked, ROW, slower, planner(asked), lambda _: None)
    assert again == first
    assert took == 900
    # another number of minutes is another question
    with pytest.raises(UserError, match="too few"):
        affordable(replace(asked, minutes=2), ROW, slower, planner(asked), lambda _: None)


def test_of_several_processes_nothing_is_known(tmp_path):
    config = tmp_path / "two.yaml"
    config.write_text("trainer: {devices: 2}")
    asked = request_(tmp_path, configs=(config,))
    assert affordable(asked, ROW, DURATIONS, planner(asked), pytest.fail)[1] is None
    limited = replace(asked, minutes=5)
    with pytest.raises(UserError, match="--minutes is for one process"):
        affordable(limited, ROW, DURATIONS, planner(limited), pytest.fail)


def test_minutes_do_not_move_directories():
    """Where a comparison without them is follows from the same facts as before there were any."""
    plain, limited = (Request(source="x.csv", minutes=minutes) for minutes in (None, 5))
    assert plain.run_dir != limited.run_dir
    assert plain.run_dir.parent == limited.run_dir.parent == Path("runs")
