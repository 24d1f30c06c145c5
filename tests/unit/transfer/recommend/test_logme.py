"""LogME against a search over both precisions of the normal density it is the logarithm of."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from tlzoo.transfer.recommend.logme import logme


def case(seed: int, crystals: int, dim: int, noise: float):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(crystals, dim)) * generator.uniform(0.1, 10, dim) + 3
    target = features @ generator.normal(size=dim) / dim + noise * generator.normal(size=crystals) - 7
    return features, target


def centred(features, target):
    """In coordinates of the plane of vectors that sum to zero, at unit standard deviation."""
    plane = np.linalg.svd(np.ones((1, len(target))))[2][1:]
    return plane @ (features / features.std(0)), plane @ (target / target.std(ddof=1))


def brute_force(features, target):
    """Maximise the density of the labels, with the weights integrated out, over α and β."""
    x, y = centred(features, target)

    def density(log_precisions):
        alpha, beta = np.exp(np.clip(log_precisions, -20, 20))
        covariance = np.eye(len(y)) / beta + x @ x.T / alpha
        return -multivariate_normal(np.zeros(len(y)), covariance).logpdf(y) / len(y)

    starts = [(a, b) for a in (-2.0, 3.0) for b in (-1.0, 3.0)]
    options = {"xatol": 1e-5, "fatol": 1e-9}
    found = [minimize(density, start, method="Nelder-Mead", options=options) for start in starts]
    return -min(result.fun for result in found)


@pytest.mark.parametrize(
    ("crystals", "dim", "noise"),
    [(30, 4, 0.5), (12, 20, 0.05), (25, 8, 5.0)],
    ids=["many", "few", "noisy"],
)
def test_it_is_the_largest_evidence(crystals, dim, noise):
    features, target = case(1, crystals, dim, noise)
    assert logme(features, target) == pytest.approx(brute_force(features, target), abs=1e-6)


def test_the_formula_of_the_paper_gives_the_same():
    """Eq. 2 of You et al. at the precisions their own iteration ends with."""
    features, target = case(2, 40, 5, 1.0)
    x, y = centred(features, target)
    (n, d), alpha, beta = x.shape, 1.0, 1.0
    for _ in range(500):
        a = alpha * np.eye(d) + beta * x.T @ x
        m = beta * np.linalg.solve(a, x.T @ y)
        gamma = d - alpha * np.trace(np.linalg.inv(a))
        residual = np.square(x @ m - y).sum()
        alpha, beta = gamma / (m @ m), (n - gamma) / residual
    log_evidence = (
        n / 2 * np.log(beta) + d / 2 * np.log(alpha) - n / 2 * np.log(2 * np.pi)
        - beta / 2 * residual - alpha / 2 * m @ m - np.linalg.slogdet(a)[1] / 2
    )  # fmt: skip
    assert logme(features, target) == pytest.approx(log_evidence / n, abs=1e-7)


def test_units_and_offsets_do_not_matter():
    features, target = case(3, 30, 6, 1.0)
    assert logme(features * 100 - 5, target * 1e-3 + 2) == pytest.approx(logme(features, target), abs=1e-9)


def test_features_that_say_more_score_higher():
    features, target = case(4, 60, 4, 0.3)
    shuffled = np.random.default_rng(0).permutation(features)
    assert logme(features, target) > logme(shuffled, target) + 0.5


def test_nothing_to_learn_is_the_density_of_noise():
    _, target = case(5, 30, 2, 1.0)
    noise = -(np.log(2 * np.pi) + 1) / 2
    assert logme(np.ones((30, 3)), target) == pytest.approx(noise)
    useless = np.random.default_rng(0).normal(size=(30, 3))
    assert logme(useless, np.tile([1.0, -1.0], 15)) >= noise - 1e-6


def test_constant_and_repeated_features_change_nothing_but_rounding():
    features, target = case(6, 30, 4, 1.0)
    padded = np.concatenate([features, np.full((30, 2), 0.1)], axis=1)
    assert logme(padded, target) == pytest.approx(logme(features, target), abs=1e-9)


def test_an_exact_fit_is_finite():
    features, _ = case(7, 10, 20, 1.0)
    assert np.isfinite(logme(features, features[:, 0]))


def test_labels_must_vary():
    with pytest.raises(ValueError, match="at least two different labels, got"):
        logme(np.eye(5), np.ones(5))
