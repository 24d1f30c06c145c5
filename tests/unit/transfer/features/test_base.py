"""What is learned instead of a property, and which of it."""

import numpy as np
import pytest

from tlzoo.transfer.features.base import ITSELF, Way, best, ways
from tlzoo.transfer.features.estimators import find

DRAW = np.random.default_rng(0)
Y = np.exp(DRAW.normal(size=50) * 2)
NEAR = {"near": 2 * Y * np.exp(0.1 * DRAW.normal(size=50)), "other": DRAW.uniform(1, 2, size=50)}


@pytest.mark.parametrize("way", ways(Y, NEAR, logarithm=True), ids=lambda way: way.name)
def test_what_is_learned_says_the_property(way):
    np.testing.assert_allclose(way.property(way.learned(Y, NEAR), NEAR), Y)
    # of first order
    z = way.learned(Y, NEAR)
    moved = way.property(z + 1e-6, NEAR) - Y
    np.testing.assert_allclose(way.deviation(np.full(50, 1e-6), Y), moved, rtol=1e-4)


def test_which_there_are():
    def named(*arguments, **options):
        return [way.name for way in ways(*arguments, **options)]

    assert named(Y, {}, logarithm=False) == ["itself"]
    assert named(Y, NEAR, logarithm=True) == ["itself", "logarithm", "difference", "ratio"]
    assert {way.base for way in ways(Y, NEAR, logarithm=False)} == {"", "near"}
    # nothing has a logarithm, or it says nothing new
    assert named(Y - 1, NEAR, logarithm=True) == ["itself", "difference"]
    assert named(1 + Y / Y.max(), {}, logarithm=True) == ["itself"]
    assert named(Y, {"near": -NEAR["near"]}, logarithm=False) == ["itself", "difference"]
    assert named(Y, {"same": np.ones(50)}, logarithm=False) == ["itself"]


def test_the_factor_leaves_the_least_squares():
    _, way = ways(3 * NEAR["other"] - 7, NEAR, logarithm=False)
    assert way == Way("difference", "other", pytest.approx(3))
    np.testing.assert_allclose(way.learned(3 * NEAR["other"] - 7, NEAR), -7)


def test_a_base_that_was_not_there_to_learn_from_counts_as_the_least():
    way = ways(Y, NEAR, logarithm=False)[-1]
    found = way.property(np.zeros(2), {"near": np.array([-1.0, 1e6])})
    np.testing.assert_allclose(found, [NEAR["near"].min(), 1e6])


def test_the_least_error_is_chosen_and_of_nearly_equal_the_mean():
    y = np.zeros(4)
    one, other, third = ITSELF, Way("logarithm"), Way("difference", "b")
    assert best(y, {one: y + 2, other: y + 1}) == (other,)
    assert best(y, {one: y + 1, other: y - 1, third: y + 0.5}) == (one, other)
    assert best(y, {one: y + 1.02, other: y + 1}) == (one, other)
    assert best(y, {one: y + 1.1, other: y + 1}) == (other,)


@pytest.mark.parametrize("name", ["kernel-ridge", "kernel", "bayesian-ridge"])
def test_a_base_is_taken_where_it_helps(name):
    """What is left of the property is smooth in the features; the property is not."""
    draw = np.random.default_rng(3)
    x = draw.normal(size=(120, 3))
    rough = np.exp(draw.normal(size=120))
    y = rough * np.exp(0.3 * x[:, 0] + 0.02 * draw.normal(size=120))
    train, left = np.arange(60), np.arange(60, 120)

    def error(bases):
        model = find(name).fit(
            x[train], y[train], {}, 0, bases={key: values[train] for key, values in bases.items()}
        )
        found = model.predict(x[left], {key: values[left] for key, values in bases.items()})
        return model, np.abs(found - y[left]).mean()

    alone, without = error({})
    model, found = error({"cheap": rough, "noise": draw.normal(size=120)})
    assert alone.bases == []
    assert {way.base for way, _ in model.parts} <= {"cheap", ""}
    assert "ratio" in {way.name for way, _ in model.parts}
    assert found < 0.3 * without
    # of no use: what is predicted hardly depends on it
    _, useless = error({"noise": draw.uniform(1, 2, size=120)})
    assert useless < 1.3 * without


def test_heavy_tails_are_learned_as_logarithms():
    draw = np.random.default_rng(1)
    x = draw.normal(size=(150, 2))
    y = np.exp(2 * x[:, 0] + 0.3 * draw.normal(size=150))
    model = find("kernel").fit(x[:100], y[:100], {}, 0)
    assert Way("logarithm") in [way for way, _ in model.parts]
    _, deviation = model.told(x[100:])
    # wide where errors are large
    assert np.corrcoef(np.log(y[100:]), np.log(deviation))[0, 1] > 0.5
