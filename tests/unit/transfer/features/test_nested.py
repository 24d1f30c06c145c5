"""Nothing of a fold that is left out is known to what predicts it."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline

from tlzoo.transfer.features.bayes import BayesianRidge
from tlzoo.transfer.features.estimators import Estimator, Scale, find
from tlzoo.transfer.features.nested import INNER, Candidate, candidates, few, mean, nested

SIZE = 36


@pytest.fixture
def problem():
    """One layer that knows the answer, one that does not; each group has two crystals."""
    generator = np.random.default_rng(1)
    y = generator.normal(size=SIZE)
    good = np.stack([y + 0.1 * generator.normal(size=SIZE), generator.normal(size=SIZE)], axis=1)
    noise = generator.normal(size=(SIZE, 5))
    return {("net", "noise"): noise, ("net", "good"): good}, y, np.repeat(np.arange(SIZE // 2), 2)


def run(problem, estimator="ridge", cv="6-fold", **options):
    features, y, groups = problem
    found = find(estimator) if isinstance(estimator, str) else estimator
    choices = candidates(features, found)
    return nested(features, y, groups, found, choices, cv=cv, progress=False, **options)


def test_the_layer_that_knows_is_chosen(problem):
    outcome = run(problem)["net"]
    assert {c.layer for c in outcome.chosen[0]} == {"good"}
    assert np.abs(outcome.predictions[0] - problem[1]).mean() < 0.2


def test_without_a_choice_it_is_plain_cross_validation(problem):
    """Against scikit-learn's own loop."""
    features, y, groups = problem
    only = {("net", "noise"): features["net", "noise"]}
    outcome = run((only, y, groups), "bayesian-ridge", "leave-one-out")["net"]
    model = make_pipeline(Scale(), BayesianRidge())
    wanted = cross_val_predict(model, only["net", "noise"], y, groups=groups, cv=LeaveOneGroupOut())
    np.testing.assert_allclose(outcome.predictions[0], wanted)
    assert outcome.chosen == [[Candidate("net", "noise")] * (SIZE // 2)]
    assert np.isfinite(outcome.deviations).all()


def test_labels_that_are_left_out_do_not_matter(problem):
    """Changed beyond recognition, in one fold: its predictions and its choice stay, to the last bit."""
    features, y, groups = problem
    before = run(problem)["net"]
    left = before.folds[0] == 2
    changed = np.where(left, 1e3 * y[::-1], y)
    after = run((features, changed, groups))["net"]
    np.testing.assert_array_equal(after.folds, before.folds)
    np.testing.assert_array_equal(after.predictions[0, left], before.predictions[0, left])
    assert after.chosen[0][2] == before.chosen[0][2]
    assert (after.predictions[0, ~left] != before.predictions[0, ~left]).all()


def test_features_that_are_left_out_do_not_scale_the_others(problem):
    features, y, groups = problem
    before = run(problem)["net"]
    left = before.folds[0] == 2
    one, other = np.flatnonzero(left)[[0, 2]]
    changed = {name: values.copy() for name, values in features.items()}
    for values in changed.values():
        values[other] *= 1e3
    after = run((changed, y, groups))["net"]
    assert after.predictions[0, one] == before.predictions[0, one]
    assert after.predictions[0, other] != before.predictions[0, other]


class Spy(RegressorMixin, BaseEstimator):
    """Notes which crystals it is fitted to: the labels are their numbers."""

    fits: list

    def __init__(self, *_):
        pass

    def fit(self, _, y):
        Spy.fits.append(set(np.round(y).astype(int)))
        self.fitted_ = True
        return self

    def predict(self, x):
        return np.zeros(len(x))


def test_groups_are_whole_in_outer_and_inner_folds(problem):
    features, _, groups = problem
    Spy.fits = []
    spy = Estimator("spy", Spy)
    outcome = run((features, np.arange(SIZE, dtype=float), groups), spy, "6-fold")["net"]
    assert len(Spy.fits) == 6 * (2 * INNER + 1)  # two layers, inner folds, and the fit that predicts
    for fitted in Spy.fits:
        assert all((2 * g in fitted) == (2 * g + 1 in fitted) for g in range(SIZE // 2))
    for i, fold in enumerate(range(6)):
        left = set(np.flatnonzero(outcome.folds[0] == fold).tolist())
        for fitted in Spy.fits[(2 * INNER + 1) * i : (2 * INNER + 1) * (i + 1)]:
            assert not fitted & left


def test_settings_are_chosen_too(problem):
    features, y, groups = problem
    seen = []

    def make(crystals, size, seed, bias):
        seen.append(bias)

        class Constant(BayesianRidge):
            def predict(self, x, *, return_std=False):
                shifted = super().predict(x) + bias
                return (shifted, np.ones(len(x))) if return_std else shifted

        return Constant()

    wrong = Estimator("wrong", make, [{"bias": 3.0}, {"bias": 0.0}])
    outcome = run((features, y, groups), wrong, "3-fold")["net"]
    assert set(seen) == {0.0, 3.0}
    assert {c.settings for c in outcome.chosen[0]} == {(("bias", 0.0),)}


def test_repeats_are_other_folds_and_the_seed_decides(problem):
    one, same, other = (run(problem, repeats=2, seed=seed)["net"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.predictions, same.predictions)
    assert (one.folds[0] != one.folds[1]).any()
    assert (one.folds != other.folds).any()
    assert one.predictions.shape == (2, SIZE)


def test_sources_are_chosen_among(problem):
    features, y, groups = problem
    both = {("bad", "x"): features["net", "noise"], ("fine", "x"): features["net", "good"]}
    ridge = find("ridge")
    choices = candidates(both, ridge)
    choices["any"] = [*choices["bad"], *choices["fine"]]
    found = nested(both, y, groups, ridge, choices, cv="4-fold", progress=False)
    assert {c.source for c in found["any"].chosen[0]} == {"fine"}
    np.testing.assert_array_equal(found["any"].predictions, found["fine"].predictions)


def test_the_mean_of_models_is_a_mixture(problem):
    features, y, groups = problem
    outcomes = run((features, y, groups), "bayesian-ridge")
    other = run((features, -y, groups), "bayesian-ridge")
    one, two = outcomes["net"], other["net"]
    both = mean([one, two])
    np.testing.assert_allclose(both.predictions, (one.predictions + two.predictions) / 2)
    # variance of an equal mixture of two normal distributions
    within = (one.deviations**2 + two.deviations**2) / 2
    np.testing.assert_allclose(both.deviations**2, within + (one.predictions - two.predictions) ** 2 / 4)
    np.testing.assert_array_equal(both.folds, one.folds)


def test_fewer_crystals_are_among_the_more():
    groups = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 6])
    rows = np.arange(1, 10)
    drawn = [set(few(rows, groups, most, np.random.default_rng(3)).tolist()) for most in (3, 5, 8, 20)]
    assert [len(each) for each in drawn] == [3, 5, 8, 9]
    assert drawn[0] < drawn[1] < drawn[2] < drawn[3] == set(rows)
    # whole groups, but for the last
    cut = [
        g
        for g in range(7)
        if 0 < len(drawn[1] & set(np.flatnonzero(groups == g)) - {0}) < (groups[1:] == g).sum()
    ]
    assert len(cut) <= 1


def test_a_point_of_a_learning_curve(problem):
    """The same folds and, with as many crystals as there are, the same predictions."""
    whole = run(problem)["net"]
    outcomes = {most: run(problem, most=most)["net"] for most in (8, SIZE)}
    for outcome in outcomes.values():
        np.testing.assert_array_equal(outcome.folds, whole.folds)
    np.testing.assert_array_equal(outcomes[SIZE].predictions, whole.predictions)
    error = {most: np.abs(outcome.predictions[0] - problem[1]).mean() for most, outcome in outcomes.items()}
    assert error[8] > error[SIZE]
