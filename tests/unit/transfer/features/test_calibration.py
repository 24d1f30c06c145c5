"""Intervals hold what they say, of crystals that nothing was fitted, chosen or calibrated on."""

import numpy as np
import pytest

from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.calibration import LEVELS, coverage, widths
from tlzoo.transfer.features.estimators import mixture
from tlzoo.transfer.features.nested import Candidate, Outcome, candidates


def outcome(predictions, deviations):
    repeats = [[Candidate("net", "a")]] * len(predictions)
    return Outcome(predictions, deviations, np.zeros(predictions.shape, dtype=int), repeats)


def test_widths_by_hand():
    # errors of 1 to 99 deviations: of 99 crystals the 90th is needed for 90 %, the 95th for 95 %
    truth = np.random.default_rng(0).normal(size=99)
    errors = np.random.default_rng(1).permutation(np.arange(1.0, 100.0))
    deviations = np.full((1, 99), 0.25)
    found = widths(
        outcome(truth[None] + deviations * errors * np.where(errors % 2, 1, -1), deviations), truth
    )
    assert found == pytest.approx({"0.68": 68, "0.9": 90, "0.95": 95})


def test_few_crystals_give_the_largest_error():
    found = widths(outcome(np.array([[1.0, 2.0, 3.0]]), np.ones((1, 3))), np.zeros(3))
    assert found == {"0.68": 3, "0.9": 3, "0.95": 3}


def test_repeats_count_together():
    truth = np.zeros(40)
    errors = np.abs(np.random.default_rng(0).normal(size=(3, 40)))
    found = widths(outcome(errors, np.ones((3, 40))), truth)
    assert (errors <= found["0.9"]).mean() == pytest.approx(np.ceil(41 * 0.9) / 40, abs=0.01)


def test_a_mixture_is_wider_than_its_parts():
    mean, deviation = mixture(np.array([[1.0], [3.0]]), np.array([[1.0], [1.0]]))
    assert (mean[0], deviation[0]) == pytest.approx((2, np.sqrt(2)))


def test_heavy_tails_are_covered():
    """A regression that takes noise for normal states intervals that are too wide for most."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(240, 3))
    y = x @ [1.0, -2.0, 0.5] + draw.standard_t(2, size=240) * np.exp(x[:, 0])
    kind = estimators.find("bayesian-ridge")
    features = {("net", "a"): x, ("other", "a"): x[:, :2]}
    asked = {"cv": "5-fold", "repeats": 1, "seed": 0}
    found = coverage(features, y, np.arange(240) // 2, kind, candidates(features, kind), **asked)
    assert set(found) == {"calibrated", "as stated"}
    for level in LEVELS:
        spread = 3 * np.sqrt(float(level) * (1 - float(level)) / 240)
        assert found["calibrated"][level] == pytest.approx(float(level), abs=spread)
    assert found["calibrated"]["0.68"] < found["as stated"]["0.68"]
