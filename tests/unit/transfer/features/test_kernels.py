"""Closed forms say what refitting says, against scikit-learn; choices know no group that is left out."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge as Reference
from sklearn.svm import SVR

from tlzoo.errors import UserError
from tlzoo.transfer.features import kernels as module
from tlzoo.transfer.features.kernels import (
    LENGTHS,
    PENALTIES,
    Doubt,
    GaussianProcess,
    KernelMean,
    KernelRidge,
    Kernels,
    SupportVectors,
    parts,
)

SIZE = 60


@pytest.fixture
def problem():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(SIZE, 4))
    return x, np.sin(2 * x[:, 0]) + x[:, 1] + 5 + 0.05 * draw.normal(size=SIZE), np.arange(SIZE) // 2


def refitted(kernels, y, length, penalty):
    """Ridges with an intercept that is not penalised, one for each part, by bordered systems."""
    kernel, found = kernels.matrix(length), np.empty_like(y)
    for part in kernels.parts:
        train = np.setdiff1d(np.arange(len(y)), part)
        one = np.ones((len(train), 1))
        system = np.block([[kernel[np.ix_(train, train)] + penalty * np.eye(len(train)), one], [one.T, 0]])
        *dual, constant = np.linalg.solve(system, [*y[train], 0])
        found[part] = kernel[np.ix_(part, train)] @ dual + constant
    return found


@pytest.mark.parametrize(("length", "penalty"), [(0.5, 1e-4), (1.0, 0.03), (5.0, 3.0)])
def test_left_out_in_closed_form_is_left_out(problem, length, penalty):
    x, y, groups = problem
    kernels = Kernels(x, groups)
    np.testing.assert_allclose(
        kernels.left_out(length, penalty, y), refitted(kernels, y, length, penalty), atol=1e-8
    )


def test_a_ridge_is_scikit_learns(problem):
    x, y, _ = problem
    kernels = Kernels(x)
    model = KernelRidge().fit(x[:40], y[:40])
    kernels = Kernels(x[:40])
    errors = {
        (length, penalty): np.abs(kernels.left_out(length, penalty, y[:40]) - y[:40]).mean()
        for length in LENGTHS
        for penalty in PENALTIES
    }
    length, penalty = min(errors, key=errors.__getitem__)
    assert model.length_ == pytest.approx(length * np.sqrt(x[:40].var(axis=0).sum()))
    reference = Reference(alpha=penalty, kernel="rbf", gamma=1 / (2 * model.length_[0] ** 2))
    reference.fit(x[:40], y[:40] - model.intercept_)
    np.testing.assert_allclose(model.predict(x[40:]), reference.predict(x[40:]) + model.intercept_, atol=1e-8)
    # shifted labels are predicted shifted: the intercept costs nothing
    shifted = KernelRidge().fit(x[:40], y[:40] + 1e3)
    np.testing.assert_allclose(shifted.predict(x[40:]), model.predict(x[40:]) + 1e3, atol=1e-6)


def test_support_vectors_are_scikit_learns(problem):
    x, y, _ = problem
    model = SupportVectors().fit(x[:40], y[:40])
    scale = y[:40].std()
    fits = [
        SVR(C=largest, epsilon=free, gamma=1 / (2 * model.length_[0] ** 2)).fit(x[:40], y[:40] / scale)
        for largest in module.LARGEST
        for free in module.FREE
    ]
    off = [np.abs(model.predict(x[40:]) - scale * fit.predict(x[40:])).max() for fit in fits]
    assert min(off) < 0.02 * scale  # the solver stops at 1e-3


def test_a_process_has_the_most_evidence_of_scikit_learns(problem):
    """With a mean that is known the likelihood is scikit-learn's; the restricted one is hardly another."""
    x, y, _ = problem
    model = GaussianProcess().fit(x, y)
    spread = np.sqrt(x.var(axis=0).sum())
    found = {}
    for length in LENGTHS:
        for noise in PENALTIES:
            reference = GaussianProcessRegressor(
                RBF(length * spread) + WhiteKernel(noise), optimizer=None
            ).fit(x, y - y.mean())
            quadratic = (y - y.mean()) @ reference.alpha_
            decay = np.log(np.diag(reference.L_)).sum()
            found[length, noise] = -SIZE / 2 * np.log(quadratic) - decay
    best = max(found.values())
    chosen = min(LENGTHS, key=lambda length: abs(length * spread - model.length_[0]))
    assert max(found[chosen, noise] for noise in PENALTIES) > best - 1


def test_the_mean_is_the_mean(problem):
    x, y, groups = problem
    both = [kind().fit(x, y, groups) for kind in (KernelRidge, SupportVectors)]
    model = KernelMean().fit(x, y, groups)
    np.testing.assert_allclose(model.predict(x), np.mean([one.predict(x) for one in both], axis=0))
    np.testing.assert_array_equal(model.left_out_, np.mean([one.left_out_ for one in both], axis=0))


def test_support_vectors_left_out_do_not_know_their_group(problem):
    x, y, groups = problem
    kernels = Kernels(x, groups)
    part = kernels.parts[0]
    changed = y.copy()
    changed[part] = 1e3
    found = [
        module._left_out(kernels.matrix(1.0), kernels.parts, labels, 2.0, 0.05) for labels in (y, changed)
    ]
    np.testing.assert_array_equal(found[0][part], found[1][part])
    assert (np.delete(found[0], part) != np.delete(found[1], part)).all()


def test_groups_are_whole():
    groups = np.arange(SIZE) // 3
    found = parts(groups)
    assert sorted(np.concatenate(found).tolist()) == list(range(SIZE))
    assert sum(len(set(groups[part])) for part in found) == len(set(groups))
    # a single group cannot be left out
    assert len(parts(np.zeros(4))) == 4


@pytest.mark.parametrize("kind", [KernelRidge, SupportVectors, GaussianProcess, KernelMean])
def test_labels_and_features_without_variance(kind):
    model = kind().fit(np.zeros((5, 3)), np.full(5, 2.0))
    np.testing.assert_allclose(model.predict(np.ones((2, 3))), 2)
    np.testing.assert_allclose(model.left_out_, 2)


def test_doubt_is_that_of_the_neighbourhood():
    x = np.concatenate([np.zeros((20, 1)), np.full((20, 1), 10.0)]) + 1e-3 * np.arange(40)[:, None]
    doubt = Doubt.of(Kernels(x), np.repeat([1.0, 3.0], 20))
    near, far, nowhere = doubt.deviations(np.array([[0.0], [10.0], [1e6]])) / np.sqrt(np.pi / 2)
    # 20 crystals, and the mean of all as one more
    assert near == pytest.approx((20 * 1 + 2) / 21, rel=1e-3)
    assert far == pytest.approx((20 * 3 + 2) / 21, rel=1e-3)
    assert nowhere == pytest.approx(2)


def test_too_many_crystals(monkeypatch):
    monkeypatch.setattr(module, "MOST", 9)
    with pytest.raises(
        UserError, match="a kernel learn from 9 crystals at most, got 10; take bayesian-ridge"
    ):
        KernelRidge().fit(np.zeros((10, 2)), np.zeros(10))
