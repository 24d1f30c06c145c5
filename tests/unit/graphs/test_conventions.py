"""Neighbours as other packages count them."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.graphs.conventions import bonded
from tlzoo.graphs.graph_chunk import graphs_of
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import Cells, all_neighbours

CUBE = np.eye(3) * 3.0
ROCK_SALT = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 2.8
LOW = np.array([[4.1, 0, 0], [-1.5, 5.1, 0], [0.9, 0.4, 6.5]])
LOW_COORDS = np.array([[0.11, 0.23, 0.31], [0.57, 0.61, 0.83], [0.91, 0.13, 0.55]])


def cells_of(lattice, numbers, coords):
    coords = np.array(coords, dtype=float)
    return Cells(lattice[None], np.array([len(numbers)]), np.array(numbers, dtype=np.uint8), coords)


def distances(cells, cutoff):
    """All distances of each atom by a plain loop over images."""
    lattice = cells.lattice[0]
    reach = range(-6, 7)
    found = []
    for one in cells.frac_coords:
        apart = [
            np.linalg.norm((other + image - one) @ lattice)
            for other in cells.frac_coords
            for image in product(reach, reach, reach)
        ]
        found.append(sorted(d for d in apart if 1e-6 < d <= cutoff))
    return found


def check_vectors(cells, bonds):
    """Each bond leads from its source to an image of its target."""
    lattice = cells.lattice[0]
    assert np.linalg.norm(bonds.vector, axis=1) == pytest.approx(bonds.length)
    images = (
        bonds.vector @ np.linalg.inv(lattice)
        - cells.frac_coords[bonds.target]
        + cells.frac_coords[bonds.source]
    )
    assert images == pytest.approx(images.round(), abs=1e-4)


@pytest.mark.parametrize(
    "cells",
    [
        cells_of(CUBE, [84], [[0, 0, 0]]),
        cells_of(ROCK_SALT, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        cells_of(LOW, [8, 22, 11], LOW_COORDS),
    ],
)
def test_cgcnn_has_exactly_k(cells):
    options = GraphOptions(neighbours=8, rule="cgcnn")
    kept, bonds, problems = bonded(cells, options)
    assert not problems
    assert len(kept.lattice) == 1
    wanted = distances(cells, 8.0)
    for atom, nearest in enumerate(wanted):
        lengths = np.sort(bonds.length[bonds.target == atom])
        assert lengths == pytest.approx(nearest[:8])
    check_vectors(cells, bonds)


def test_what_lacks_of_k_is_bonded_to_the_first_atom():
    """The first is the one of least electronegativity, as pymatgen sorts what it reads."""
    cells = cells_of(np.diag([9.0, 9.5, 10.0]), [8, 6], [[0.1, 0.1, 0.1], [0.1, 0.1, 0.22]])
    _, bonds, problems = bonded(cells, GraphOptions(rule="cgcnn"))
    assert not problems
    assert np.bincount(bonds.target).tolist() == [12, 12]
    near = bonds.length < 8
    assert near.sum() == 2
    assert (bonds.length[~near] == 9.0).all()
    assert set(bonds.source[~near]) == {1}


def test_alignn_counts_own_images_twice():
    cells = cells_of(CUBE, [84], [[0, 0, 0]])
    _, bonds, _ = bonded(cells, GraphOptions(neighbours=6, symmetric=True, rule="alignn"))
    assert len(bonds.source) == 12
    assert set(Counter(map(tuple, bonds.vector.round(6))).values()) == {2}


def test_alignn_is_symmetric_and_holds_the_k_nearest():
    cells = cells_of(LOW, [8, 22, 11], LOW_COORDS)
    options = GraphOptions(neighbours=5, symmetric=True, rule="alignn")
    _, bonds, _ = bonded(cells, options)
    there = Counter(
        (a, b, *v) for a, b, v in zip(bonds.source, bonds.target, bonds.vector.round(6).tolist(), strict=True)
    )
    back = Counter({(b, a, *(-x + 0.0 for x in v)): n for (a, b, *v), n in there.items()})
    assert Counter({(a, b, *(x + 0.0 for x in v)): n for (a, b, *v), n in there.items()}) == back
    check_vectors(cells, bonds)
    # apart from own images, which count twice, it is the symmetric graph of ours
    _, ours, _ = all_neighbours(cells, GraphOptions(neighbours=5, symmetric=True, tie_tolerance=0.0))
    apart = bonds.source != bonds.target
    other = ours.source != ours.target
    assert np.sort(bonds.length[apart]) == pytest.approx(np.sort(ours.length[other]), abs=1e-4)
    assert (~apart).sum() == 2 * (~other).sum()


def test_alignn_looks_farther_until_there_are_k():
    cells = cells_of(np.diag([9.0, 9.5, 10.0]), [8, 6], [[0.1, 0.1, 0.1], [0.1, 0.1, 0.22]])
    _, bonds, problems = bonded(cells, GraphOptions(symmetric=True, rule="alignn"))
    assert not problems
    assert np.bincount(bonds.target).min() >= 12
    assert bonds.length.max() > 8


def test_alignn_has_no_angle_of_a_bond_with_itself():
    """As DGL, whose line graph has no loops: a bond to the atom's own image would have one."""
    cells = cells_of(CUBE, [84], [[0, 0, 0]])
    options = GraphOptions(neighbours=6, symmetric=True, angles=True, merge_tolerance=0.0, rule="alignn")
    assert graphs_of(cells, options).sizes[:3, 0].tolist() == [1, 12, 12 * 11]
    ours = GraphOptions(neighbours=6, symmetric=True, angles=True, merge_tolerance=0.0)
    assert graphs_of(cells, ours).sizes[:3, 0].tolist() == [1, 6, 6 * 6]


def test_shells_are_the_rule():
    cells = cells_of(ROCK_SALT, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
    one, other = bonded(cells, GraphOptions()), all_neighbours(cells, GraphOptions())
    assert all(np.array_equal(a, b) for a, b in zip(one[1], other[1], strict=True))
    with pytest.raises(UserError, match="rule must be one of shells, cgcnn, alignn, got 'voronoi'"):
        GraphOptions(rule="voronoi")
