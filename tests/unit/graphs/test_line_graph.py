"""The line graph against plain loops."""

import numpy as np
import pytest
import torch

from tlzoo.graphs.line_graph import line_graph
from tlzoo.graphs.options import GraphOptions
from tlzoo.graphs.store import batch_of


def plain_loops(edge_index):
    bonds = edge_index.T.tolist()
    return [
        (one, other)
        for other, (centre, _) in enumerate(bonds)
        for one, (_, target) in enumerate(bonds)
        if target == centre
    ]


@pytest.mark.parametrize("symmetric", [False, True])
def test_equal_to_plain_loops(crystals, symmetric):
    batch = batch_of(crystals, GraphOptions(neighbours=3, symmetric=symmetric))
    lines = line_graph(batch.edge_index, len(batch.numbers))
    assert torch.stack(lines, dim=1).tolist() == [list(pair) for pair in plain_loops(batch.edge_index)]
    assert (lines.target.diff() >= 0).all()


def test_angles_are_at_the_shared_atom(make_crystals, cells):
    batch = batch_of(make_crystals(cells["perovskite"]), GraphOptions(neighbours=6))
    lines = line_graph(batch.edge_index, len(batch.numbers))
    assert torch.equal(batch.edge_index[1, lines.source], batch.edge_index[0, lines.target])
    # Ti sits in an octahedron of O: the angles O-Ti-O are 0°, 90° and 180°
    into, out = -batch.bond_vector[lines.source], batch.bond_vector[lines.target]
    at_titanium = batch.edge_index[0, lines.target] == 1
    cosine = torch.nn.functional.cosine_similarity(into, out)[at_titanium]
    angles = np.unique(np.degrees(np.arccos(cosine.clamp(-1, 1).numpy())).round(1))
    assert angles.tolist() == [0.0, 90.0, 180.0]


def test_number_of_angles(make_crystals, cells):
    # every atom of copper has 12 bonds in, and each bond starts at an atom with 12 bonds in
    batch = batch_of(make_crystals(cells["copper"], cells["copper"]), GraphOptions())
    lines = line_graph(batch.edge_index, 2)
    assert len(lines.source) == len(lines.target) == 2 * 12 * 12


def test_atoms_without_bonds():
    lines = line_graph(torch.tensor([[2, 0], [1, 2]]), 5)
    assert torch.stack(lines).tolist() == [[1], [0]]
    assert len(line_graph(torch.empty((2, 0), dtype=torch.int64), 3).source) == 0
