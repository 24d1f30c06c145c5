"""Regressions: they learn, repeat, and do not explode where features hardly varied."""

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.transfer.features.estimators import ESTIMATORS, FARTHEST, Scale, find, predict


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 6)) * [1, 10, 0.1, 1, 1, 1] + [0, 100, 0, 0, 0, 0]
    return x, x[:, 0] + 0.1 * x[:, 1] - 10 + 0.1 * generator.normal(size=60)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_all_learn_and_repeat(name, problem, monkeypatch):
    monkeypatch.setattr("tlzoo.transfer.features.estimators.TREES", 60)
    x, y = problem
    estimator = find(name)
    assert len(estimator.grid) >= 1
    for settings in estimator.grid:
        one, again = (predict(estimator.fit(x[:45], y[:45], settings, 3), x[45:]) for _ in range(2))
        np.testing.assert_array_equal(one[0], again[0])
        error = np.abs(one[0] - y[45:]).mean()
        assert error < 0.6 * np.abs(y[45:] - y[:45].mean()).mean(), settings
        assert (one[1] > 0).all() == (name not in {"forest", "boosting"})


def test_unknown_names_list_the_known():
    with pytest.raises(
        UserError, match="there is no estimator 'svm'; there are: bayesian-ridge, ridge, kernel-ridge, svr, "
    ):
        find("svm")


class TestScale:
    def test_mean_0_and_deviation_1(self, problem):
        x, _ = problem
        scaled = Scale().fit(x).transform(x)
        np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(scaled.std(axis=0), 1)

    def test_a_feature_that_hardly_varied_does_not_explode(self):
        """As the radial distribution where no training crystal has an atom, or one hardly has."""
        x = np.zeros((20, 3))
        x[:, 1] = 1e3 + 1e-7 * np.arange(20)
        x[0, 2] = 1e-9
        scaled = Scale().fit(x).transform(np.array([[1.0, 2e3, 1.0]]))
        assert scaled.tolist() == [[0, 0, FARTHEST]]

    def test_nothing_is_farther_than_the_bound(self):
        x = np.random.default_rng(0).normal(size=(50, 1))
        assert Scale().fit(x).transform(np.array([[1e6], [-1e6]]))[:, 0].tolist() == [FARTHEST, -FARTHEST]
