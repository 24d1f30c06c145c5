"""The gain of one model over another and the interval around it."""

import numpy as np
import pytest

from tlzoo.evaluation.gain import Gain, gain


def lognormal(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(size=count)


def test_the_value_is_of_the_mean_errors():
    assert gain(np.array([1.0, 2.0]), np.array([4.0, 2.0])).value == pytest.approx(0.5)


def test_twice_the_error_everywhere_is_certain():
    reference = lognormal(0, 40)
    found = gain(2 * reference, reference)
    assert found.value == pytest.approx(-1)
    # paired: however the crystals are drawn, the ratio is the same
    assert (found.low, found.high) == pytest.approx((-1, -1))
    assert found.certain


def test_the_interval_covers_as_often_as_it_says():
    """Over 300 test sets of 60 crystals the true gain of 0.2 is inside 95 % of the intervals."""
    generator = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        reference = generator.gamma(2.0, size=60)
        found = gain(reference * generator.uniform(0.3, 1.3, 60), reference, resamples=400)
        inside += found.low < 0.2 < found.high
    assert 0.9 <= inside / 300 <= 0.98


def test_the_level_and_the_number_of_draws_matter():
    errors, reference = lognormal(1, 30), lognormal(2, 30)
    wide, narrow = (gain(errors, reference, level=level) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high
    few = [gain(errors, reference, resamples=200, seed=seed).low for seed in range(2)]
    assert few[0] != few[1]
    assert gain(errors, reference, resamples=1300) == gain(errors, reference, resamples=1300)


def test_so_few_crystals_have_no_interval():
    """However much better a model is: a draw of one crystal is always that crystal."""
    for count in range(1, 5):
        found = gain(np.linspace(1, 2, count), np.linspace(2, 5, count))
        assert found.value >= 0.5
        assert np.isnan([found.low, found.high]).all()
        assert not found.certain
    found = gain(np.linspace(1, 2, 5), np.linspace(2, 5, 5))
    assert 0 < found.low < found.value < found.high


def test_an_exact_reference_has_no_gain():
    found = gain(np.array([1.0, 2.0]), np.zeros(2))
    assert np.isnan([found.value, found.low, found.high]).all()
    assert not found.certain


def test_draws_without_an_error_of_the_reference_count():
    """Of 20 crystals the reference gets two wrong, the model one of them: some draws hold neither."""
    reference, errors = np.zeros(20), np.zeros(20)
    reference[:2] = errors[0] = 1
    found = gain(errors, reference)
    assert found.value == 0.5
    assert found.low <= 0 < found.high <= 1, "nothing is gained in draws where nobody errs"
    errors[5] = 1
    assert np.isnan(gain(errors, reference).low), "and without limit lost where only the model errs"


def test_an_interval_with_zero_is_uncertain():
    assert not Gain(0.1, -0.1, 0.3).certain
    assert Gain(0.1, 0.01, 0.3).certain
    assert Gain(-0.1, -0.3, -0.01).certain


@pytest.mark.parametrize("count", [0, 3])
def test_the_errors_are_of_the_same_crystals(count):
    with pytest.raises(ValueError, match="the errors of the same crystals"):
        gain(np.ones(count), np.ones(count)[:2])
