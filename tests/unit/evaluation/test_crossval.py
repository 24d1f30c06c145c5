"""Nobody is predicted by a model that has seen it, or its duplicate."""

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.evaluation.baselines import ridge
from tlzoo.evaluation.crossval import cross_validate, deal

CRYSTALS = 40
GROUPS = np.arange(CRYSTALS) // 2  # pairs
FEATURES = np.random.default_rng(0).normal(size=(CRYSTALS, 3))
TARGET = FEATURES @ np.array([1.0, -2.0, 0.5]) + 3


def test_each_crystal_is_predicted_once_a_repeat_and_never_beside_its_duplicate():
    calls = []

    def spy(features, target, train, rows):
        assert not set(GROUPS[train]) & set(GROUPS[rows])
        assert len(train) + len(rows) == CRYSTALS
        calls.append(rows)
        return np.zeros(len(rows))

    errors = cross_validate(spy, FEATURES, TARGET, GROUPS, folds=5, repeats=3)
    assert len(calls) == 15
    for repeat in range(3):
        predicted = np.concatenate(calls[5 * repeat : 5 * repeat + 5])
        assert sorted(predicted) == list(range(CRYSTALS))
    np.testing.assert_array_equal(errors, np.abs(np.tile(TARGET, (3, 1))))


def test_ridge_learns_and_sees_no_other_labels():
    errors = cross_validate(ridge, FEATURES, TARGET, GROUPS)
    assert errors.shape == (5, CRYSTALS)
    assert errors.mean() < 0.02
    wrong = TARGET.copy()
    wrong[GROUPS == 0] = 1e6

    def predictions(target):
        found = []
        cross_validate(lambda *given: found.append(ridge(*given)) or found[-1], FEATURES, target, GROUPS)
        return found

    def spoiled(one, other):
        return [not np.allclose(a, b) for a, b in zip(one, other, strict=True)]

    # a wrong label spoils the folds that fit it, and not the one in five that leaves it out
    assert sum(spoiled(predictions(TARGET), predictions(wrong))) == 20


def test_the_folds_follow_from_the_seed():
    one, same, other = (
        cross_validate(ridge, FEATURES, TARGET + np.sin(40 * TARGET), GROUPS, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert len(np.unique(one.mean(axis=1))) == 5, "each repeat draws anew"


def test_no_fold_is_empty():
    fold = deal(np.array([7, 7, 3, 9]), 3, np.random.default_rng(0))
    assert fold[0] == fold[1]
    assert set(fold) == {0, 1, 2}


def test_too_few_crystals_are_told():
    with pytest.raises(
        UserError, match=r"5-fold cross-validation needs at least 5 different crystals .*are 4"
    ):
        deal(np.array([0, 0, 1, 2, 3]), 5, np.random.default_rng(0))
