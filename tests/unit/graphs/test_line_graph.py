"""The line graph against plain loops."""

import numpy as np
import pytest

from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.line_graph import line_graph
from tlzoo.graphs.neighbours import neighbours


def plain_loops(source, target):
    return [
        (one, other)
        for other, centre in enumerate(source.tolist())
        for one, end in enumerate(target.tolist())
        if end == centre
    ]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("name", ["copper", "perovskite", "random", "sparse"])
def test_equal_to_plain_loops(cells, name, symmetric):
    lattice, numbers, frac = cells[name]
    bonds = neighbours(lattice, frac, GraphOptions(neighbours=3, symmetric=symmetric))
    lines = line_graph(bonds.source, bonds.target, len(numbers))
    assert list(zip(*map(np.ndarray.tolist, lines), strict=True)) == plain_loops(bonds.source, bonds.target)


def test_number_of_angles(cells):
    # the atom of copper has 12 bonds in, and each starts at an atom with 12 bonds in
    lattice, _, frac = cells["copper"]
    bonds = neighbours(lattice, frac, GraphOptions())
    assert len(line_graph(bonds.source, bonds.target, 1).source) == 12 * 12


def test_atoms_without_bonds():
    lines = line_graph(np.array([2, 0]), np.array([1, 2]), 5)
    assert [values.tolist() for values in lines] == [[1], [0]]
    none = np.empty(0, dtype=np.int64)
    assert len(line_graph(none, none, 3).source) == 0
