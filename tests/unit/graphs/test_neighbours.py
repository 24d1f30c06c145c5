"""Neighbours against plain loops, known coordination numbers, and physics."""

import itertools
import math
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import Cells, all_neighbours, neighbours

NAMES = ["copper", "rock salt", "perovskite", "needle", "random", "sparse"]
OPTIONS = [
    GraphOptions(),
    GraphOptions(neighbours=1),
    GraphOptions(cutoff=5.0, neighbours=40),
    GraphOptions(cutoff=4.0, neighbours=4, tie_tolerance=0.3),
    GraphOptions(tie_tolerance=2.0),  # k atoms within the first sphere, those tied with them not
    GraphOptions(symmetric=True),
    GraphOptions(neighbours=3, symmetric=True),
]


def key(source, target, vector):
    """Return a bond as whole numbers: indices and units of 0.001 Å, off the lattice's round values."""
    return (
        int(source),
        int(target),
        *np.round((np.asarray(vector, float) + 0.000217) * 1e3).astype(int).tolist(),
    )


def as_counter(bonds):
    return Counter(key(*bond) for bond in bonds)


def vectors(bonds):
    return zip(bonds.source, bonds.target, bonds.vector, strict=True)


def plain_loops(lattice, frac, options):
    """Return the bonds as (source, target, vector), from the definition."""
    farthest = options.cutoff + options.tie_tolerance
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    shifts = list(itertools.product(*[range(-int(farthest / h) - 1, int(farthest / h) + 2) for h in heights]))
    bonds = []
    for target in range(len(frac)):
        found = []
        for source in range(len(frac)):
            for vector in (frac[target] - frac[source] + shifts) @ lattice:
                length = math.hypot(*vector)
                if 1e-8 < length <= farthest:
                    found.append((length, source, vector))
        lengths = sorted(length for length, _, _ in found)
        k = options.neighbours
        limit = lengths[k - 1] + options.tie_tolerance if len(lengths) >= k else farthest
        bonds += [(source, target, vector) for length, source, vector in found if length <= limit]
    if options.symmetric:
        there = as_counter(bonds)
        bonds += [(t, s, -v) for s, t, v in bonds if key(t, s, -v) not in there]
    return bonds


def lengths_per_atom(lattice, frac, options):
    bonds = neighbours(lattice, frac, options)
    return [bonds.length[bonds.target == atom] for atom in range(len(frac))]


def assert_same_environments(one, other, times=1):
    """Compare lists of bond lengths per atom, in whatever order the atoms are."""
    one, other = (sorted(atoms, key=lambda a: tuple(a.round(5))) for atoms in (one * times, other))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_equal_to_plain_loops(cells, name, options):
    lattice, _, frac = cells[name]
    found = neighbours(lattice, frac, options)
    assert as_counter(vectors(found)) == as_counter(plain_loops(lattice, frac, options))


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_pymatgen(cells, name):
    from pymatgen.optimization.neighbors import find_points_in_spheres

    lattice, _, frac = cells[name]
    points = frac @ lattice
    target, source, shift, length = find_points_in_spheres(
        points, points, r=6.0, pbc=np.array([1, 1, 1]), lattice=np.ascontiguousarray(lattice), tol=1e-8
    )
    others = length > 1e-8
    vector = points[target] - points[source] - shift @ lattice
    theirs = zip(source[others], target[others], vector[others], strict=True)
    ours = neighbours(lattice, frac, GraphOptions(cutoff=6.0, neighbours=10_000, tie_tolerance=0.0))
    assert as_counter(vectors(ours)) == as_counter(theirs)


@pytest.mark.parametrize(
    ("name", "k", "shells"),
    [
        ("copper", 12, [12]),
        ("copper", 1, [12]),
        ("copper", 13, [12, 6]),
        ("rock salt", 6, [6]),
        ("rock salt", 12, [6, 12]),
    ],
)
def test_shells_are_complete(cells, name, k, shells):
    lattice, _, frac = cells[name]
    for lengths in lengths_per_atom(lattice, frac, GraphOptions(neighbours=k)):
        _, counts = np.unique(lengths.round(4), return_counts=True)
        assert counts.tolist() == shells


def test_a_shell_on_the_cutoff_is_complete():
    # a rotated simple cubic cell of 4 Å: rounding puts the 6 images on either side of the cutoff
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    bonds = neighbours(4.0 * rotation, np.zeros((1, 3)), GraphOptions(cutoff=4.0))
    assert len(bonds.source) == 6


