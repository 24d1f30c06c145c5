"""Small crystals with known neighbours."""

import numpy as np
import pytest

from tlzoo.crystals import Crystals


def crystals_of(*cells, ids=None):
    """Make a table of (lattice, numbers, frac_coords)."""
    return Crystals(
        ids=np.array(ids or [str(i) for i in range(len(cells))], dtype=object),
        lattice=np.array([lattice for lattice, _, _ in cells], dtype=np.float64),
        offsets=np.cumsum([0] + [len(numbers) for _, numbers, _ in cells]).astype(np.int64),
        numbers=np.concatenate([numbers for _, numbers, _ in cells]).astype(np.uint8),
        frac_coords=np.concatenate([frac for _, _, frac in cells]).astype(np.float64),
    )


def random_cell(seed, atoms=5, edge=4.5):
    rng = np.random.default_rng(seed)
    lattice = np.eye(3) * edge + rng.uniform(-1.2, 1.2, (3, 3))
    return lattice, rng.integers(1, 90, atoms), rng.random((atoms, 3))


FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
COPPER = (3.61 * FCC, np.array([29]), np.zeros((1, 3)))
ROCK_SALT = (5.64 * FCC, np.array([11, 17]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
PEROVSKITE = (
    3.905 * np.eye(3),
    np.array([38, 22, 8, 8, 8]),
    np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
)
# one atom in a needle: images along one axis only, 6 Å apart across
NEEDLE = (np.array([[2.1, 0, 0], [0.7, 6.0, 0], [0.2, -0.4, 6.5]]), np.array([14]), np.full((1, 3), 0.3))


@pytest.fixture
def cells():
    return {
        "copper": COPPER,
        "rock salt": ROCK_SALT,
        "perovskite": PEROVSKITE,
        "needle": NEEDLE,
        "random": random_cell(1),
        "sparse": random_cell(2, atoms=3, edge=7.0),
    }


@pytest.fixture
def crystals(cells):
    return crystals_of(*cells.values(), ids=list(cells))


@pytest.fixture
def make_crystals():
    return crystals_of
