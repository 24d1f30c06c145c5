"""The command that a recommendation ends with does what was found, in the time there is."""

from dataclasses import replace

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.transfer.features.saved import LEARNED
from tlzoo.transfer.finetune.recipes import RECIPES
from tlzoo.transfer.recommend.costs import FITS, Cost, together
from tlzoo.transfer.recommend.recommendation import Report
from tlzoo.transfer.recommend.scores import Score

SAVED = " --save gap-kernel" if "kernel" in LEARNED else ""
NOISE = np.random.default_rng(0).uniform(0.9, 1.1, size=(1, 50))


def score(name, mae, **changes):
    facts = {
        "logme": None,
        "unseen": 0,
        "estimator": "kernel",
        "layer": "embedding",
        "pace": 0.01,
        "fit": 0.1,
    }
    return Score(name, mae * NOISE, **{**facts, **changes})


LARGE, SMALL = score("alignn-fe", 1.0), score("cgcnn-fe", 1.5)
SHALLOW = score("descriptors", 2.0, estimator="forest", layer="composition")
COSTS = {"alignn-fe": Cost("alignn", 4000, 4000, 0.1), "cgcnn-fe": Cost("cgcnn", 200, 200, 0.2)}


@pytest.fixture
def report():
    facts = {"source": "mine.csv", "target": "gap", "unit": "eV", "crystals": 50, "part": "all"}
    return Report(
        **facts, scores=[LARGE, SMALL, SHALLOW], baselines=[], recipe=RECIPES[0], costs=COSTS, labelled=100
    )


def test_what_is_first_is_fine_tuned_and_read_off_in_less_time(report):
    tuned, frozen = report.proposals
    assert tuned.command == "tlzoo finetune mine.csv --target gap --from alignn-fe --strategy all"
    assert tuned.seconds == 8000
    assert frozen.command == (
        "tlzoo features mine.csv --target gap --from alignn-fe --layer embedding --estimator kernel "
        f"--cv 10-fold -o gap-kernel{SAVED}"
    )
    # of twice as many crystals
    assert frozen.seconds == pytest.approx(100 * 0.01 + FITS * 0.1 * 4)
    lines = report.text().splitlines()
    assert lines[-2:] == [
        f"Try: {tuned.command}  # about 2.2 hours",
        f"Or: {frozen.command}  # less than a minute",
    ]
    assert lines[2].split()[-2:] == ["100", "134"]


def test_descriptors_win_where_they_are_best(report):
    best = replace(report, scores=[replace(SHALLOW, errors=0.5 * NOISE), LARGE], options=["--unit", "eV"])
    first, second = best.proposals
    assert first.command.startswith(
        "tlzoo features mine.csv --target gap --unit eV --from descriptors --layer composition "
        "--estimator forest"
    )
    assert "--from alignn-fe --strategy" in second.command
    assert not best.warnings


def test_what_fits_is_proposed(report):
    # the least of ALIGNN takes 800 seconds
    assert replace(report, minutes=14).command.endswith("--from alignn-fe --strategy all --minutes 14")
    frozen, tuned = replace(report, minutes=13).proposals
    assert "--from alignn-fe --layer embedding" in frozen.command
    assert tuned.command.endswith("--from cgcnn-fe --strategy all")
    assert tuned.seconds == 400
    _, tuned = replace(report, minutes=2).proposals
    assert tuned.command.endswith("--from cgcnn-fe --strategy all --minutes 2")
    (frozen,) = replace(report, minutes=1).proposals
    assert "tlzoo features" in frozen.command
    slow = [replace(each, pace=10.0) for each in report.scores]
    with pytest.raises(UserError, match=r"too few: the quickest of all, .* takes about 17 min"):
        _ = replace(report, minutes=5, scores=slow, costs={}).proposals


def test_models_that_cannot_be_told_apart_start_together_if_there_is_time(report):
    twin, third = replace(LARGE, name="alignn-bg"), replace(SMALL, errors=1.001 * NOISE)
    costs = {**COSTS, "alignn-bg": COSTS["alignn-fe"]}
    level = replace(report, scores=[LARGE, twin, third], costs=costs)
    assert "--from alignn-fe,alignn-bg --strategy" in level.command
    # of equal networks one is trained from scratch
    assert level.proposals[0].seconds == together([costs["alignn-fe"], costs["alignn-bg"]]) == 12000
    assert "--from alignn-fe --strategy all --minutes 19" in replace(level, minutes=19).command


def test_a_kept_head_has_its_own_time(report):
    knowing = replace(SMALL, answers={"band_gap": 0.1})
    kept = replace(report, scores=[LARGE, knowing, SHALLOW])
    assert "--from cgcnn-fe --head band_gap --strategy all" in kept.command
    assert kept.proposals[0].seconds == 400


def test_without_estimates_there_is_no_limit_to_keep(report):
    unknown = replace(report, costs={})
    assert unknown.proposals[0].seconds is None
    assert unknown.command.endswith("--from alignn-fe --strategy all")
    assert "tlzoo features" in replace(unknown, minutes=60).command


def test_what_is_not_installed_is_listed(report):
    needed = "pip install 'tlzoo[chgnet]'"
    listed = replace(report, absent={"chgnet": needed})
    assert "chgnet is not here: pip install 'tlzoo[chgnet]'" in listed.text().splitlines()
    assert listed.content()["absent"] == {"chgnet": needed}
