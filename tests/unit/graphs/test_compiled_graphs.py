"""What is compiled makes the graphs that numpy makes, and leaves to it what it does not."""

import numpy as np
import pytest

from tlzoo.graphs import compiled_graphs as compiled
from tlzoo.graphs.graph_chunk import cells_of, graphs_of
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import all_nearer

OPTIONS = [
    GraphOptions(),
    GraphOptions(symmetric=True, angles=True),
    GraphOptions(cutoff=3.0, tie_tolerance=2.0, angles=True, merge_tolerance=0.01),
    GraphOptions(neighbours=1, degree=1),
    GraphOptions(neighbours=3, symmetric=True, degree=2, angles=True),
    GraphOptions(degree=3, merge_tolerance=compiled.FINEST),
    GraphOptions(symmetric=True, angles=True, merge_tolerance=0.0),
    GraphOptions(neighbours=4, angles=True, rule="alignn"),
]

pytestmark = pytest.mark.skipif(compiled.library() is None, reason="there is no C compiler")


@pytest.fixture
def supercells(cells, make_crystals):
    """The crystals, and two of many equal atoms."""
    more = []
    for name, times in (("perovskite", 3), ("rock salt", 2)):
        lattice, numbers, frac = cells[name]
        shifts = np.stack(np.meshgrid(*[np.arange(times)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
        more.append((lattice * times, np.tile(numbers, times**3), ((frac + shifts) / times).reshape(-1, 3)))
    return make_crystals(*cells.values(), *more)


def both_ways(monkeypatch, function):
    one = function()
    with monkeypatch.context() as without:
        without.setattr(compiled, "library", lambda: None)
        return one, function()


def rows(chunk):
    """The bonds and angles of each crystal as sorted rows: those of one length are in any order."""
    sizes, arrays = chunk.sizes, chunk.arrays
    ends = np.cumsum(sizes, axis=1)
    for crystal in range(sizes.shape[1]):
        _, bonds, angles, _ = (
            slice(end - size, end) for end, size in zip(ends[:, crystal], sizes[:, crystal], strict=True)
        )
        bond = [arrays[name][bonds] for name in ("target", "source", "bond_count", "length")]
        bond += list(arrays["harmonics"][bonds].T)
        # bonds by what they are, for their numbers are in any order, too
        what = np.stack(bond[:4], axis=1)
        ends_of = [what[arrays[name][angles]] for name in ("angle_target", "angle_source")]
        angle = np.column_stack([*ends_of, arrays["angle_count"][angles], arrays["cosine"][angles]])
        yield from (
            np.array(sorted(each.astype(float).round(4).tolist())) for each in (np.stack(bond, axis=1), angle)
        )


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_graphs_are_those_of_numpy(monkeypatch, supercells, options):
    cells = cells_of(supercells, 0, len(supercells))
    one, other = both_ways(monkeypatch, lambda: graphs_of(cells, options))
    np.testing.assert_array_equal(one.sizes, other.sizes)
    for name in ("numbers", "atom_count", "place"):
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name])
    for ours, wanted in zip(rows(one), rows(other), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=2e-4)


@pytest.mark.parametrize("most", [0, 3e4])
def test_large_crystals_are_left_to_the_search_in_boxes(monkeypatch, supercells, most):
    cells = cells_of(supercells, 0, len(supercells))
    whole = graphs_of(cells, GraphOptions(symmetric=True))
    monkeypatch.setattr(compiled, "MOST", most)
    parts = graphs_of(cells, GraphOptions(symmetric=True))
    _, left = compiled.pairs(
        cells.lattice, cells.num_atoms, cells.frac_coords % 1, np.full(len(supercells), 6.0)
    )
    assert left.all() if most == 0 else 0 < left.sum() < len(left)
    np.testing.assert_array_equal(whole.sizes, parts.sizes)
    for ours, wanted in zip(rows(whole), rows(parts), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-4)


def test_room_is_found_for_many_bonds(monkeypatch, supercells):
    cells = cells_of(supercells, 0, len(supercells))
    whole = graphs_of(cells, GraphOptions())
    monkeypatch.setattr(compiled, "PAIRS", 1)
    for name, values in graphs_of(cells, GraphOptions()).arrays.items():
        np.testing.assert_array_equal(values, whole.arrays[name])


def test_all_pairs_within_a_radius(monkeypatch, supercells):
    cells = cells_of(supercells, 0, len(supercells))
    radius = np.linspace(0, 6, len(supercells))
    one, other = both_ways(monkeypatch, lambda: all_nearer(cells, radius))
    found = [
        sorted(np.column_stack([pairs.target, pairs.source, pairs.vector, pairs.length]).round(6).tolist())
        for pairs in (one, other)
    ]
    assert len(found[0]) > 1000
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
