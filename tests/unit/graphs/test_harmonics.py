"""Harmonics against Legendre polynomials and under rotations."""

import numpy as np
import pytest
from numpy.polynomial.legendre import legval

from tlzoo.graphs.harmonics import harmonics, invariants, size


@pytest.fixture(scope="module")
def unit():
    vectors = np.random.default_rng(0).normal(size=(40, 3))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_products_are_legendre_polynomials_of_the_cosine(unit, degree):
    columns = harmonics(unit, degree)[:, size(degree - 1) :]
    assert columns.shape == (40, 2 * degree + 1)
    np.testing.assert_allclose(columns @ columns.T, legval(unit @ unit.T, [0] * degree + [1]), atol=1e-13)


def test_lower_degrees_come_first(unit):
    for degree in range(4):
        np.testing.assert_array_equal(harmonics(unit, degree), harmonics(unit, 3)[:, : size(degree)])


def test_a_rotation_changes_moments_and_not_invariants(unit):
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    one, other = (harmonics(vectors, 3).reshape(8, 5, -1).sum(1) for vectors in (unit, unit @ rotation))
    assert np.abs(one - other).max() > 1
    assert invariants(one).shape == (8, 4)
    np.testing.assert_allclose(invariants(one), invariants(other), atol=1e-12)
