"""Weights of models: they find the one that knows, and do not exceed their share."""

import numpy as np
import pytest

from tlzoo.transfer.features.kernels import parts
from tlzoo.transfer.features.stack import weights


@pytest.fixture
def truth():
    return np.random.default_rng(0).normal(size=80)


def test_the_least_absolute_error_against_a_search(truth):
    noise = np.random.default_rng(1).standard_t(3, size=(2, 80))
    models = truth + noise * [[0.3], [0.6]]
    found = weights(models, truth, parts(np.arange(80)))
    shares = np.linspace(0, 1, 1001)
    errors = [np.abs(share * models[0] + (1 - share) * models[1] - truth).mean() for share in shares]
    assert found.sum() == pytest.approx(1)
    assert np.abs(found @ models - truth).mean() == pytest.approx(min(errors), rel=1e-4)


def test_who_knows_nothing_counts_nothing(truth):
    draw = np.random.default_rng(2)
    models = np.stack([truth + 0.01 * draw.normal(size=80), draw.normal(size=80), -truth])
    assert weights(models, truth, parts(np.arange(80))) == pytest.approx([1, 0, 0], abs=0.02)


def test_equals_count_the_same(truth):
    """Weights that were found without a fold do not help in it: the mean remains."""
    same = truth + np.random.default_rng(3).normal(size=(6, 80))
    few = slice(12)
    found = weights(same[:, few], truth[few], parts(np.arange(12)))
    np.testing.assert_allclose(found, 1 / 6)
