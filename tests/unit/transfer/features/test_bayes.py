"""Bayesian ridge regression against scikit-learn's, which computes the same another way."""

import numpy as np
import pytest
from sklearn.linear_model import BayesianRidge as Other

from tlzoo.transfer.features.bayes import BayesianRidge


def problem(crystals, features, noise=0.3):
    generator = np.random.default_rng(crystals)
    x = generator.normal(size=(crystals, features)) * generator.uniform(0.5, 2, features)
    y = x @ generator.normal(size=features) / np.sqrt(features) + noise * generator.normal(size=crystals) + 3
    return x, y, generator.normal(size=(7, features))


@pytest.mark.parametrize(("crystals", "features"), [(44, 290), (20, 19), (200, 10)])
def test_as_scikit_learn(crystals, features):
    x, y, new = problem(crystals, features)
    ours = BayesianRidge().fit(x, y).predict(new, return_std=True)
    other = Other(max_iter=20_000, tol=1e-10).fit(x, y)
    for found, wanted in zip(ours, other.predict(new, return_std=True), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_far_from_all_crystals_it_is_less_sure():
    x, y, new = problem(40, 5)
    model = BayesianRidge().fit(x, y)
    near, far = (model.predict(scale * new, return_std=True)[1] for scale in (1, 100))
    assert (far > 5 * near).all()


def test_features_that_say_nothing_predict_the_mean():
    y = np.array([1.0, 2.0, 6.0])
    model = BayesianRidge().fit(np.zeros((3, 4)), y)
    np.testing.assert_allclose(model.predict(np.ones((2, 4))), [3, 3])


def test_a_perfect_fit_does_not_diverge():
    x = np.random.default_rng(0).normal(size=(10, 3))
    model = BayesianRidge().fit(x, x[:, 0])
    np.testing.assert_allclose(model.predict(x), x[:, 0], atol=1e-3)