def test_few_neighbours_are_all_kept(cells):
    lattice, _, frac = cells["copper"]
    assert len(neighbours(lattice, frac, GraphOptions(cutoff=2.6)).source) == 12
    assert len(neighbours(lattice, frac, GraphOptions(cutoff=3.7, neighbours=100)).source) == 18


def test_sorted_by_target_then_length(cells):
    lattice, _, frac = cells["random"]
    for options in OPTIONS:
        bonds = neighbours(lattice, frac, options)
        np.testing.assert_allclose(bonds.length, np.linalg.norm(bonds.vector, axis=1), rtol=1e-12)
        assert (np.diff(bonds.target) >= 0).all()
        assert (np.diff(bonds.length)[np.diff(bonds.target) == 0] >= 0).all()
        again = neighbours(lattice, frac, options)
        assert all(np.array_equal(a, b) for a, b in zip(bonds, again, strict=True))


@pytest.mark.parametrize("options", OPTIONS[::2], ids=str)
@pytest.mark.parametrize("name", NAMES)
class TestInvariance:
    def test_coordinates_in_other_cells(self, cells, name, options):
        lattice, _, frac = cells[name]
        away = frac + np.random.default_rng(0).integers(-1000, 1000, frac.shape)
        assert_same_environments(
            lengths_per_atom(lattice, frac, options), lengths_per_atom(lattice, away, options)
        )

    def test_origin(self, cells, name, options):
        lattice, _, frac = cells[name]
        assert_same_environments(
            lengths_per_atom(lattice, frac, options),
            lengths_per_atom(lattice, frac + np.array([0.37, 0.5, -0.2]), options),
        )

    def test_rotation(self, cells, name, options):
        lattice, _, frac = cells[name]
        rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
        assert_same_environments(
            lengths_per_atom(lattice, frac, options), lengths_per_atom(lattice @ rotation, frac, options)
        )

    def test_order_of_atoms(self, cells, name, options):
        lattice, _, frac = cells[name]
        order = np.random.default_rng(1).permutation(len(frac))
        there = lengths_per_atom(lattice, frac, options)
        again = lengths_per_atom(lattice, frac[order], options)
        for atom, was in enumerate(order):
            np.testing.assert_allclose(again[atom], there[was], atol=1e-9)

    def test_supercell(self, cells, name, options):
        lattice, _, frac = cells[name]
        size = np.array([3, 1, 2])
        images = [np.array(i) for i in itertools.product(*map(range, size))]
        assert_same_environments(
            lengths_per_atom(lattice, frac, options),
            lengths_per_atom(
                size[:, None] * lattice, np.concatenate([(frac + i) / size for i in images]), options
            ),
            times=6,
        )

    def test_other_cell(self, cells, name, options):
        lattice, _, frac = cells[name]
        same_volume = np.array([[1, 1, 0], [0, 1, -2], [0, 0, 1]])
        assert_same_environments(
            lengths_per_atom(lattice, frac, options),
            lengths_per_atom(same_volume @ lattice, frac @ np.linalg.inv(same_volume), options),
        )


def test_symmetric_adds_only_the_missing_reverses(cells):
    lattice, _, frac = cells["random"]
    one_way = as_counter(vectors(neighbours(lattice, frac, GraphOptions(neighbours=3))))
    bonds = neighbours(lattice, frac, GraphOptions(neighbours=3, symmetric=True))
    both = as_counter(vectors(bonds))
    assert one_way.keys() < both.keys()
    assert set(both.values()) == {1}
    assert as_counter(zip(bonds.target, bonds.source, -bonds.vector, strict=True)) == both


LONELY = (40 * np.eye(3), np.array([2]), np.zeros((1, 3)))
FLAT = (np.diag([4.0, 4.0, 0.0]), np.array([6]), np.zeros((1, 3)))
TWICE = (4 * np.eye(3), np.array([6, 6]), np.zeros((2, 3)))


def cells_of(*crystals):
    lattice, numbers, frac = zip(*crystals, strict=True)
    counts = np.array([len(n) for n in numbers])
    return Cells(np.array(lattice), counts, np.concatenate(numbers).astype(np.uint8), np.concatenate(frac))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_many_at_once_as_one_by_one(cells, options):
    found, bonds, problems = all_neighbours(cells_of(*cells.values()), options)
    assert problems == {}
    first = 0
    for lattice, numbers, frac in cells.values():
        alone = neighbours(lattice, frac, options)
        of_crystal = (bonds.target >= first) & (bonds.target < first + len(numbers))
        np.testing.assert_array_equal(bonds.source[of_crystal], alone.source + first)
        np.testing.assert_array_equal(bonds.target[of_crystal], alone.target + first)
        np.testing.assert_array_equal(bonds.vector[of_crystal], alone.vector)
        np.testing.assert_array_equal(bonds.length[of_crystal], alone.length)
        first += len(numbers)
    assert len(found.numbers) == first


