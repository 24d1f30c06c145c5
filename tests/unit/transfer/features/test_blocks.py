"""Sources side by side count as much as they say of the property."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from tlzoo.transfer.features import blocks
from tlzoo.transfer.features.estimators import find

SIZES = [2, 30]


@pytest.fixture(scope="module")
def crystals():
    """Two features that the property follows from, and thirty that it does not."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(220, sum(SIZES)))
    return x, np.sin(x[:, 0]) + 0.5 * x[:, 1] + 0.05 * draw.normal(size=len(x))


def test_a_source_that_says_nothing_hardly_counts(crystals):
    x, y = crystals
    factor = np.square(blocks.weights(x[:120], SIZES, y[:120])) * np.repeat(SIZES, SIZES)
    assert factor[0] == pytest.approx(factor[1])
    assert factor[0] > 100 * factor[2]


def test_the_weights_are_those_of_the_largest_likelihood(crystals):
    """Of scikit-learn's Gaussian process, which looks for the same with a mean of zero and no prior."""
    x, y = crystals[0][:80, :2], crystals[1][:80]
    first = np.sqrt(2) * blocks.weights(x, [1, 1], y)
    kernel = ConstantKernel() * RBF([1.0, 1.0]) + WhiteKernel(0.1)
    theirs = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(x, y)
    assert first == pytest.approx(1 / theirs.kernel_.k1.k2.length_scale, rel=0.2)


def test_one_source_counts_as_it_is(crystals):
    assert (blocks.weights(crystals[0], [sum(SIZES)], crystals[1]) == 1).all()


@pytest.mark.parametrize("name", ["kernel", "gp"])
def test_heads_learn_more_from_weighed_sources(crystals, name):
    x, y = crystals

    def error(sizes):
        model = find(name).fit(x[:100], y[:100], {}, 0, sizes=sizes)
        return np.abs(model.predict(x[100:]) - y[100:]).mean()

    assert error(SIZES) < 0.5 * error(())


def test_a_base_of_positive_values_is_a_logarithm_beside_the_features(crystals):
    x, _ = crystals
    draw = np.random.default_rng(1)
    base = np.exp(2 * draw.normal(size=len(x)))
    y = np.log(base) + 0.1 * x[:, 0]
    model = find("kernel").fit(x[:100], y[:100], {}, 0, bases={"b": base[:100]}, sizes=SIZES)
    (beside,) = model.beside
    assert beside.floor == base[:100].min()
    assert np.abs(model.predict(x[100:], {"b": base[100:]}) - y[100:]).mean() < 0.2
