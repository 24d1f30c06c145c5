"""Whitening against its definition, and with fewer independent numbers than were asked for."""

import numpy as np
import pytest

from tlzoo.data.whitening import Whitening
from tlzoo.errors import UserError


def sample(atoms, rank, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(atoms, rank)) @ rng.normal(size=(rank, width)) + 3).astype(np.float32)


def test_components_are_uncorrelated_and_of_unit_variance():
    numbers = sample(500, 6)
    fitted = Whitening.fit(numbers, 4)
    found = fitted.apply(numbers)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(found.T @ found / 500, np.eye(4), atol=1e-3)
    assert fitted.explained == pytest.approx(np.sort(fitted.variances)[::-1][:4].sum() / 6, rel=1e-5)


@pytest.mark.parametrize(
    ("numbers", "there"),
    [
        (sample(500, 3), 3),
        # a crystal of eight atoms, of which many are equal
        (np.repeat(sample(3, 6), [2, 2, 4], axis=0), 2),
        (sample(1, 6), 0),
        (np.ones((9, 6), dtype=np.float32), 0),
    ],
    ids=["dependent", "equal atoms", "one atom", "constant"],
)
def test_what_depends_on_the_rest_is_no_component(numbers, there):
    if there:
        assert np.isfinite(Whitening.fit(numbers, there).components).all()
    with pytest.raises(UserError, match=f"--whiten {there + 1}: what varies among .* is {there} independent"):
        Whitening.fit(numbers, there + 1)