def test_crystals_without_a_graph_are_left_out(cells):
    good = [cells[name] for name in ("copper", "perovskite", "random")]
    some = [LONELY, good[0], FLAT, good[1], TWICE, LONELY, good[2]]
    found, bonds, problems = all_neighbours(cells_of(*some), GraphOptions(symmetric=True))
    expected, those, _ = all_neighbours(cells_of(*good), GraphOptions(symmetric=True))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(bonds, those, strict=True))
    assert list(problems) == [0, 2, 4, 5]
    assert [re.split(": | \\(vol|; cor", text)[0] for text in problems.values()] == [
        "atom 1 (He) of 1",
        "the cell is flat",
        "atoms 1 (C) and 2 (C) of 2 are 0.000 Å apart, less than 0.1 Å",
        "atom 1 (He) of 1",
    ]


def test_no_crystal_with_a_graph():
    found, bonds, problems = all_neighbours(cells_of(FLAT, LONELY), GraphOptions())
    assert len(found.lattice) == len(bonds.source) == 0
    assert list(problems) == [0, 1]


def test_an_atom_without_neighbours_is_named():
    frac = np.array([[0, 0, 0], [0.05, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(
        UserError, match=r"^atom 3 \(He\) of 3: no neighbour within 8 Å; raise the cutoff or leave"
    ):
        neighbours(40 * np.eye(3), frac, GraphOptions(), numbers=[1, 1, 2])
    many = np.arange(8)[:, None] * np.full((1, 3), 1 / 8)
    with pytest.raises(UserError, match=r"^atoms 1, 2, 3, 4, 5 and 3 more of 8: no neighbour within 8 Å"):
        neighbours(100 * np.eye(3), many, GraphOptions())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_must_be_finite(value):
    message = "a lattice vector or a fractional coordinate is not a finite number"
    with pytest.raises(UserError, match=message):
        neighbours(4 * np.eye(3), np.array([[0.0, value, 0.0]]), GraphOptions())
    with pytest.raises(UserError, match=message):
        neighbours(np.diag([4, 4, value]), np.zeros((1, 3)), GraphOptions())


@pytest.mark.parametrize("row", [[0, 0, 0], [4, 0, 0], [4, 4, 1e-6]])
def test_flat_cells_are_refused(row):
    lattice = np.array([[4, 0, 0], [0, 4, 0], row], dtype=float)
    with pytest.raises(
        UserError, match=r"^the cell is flat \(volume .* Å³\); the lattice must be three independent"
    ):
        neighbours(lattice, np.zeros((1, 3)), GraphOptions())


def test_atoms_in_one_place_are_refused():
    frac = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0, 0, 1.0]])
    with pytest.raises(
        UserError, match=r"atoms 1 \(Na\) and 3 \(K\) of 3 are 0\.000 Å apart, less than 0\.1 Å"
    ):
        neighbours(4 * np.eye(3), frac, GraphOptions(), numbers=[11, 17, 19])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"cutoff": 0.0}, "cutoff must be positive"),
        ({"neighbours": 0}, "neighbours must be at least 1, got 0"),
        ({"tie_tolerance": -1.0}, "tie_tolerance must not be negative"),
        ({"merge_tolerance": -1e-4}, "merge_tolerance must be from 0"),
        ({"merge_tolerance": 0.1}, r"merge_tolerance must be from 0 .* to 0\.01 \(Å\), got 0\.1"),
    ],
)
def test_options_are_checked(option, message):
    with pytest.raises(UserError, match=message):
        GraphOptions(**option)


def test_torch_is_not_loaded_and_vesin_knows_it_all_the_same():
    """The search does without torch; tensors that somebody else gives vesin remain tensors."""
    code = (
        "import sys, numpy as np\n"
        "from tlzoo.graphs.graph_options import GraphOptions\n"
        "from tlzoo.graphs.neighbours import neighbours\n"
        "bonds = neighbours(4 * np.eye(3), np.zeros((1, 3)), GraphOptions(neighbours=6))\n"
        "assert len(bonds.length) == 6 and 'torch' not in sys.modules\n"
        "import torch, vesin\n"
        "cell = 4 * torch.eye(3, dtype=torch.float64)\n"
        "search = vesin.NeighborList(cutoff=4.5, full_list=True)\n"
        "(found,) = search.compute(cell[:1], cell, periodic=True, quantities='d')\n"
        "assert isinstance(found, torch.Tensor) and len(found) == 6\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
