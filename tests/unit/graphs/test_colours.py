"""Groups of values, and colour refinement on graphs whose classes are known."""

import numpy as np
import pytest

from tlzoo.graphs import colours as module
from tlzoo.graphs.colours import WIDEST, Graph, colour, groups, refine
from tlzoo.graphs.line_graph import LineGraph

TOLERANCE = 1e-3


def grouped(values, crystal=None, tolerance=TOLERANCE):
    values = np.array(values, dtype=float)
    return groups(
        np.zeros(len(values), dtype=int) if crystal is None else crystal, values, tolerance
    ).tolist()


def by_gaps(crystal, values, tolerance):
    """Group as the definition says: sort, and cut where the step is larger than the tolerance."""
    order = np.lexsort((values, crystal))
    found = np.empty(len(values), dtype=int)
    group, last = -1, None
    for i in order:
        here = (crystal[i], values[i])
        if last is None or here[0] != last[0] or here[1] - last[1] > tolerance:
            group += 1
        found[i], last = group, here
    return found.tolist()


@pytest.fixture(params=["table", "sorted"])
def way(request, monkeypatch):
    """Both ways to find the occupied places."""
    if request.param == "sorted":
        monkeypatch.setattr(module, "TABLE", 0)


@pytest.mark.usefixtures("way")
class TestGroups:
    def test_values_within_the_tolerance_are_one(self):
        assert grouped([2.0, 3.0, 2.0 + 0.8e-3, 2.0 - 0.8e-3]) == [0, 1, 0, 0]
        assert grouped([2.0, 2.0 + 1.3e-3]) == [0, 1]

    def test_wherever_they_are(self):
        for start in np.random.default_rng(0).uniform(-1, 9, 1000):
            assert grouped([start, start + 0.87e-3]) == [0, 0]
            assert grouped([start, start + 1.26e-3]) == [0, 1]

    def test_crystals_are_apart(self):
        assert grouped([1.0, 1.0, 9.0, 1.0], np.array([0, 1, 0, 1])) == [0, 2, 1, 2]

    def test_equal_to_gaps_between_sorted_values(self):
        rng = np.random.default_rng(1)
        crystal = np.sort(rng.integers(0, 20, 3000))
        values = rng.integers(-9, 90, 3000) / 10 + rng.uniform(-0.4, 0.4, 3000) * TOLERANCE
        assert groups(crystal, values, TOLERANCE).tolist() == by_gaps(crystal, values, TOLERANCE)

    def test_chains_are_cut(self):
        values = 2 + np.arange(100) * 0.9 * TOLERANCE
        found = np.array(grouped(values))
        assert found.max() + 1 == 9
        for group in range(9):
            assert np.ptp(values[found == group]) < WIDEST * TOLERANCE * 1.01

    def test_without_tolerance_each_is_by_itself(self):
        assert grouped([1.0, 1.0, 1.0], tolerance=0) == [0, 1, 2]

    def test_no_values(self):
        assert grouped([]) == []


def partition(colours):
    """Return the classes as a set of sets of members."""
    return {frozenset(np.flatnonzero(colours == one).tolist()) for one in np.unique(colours)}


def ring(size, start=None):
    """A ring of atoms, each with a bond from either side, all of one length."""
    atoms = np.arange(size)
    source = np.stack([(atoms - 1) % size, (atoms + 1) % size], axis=1).reshape(-1)
    none = np.empty(0, dtype=np.int64)
    return Graph(
        np.zeros(size, dtype=np.int64) if start is None else np.array(start),
        source,
        np.repeat(atoms, 2),
        np.zeros(2 * size, dtype=np.int64),
        LineGraph(none, none),
        none,
    )


class TestRefine:
    def test_equal_atoms(self):
        assert len(np.unique(refine(ring(6))[0])) == 1

    def test_as_far_as_a_difference_reaches(self):
        # one other atom in a ring of 9: its neighbours at distance 1, 2, 3 and 4 are pairs
        atoms, bonds = refine(ring(9, [1, 0, 0, 0, 0, 0, 0, 0, 0]))
        assert partition(atoms) == {frozenset({i, -i % 9}) for i in range(5)}
        assert len(partition(bonds)) == 1 + 3 * 2 + 2

    def test_lengths_tell_atoms_apart(self):
        graph = ring(6)
        # bonds of the ring alternate, 0-1 2-3 4-5 short; then atom 0 alone has a third length
        short = np.array([1, 0, 0, 1] * 3)
        assert len(partition(refine(graph._replace(lengths=short))[0])) == 1
        one_other = short.copy()
        one_other[0] = 2
        assert len(partition(refine(graph._replace(lengths=one_other))[0])) == 6

    def test_number_of_equal_neighbours_matters(self):
        # atom 0 has two bonds from atom 2, atom 1 one
        none = np.empty(0, dtype=np.int64)
        graph = Graph(
            np.array([0, 0, 1]),
            np.array([2, 2, 2, 2]),
            np.array([0, 0, 1, 2]),
            np.zeros(4, dtype=np.int64),
            LineGraph(none, none),
            none,
        )
        assert len(partition(refine(graph)[0])) == 3

    def test_angles_tell_bonds_and_atoms_apart(self):
        graph = ring(6)
        lines = LineGraph(
            np.stack([2 * graph.source, 2 * graph.source + 1], axis=1).reshape(-1),
            np.repeat(np.arange(12), 2),
        )
        equal = graph._replace(lines=lines, cosines=np.zeros(24, dtype=np.int64))
        atoms, bonds = refine(equal)
        assert (len(partition(atoms)), len(partition(bonds))) == (1, 1)
        one_other = equal.cosines.copy()
        one_other[0] = 1  # at atom 5: makes 5→0 differ from 1→0, and leaves the mirror through 0 and 3
        atoms, bonds = refine(equal._replace(cosines=one_other))
        assert partition(atoms) == {frozenset({i, -i % 6}) for i in range(4)}
        assert len(partition(bonds)) == 2 + 5


def test_colours_are_different_and_reproducible():
    values = np.arange(100_000)
    assert len(np.unique(colour(values))) == 100_000
    np.testing.assert_array_equal(colour(values[7:9]), colour(values)[7:9])
