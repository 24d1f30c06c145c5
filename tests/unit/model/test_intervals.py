"""Intervals of what a network predicts hold as many crystals as they say, whatever the head says."""

import numpy as np
import pytest
import torch

from tlzoo.errors import UserError
from tlzoo.heads import Classification, Gaussian, MultiProperty, Quantile, Regression
from tlzoo.model import intervals


def fitted(head, labels):
    head.bind(4)
    head.fit(torch.tensor(labels, dtype=torch.float32).reshape(len(labels), -1))
    return head


def columns(rng, crystals):
    """Labels, and what is said of them: errors are skewed, and grow with the deviation that is stated."""
    truth = rng.lognormal(1.0, 0.6, crystals)
    std = rng.uniform(0.1, 1.0, crystals)
    value = np.abs(truth + std * (rng.exponential(1.0, crystals) - 1)) + 1e-3
    return {
        "target": truth,
        "prediction": value,
        "std": std,
        "q5": value - 0.3 * std,
        "q95": value + 0.3 * std,
    }


HEADS = {
    "absolute": (Regression, {}),
    "factor": (Regression, {"transform": "log10"}),
    "std": (Gaussian, {}),
    "quantiles": (Quantile, {}),
}


@pytest.mark.parametrize("kind", HEADS)
def test_intervals_hold_what_they_promise_of_crystals_they_have_not_seen(kind):
    rng = np.random.default_rng(0)
    made, given = HEADS[kind]
    head = fitted(made(**given), [1.0, 2.0, 3.0])
    held, crystals = 0, 0
    for _ in range(200):
        found = intervals.measured(head, {"gap": columns(rng, 29)}, "left out")
        assert found["gap"].kind == kind
        assert found["gap"].crystals == 29
        inside, known = intervals.held(found, head, {"gap": columns(rng, 40)})["gap"]
        held, crystals = held + inside, crystals + known
    # 27 of 30 crystals, exactly; the spread over 200 calibrations is half a per cent
    assert held / crystals == pytest.approx(27 / 30, abs=0.015)


def test_what_is_not_known_counts_for_nothing():
    head = fitted(MultiProperty(targets=["gap", "k"]), [[1.0, 2.0], [2.0, 4.0]])
    truth = np.array([1.0, np.nan, 3.0])
    said = {
        "gap": {"target": truth, "prediction": np.array([1.5, 9.0, 2.0])},
        "k": {"target": np.full(3, np.nan), "prediction": np.zeros(3)},
    }
    found = intervals.measured(head, said, "left out")
    assert {name: (one.crystals, one.widths["0.9"]) for name, one in found.items()} == {"gap": (2, 1.0)}
    assert intervals.held(found, head, said) == {"gap": (2, 2)}


def test_ends_of_several_properties_stand_behind_their_own():
    head = fitted(MultiProperty(targets=["gap", "k"], minimum={"gap": 0.0}), [[1.0, 2.0], [2.0, 4.0]])
    said = {
        name: {"target": np.zeros(20), "prediction": np.full(20, width)}
        for name, width in (("gap", 1.0), ("k", 3.0))
    }
    found = intervals.measured(head, said, "left out")
    ends = intervals.widened(found, head, ["gap", "k"], torch.tensor([[0.5, 10.0]]))
    # no gap is below 0
    assert {name: [float(end) for end in pair] for name, pair in ends.items()} == {
        "gap": [0.0, 1.5],
        "k": [7.0, 13.0],
    }


def test_an_interval_holds_its_prediction():
    """Quantiles that were too wide are drawn together, but not beyond the median."""
    head = fitted(Quantile(), [1.0, 2.0, 3.0])
    value = np.full(30, 2.0)
    said = {"gap": {"target": value, "prediction": value, "q5": value - 5, "q95": value + 0.1}}
    found = intervals.measured(head, said, "left out")
    assert found["gap"].widths["0.9"] == pytest.approx(-0.1)
    (low, high) = intervals.widened(found, head, ["gap"], torch.tensor([[2.0, 1.98, 2.02]]))["gap"]
    assert (float(low), float(high)) == (2.0, 2.0)


def test_classes_have_no_intervals():
    head = Classification()
    assert intervals.measured(head.bind(4), {"metal": columns(np.random.default_rng(0), 9)}, "out") == {}


SOUND = {
    "kind": "absolute",
    "widths": {"0.68": 0.1, "0.9": 0.2, "0.95": 0.3},
    "crystals": 30,
    "left_out": "some",
}


def wide(width, kind="absolute"):
    return {"gap": SOUND | {"kind": kind, "widths": SOUND["widths"] | {"0.9": width}}}


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"gap": {"kind": "wide"}}, r"gap: (crystals is missing|widths is missing|kind)"),
        ({"gap": SOUND | {"widths": {"0.5": 1.0}}}, r"gap lacks 0\.68"),
        (wide(float("nan")), "gap: widths.0.9 is nan, wanted a finite number"),
        (wide(float("inf")), "finite number"),
        (wide(-0.1), "gap: widths.0.9 is -0.1, wanted 0 to"),
        (wide("0.2"), "finite number"),
        (wide(39.0, "factor"), "is 39.0, wanted 0 to 38"),
        (wide(0.2, "std"), "gap is std, wanted absolute"),
        ({"volume": SOUND}, "volume is absolute, wanted those of gap"),
        ({"gap": SOUND | {"test": {"held": 3, "crystals": 2}}}, "held is 3, wanted at most crystals, 2"),
        ([SOUND], "wanted"),
        ({"gap": [1]}, "gap: "),
    ],
)
def test_a_card_with_something_else_is_refused(stated, said):
    head = fitted(Regression(), [1.0, 2.0])
    with pytest.raises(UserError, match=f"card of net is damaged: intervals: .*({said})"):
        intervals.read({"targets": ["gap"], "intervals": stated}, head, "net")


def test_what_a_card_states_is_read():
    head = fitted(Regression(), [1.0, 2.0])
    tested = {"gap": SOUND | {"test": {"held": 0, "crystals": 2}}}
    found = intervals.read({"targets": ["gap"], "intervals": tested}, head, "net")
    assert found["gap"].test.crystals == 2
    assert intervals.read({"targets": ["gap"]}, head, "net") == {}
