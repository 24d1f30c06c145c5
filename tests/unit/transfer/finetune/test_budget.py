"""Fewer candidates, then fewer epochs: as much as there is time for, and what is asked for by name stays."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tlzoo.errors import UserError
from tlzoo.machine import children
from tlzoo.model.checkpoint import Loaded
from tlzoo.transfer.finetune.budget import FILE, affordable, jobs, least, seconds, within
from tlzoo.transfer.finetune.experiment import plan
from tlzoo.transfer.finetune.finetune_request import Request
from tlzoo.transfer.finetune.recipes import RECIPES

ROW = replace(RECIPES[0], epochs=60, rates=(1e-3, 3e-3, 1e-2), poolings=("mean", "max"))
SPEC = {"class_path": "tlzoo.backbones.CGCNN", "init_args": {"dim": 8, "pooling": "mean"}}
START = Loaded(None, None, {"spec": {"backbone": SPEC}})


def durations(*, epoch=1.0, shape=None, further=1.0):
    """A training takes as many seconds as it has epochs; those of one shape can be one."""
    return SimpleNamespace(
        seconds=lambda tree: epoch * float(tree["trainer"]["max_epochs"]),
        shape=lambda _: shape,
        most=lambda _: 12,
        share=lambda _, networks: (1 + (networks - 1) * further) / networks,
    )


DURATIONS = durations()


def cost(row):
    return 2.0 * len(row.rates) * len(row.poolings) * row.epochs


def planner(request):
    return lambda row: plan(request, {"cgcnn-fe": START}, row, ["gap"])


def request_(folder, **changes):
    return Request(**{"source": "mine.csv", "run_dir": folder, "starts": ("cgcnn-fe",), "jobs": 1, **changes})


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


def test_trainings_at_a_time_and_as_one_take_less(tmp_path):
    asked, config = request_(tmp_path, seeds=3), tmp_path / "cpu.yaml"
    config.write_text("trainer: {accelerator: cpu}")
    found = seconds(planner(asked)(ROW), durations(shape="one", further=0.25), asked)
    # 12 as one cost as much as 3.75, then 4 as one as much as 1.75
    assert sum(found.values()) == pytest.approx(60 * (3.75 + 1.75))
    assert found["transfer"] == pytest.approx(found["scratch"])
    several = replace(asked, jobs=5, configs=(config,))
    # 12 by five, three times; then 4 at a time
    wanted = 3 + 1 if children.FORKS else 16
    assert sum(seconds(planner(several)(ROW), DURATIONS, several).values()) == pytest.approx(60 * wanted)


def test_on_an_accelerator_and_with_several_processes_each_there_is_one_at_a_time(tmp_path):
    config = tmp_path / "two.yaml"
    config.write_text("trainer: {devices: 2, accelerator: cpu}")
    asked = request_(tmp_path, jobs=4, configs=(config,))
    assert jobs(asked, planner(asked)(ROW)) == 1


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
    slower = durations(epoch=10.0)
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


def test_jobs_do_not_move_directories():
    assert Request(source="x.csv").run_dir == Request(source="x.csv", jobs=3).run_dir
    assert "jobs" not in Request(source="x.csv", jobs=3).facts()
    with pytest.raises(UserError, match=r"^jobs must be at least 1, got 0$"):
        Request(source="x.csv", jobs=0)


def test_minutes_do_not_move_directories():
    """Where a comparison without them is follows from the same facts as before there were any."""
    plain, limited = (Request(source="x.csv", minutes=minutes) for minutes in (None, 5))
    assert plain.run_dir != limited.run_dir
    assert plain.run_dir.parent == limited.run_dir.parent == Path("runs")
