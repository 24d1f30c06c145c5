"""What answers follows from errors on validation, and few crystals decide nothing."""

import numpy as np
import pytest

from tlzoo.transfer.finetune.decision import decide

RNG = np.random.default_rng(0)


def test_two_that_are_alike_answer_together():
    one, other = RNG.normal(size=(2, 40))
    found = decide(one, other)
    assert found.answers == "both"
    assert found.record.parts == found.weights
    assert sum(found.weights.values()) == 1
    assert found.errors == pytest.approx(
        {
            "network": np.abs(one).mean(),
            "frozen": np.abs(other).mean(),
            "both": np.abs(one + other).mean() / 2,
        }
    )
    assert found.crystals == 40


@pytest.mark.parametrize(("network", "frozen", "answers"), [(0.1, 3, "network"), (3, 0.1, "frozen")])
def test_what_is_clearly_better_answers_alone(network, frozen, answers):
    one, other = RNG.normal(size=(2, 40))
    found = decide(network * one, frozen * other)
    assert found.answers == answers
    assert found.record.parts == {answers: 1.0}


def test_what_is_better_by_chance_answers_together_with_the_other():
    """Ahead by 0.1 on nine crystals, behind by 1.8 on one: the mean is worse, but by less than is certain."""
    network, frozen = np.full(10, 1.0), np.full(10, 1.4)
    network[0], frozen[0] = 2.0, 0.2
    found = decide(network, frozen)
    assert found.errors["network"] < found.errors["both"]
    assert found.answers == "both"


def test_one_crystal_decides_nothing():
    found = decide(np.array([0.1]), np.array([9.0]))
    assert found.answers == "both"
    # as if there were five more on which both err alike
    assert found.weights == {"network": 0.58, "frozen": 0.42}


def test_the_weights_are_inverse_to_the_squares_of_the_errors():
    signs = np.where(np.arange(1000) % 2, 1.0, -1.0)
    found = decide(2 * signs, np.roll(signs, 1))
    assert found.weights == {"network": 0.2, "frozen": 0.8}
    assert found.both(np.array([1.0]), np.array([2.0])) == pytest.approx([1.8])


def test_errors_of_zero_count_the_same():
    assert decide(np.zeros(3), np.zeros(3)).weights == {"network": 0.5, "frozen": 0.5}


def test_without_a_head_the_network_answers():
    found = decide(np.arange(1.0, 11.0))
    assert found.answers == "network"
    assert found.record.half_widths == {"0.68": 8.0, "0.9": 10.0, "0.95": 10.0}
    assert found.record.crystals == 10


def test_intervals_of_the_head_rest_on_all_that_were_left_out():
    left_out = RNG.normal(size=100)
    found = decide(RNG.normal(size=8) * 9, RNG.normal(size=8) * 0.1, left_out)
    assert found.answers == "frozen"
    assert found.record.crystals == 100
    assert found.record.half_widths["0.9"] == np.sort(np.abs(left_out))[90]
    assert found.calibrated == {"network": 8, "frozen": 100, "both": 8}
