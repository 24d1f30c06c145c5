"""A potential whose physics is known, and crystals to try it on."""

import numpy as np
import pytest
import torch

from tlzoo.backbones.potential import Potential
from tlzoo.graphs import keys
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.physics.frames import together
from tlzoo.physics.primitive import Cell

WELL, WIDTH, DISTANCE, CUTOFF = 0.4, 1.5, 2.6, 5.0


class Pairs(Potential):
    """Morse's potential between all atoms, smooth at the cut-off; equal for all elements."""

    def __init__(self):
        super().__init__("mean", {"embed": 1})
        self.graph = VectorOptions(CUTOFF)
        self.well = torch.nn.Parameter(torch.tensor(WELL, dtype=torch.float64))

    def groups(self):
        return {"embed": [self]}

    def states(self, batch):
        length = batch[keys.BOND_VECTOR].norm(dim=1)
        step = torch.exp(-WIDTH * (length - DISTANCE))
        energy = self.well * (step**2 - 2 * step) * (1 - (length / CUTOFF) ** 2) ** 3
        atoms = energy.new_zeros(len(batch[keys.NUMBERS]))
        site = atoms.index_add(0, batch[keys.EDGE_INDEX][1], energy / 2)
        return [site[:, None]], site


@pytest.fixture(scope="session")
def pairs():
    return Pairs()


@pytest.fixture
def run():
    """Run one computation."""

    def run(computation, cell, potential):
        (result,) = together([computation(cell, potential.graph.cutoff)], potential)
        assert not isinstance(result, str), result
        return result

    return run


def cell_of(a, shape, sites, numbers):
    return Cell(np.array(shape, dtype=float) * a, np.array(sites, dtype=float), np.array(numbers, np.uint8))


FCC = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]


@pytest.fixture
def zincblende():
    """A crystal of that structure, by edge (Å) and atomic numbers."""
    return lambda a, numbers: cell_of(a, FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], numbers)


@pytest.fixture
def copper():
    """A face-centred cubic crystal near its equilibrium."""
    return cell_of(3.6, FCC, [[0, 0, 0]], [29])


@pytest.fixture
def salt():
    """Rock salt."""
    return cell_of(4.7, FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [3, 9])


@pytest.fixture
def rutile():
    """Atoms at places that symmetry leaves free."""
    u = 0.31
    sites = [
        [0, 0, 0],
        [0.5, 0.5, 0.5],
        [u, u, 0],
        [-u, -u, 0],
        [0.5 + u, 0.5 - u, 0.5],
        [0.5 - u, 0.5 + u, 0.5],
    ]
    return cell_of(1, np.diag([4.6, 4.6, 2.95]), sites, [22, 22, 8, 8, 8, 8])
