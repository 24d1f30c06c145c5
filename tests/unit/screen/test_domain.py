"""Distances to training crystals against a slow loop; what counts as a training crystal."""

import numpy as np
import pytest
import torch

from tlzoo.data import named
from tlzoo.screen.domain import MOST, Domain, keys
from tlzoo.screen.facts import Facts


def domain_of(points):
    none = torch.empty(0, dtype=torch.float64)
    return Domain(torch.from_numpy(points), none.long(), none)


def slow(points, others, skip):
    scale = others.std(axis=0)
    scale[scale == 0] = np.inf
    distances = [sorted(np.linalg.norm((p - others) / scale, axis=1))[skip : skip + 5] for p in points]
    return np.mean(distances, axis=1)


def test_distances_as_a_loop_finds_them():
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(size=(60, 4)) * [1, 10, 0.1, 3], np.ones((60, 1))], axis=1)
    others = np.concatenate([points[:3] + 1e-3, points[3:6] + 100])
    domain = domain_of(points)
    among = slow(points, points, 1)
    np.testing.assert_allclose(
        domain.distances(others), slow(others, points, 0) / np.median(among), rtol=1e-6
    )
    assert domain.limit == pytest.approx(np.percentile(among, 99) / np.median(among))
    assert (domain.distances(others) > domain.limit).tolist() == [False] * 3 + [True] * 3


def test_two_training_crystals_are_enough():
    assert np.isfinite(domain_of(np.eye(2)).distances(np.zeros((3, 2)))).all()


def test_training_crystals_are_found_again():
    crystals = named.load("semiconductors")
    facts = Facts(crystals)
    some = Facts(crystals.select(np.arange(50)))
    domain = Domain(
        torch.zeros(50, 1), torch.from_numpy(keys(some)), torch.from_numpy(some.volume_per_atom.copy())
    )
    held = domain.holds(facts)
    assert held[:50].all()
    larger = crystals.select(np.arange(50))
    larger.lattice[:] *= 1.03  # 9 % in volume
    assert domain.holds(Facts(larger)).all()
    larger.lattice[:] *= 1.05
    volumes = dict(zip(some.formulas, some.volume_per_atom, strict=True))
    single = [row for row in range(50) if list(some.formulas).count(some.formulas[row]) == 1]
    assert not domain.holds(Facts(larger))[single].any()
    others = [row for row in range(50, len(crystals)) if facts.formulas[row] not in volumes]
    assert not held[others].any()


def test_at_most_so_many_points():
    assert MOST == 5000  # the documentation says so
