"""Folds: whole groups, none empty, each crystal once."""

import numpy as np
import pytest

from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.transfer.features.folds import folds_of, groups_of


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(60))


def test_polymorphs_are_one_group(crystals):
    groups = groups_of(crystals, "composition")
    assert len(set(groups)) == len(set(crystals.formulas)) < len(crystals)
    for one, other in [(0, 1), (5, 6), (3, 40)]:
        assert (groups[one] == groups[other]) == (crystals.formulas[one] == crystals.formulas[other])
    assert len(set(groups_of(crystals, "none"))) == 60


@pytest.mark.parametrize("cv", ["leave-one-out", "2-fold", "5-fold"])
def test_groups_never_straddle(crystals, cv):
    groups = groups_of(crystals, "composition")
    folds = folds_of(groups, cv, np.random.default_rng(0))
    assert folds.shape == (60,)
    assert set(folds) == set(range(len(set(groups)) if cv == "leave-one-out" else int(cv[0])))
    for group in set(groups):
        assert len(set(folds[groups == group])) == 1


def test_chance_comes_from_the_seed():
    groups = np.arange(30)
    drawn = [folds_of(groups, "5-fold", np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()


@pytest.mark.parametrize(
    ("group", "cv", "message"),
    [
        ("formula", "5-fold", "crystals are grouped by composition or none, got 'formula'"),
        ("none", "5", "cv is leave-one-out, or 5-fold with any number from 2, got '5'"),
        ("none", "1-fold", "cv is leave-one-out, or 5-fold with any number from 2, got '1-fold'"),
        ("none", "61-fold", "61-fold cross-validation needs at least 61 different crystals"),
    ],
)
def test_mistakes_are_told(crystals, group, cv, message):
    with pytest.raises(UserError, match=message):
        folds_of(groups_of(crystals, group), cv, np.random.default_rng(0))


def test_one_composition_cannot_be_left_out():
    with pytest.raises(UserError, match="leaving one out needs at least 3 different crystals, there are 2"):
        folds_of(np.array([0, 0, 1]), "leave-one-out", np.random.default_rng(0))
