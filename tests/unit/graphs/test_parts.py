"""A batch in parts is the batches of its crystals."""

import numpy as np
import pytest
import torch

from tlzoo.data import named
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.parts import consecutive, num_rows, parts

OPTIONS = {
    "bonds": GraphOptions(),
    "angles": GraphOptions(angles=True),
    "directions": GraphOptions(degree=2),
}


@pytest.fixture(scope="module", params=["bonds", "angles", "directions"])
def store(request):
    crystals = named.load("semiconductors").select(np.arange(12))
    return GraphStore.in_memory(crystals, OPTIONS[request.param])


def batch_of(store, rows):
    batch = store.batch(rows)
    batch[keys.TARGETS] = torch.from_numpy(rows)[:, None].float()
    batch[keys.ROW] = torch.from_numpy(rows)
    batch[keys.ATOM_TARGETS] = batch[keys.NUMBERS][:, None].float()
    return batch


def test_each_part_is_the_batch_of_its_crystals(store):
    order = np.random.default_rng(0).permutation(12)
    budget = int(store.num_rows.max())
    done = 0
    for part in parts(batch_of(store, order), budget):
        wanted = batch_of(store, order[done : done + part[keys.NUM_CRYSTALS]])
        assert set(part.keys()) == set(wanted.keys())
        for name in wanted.keys():  # noqa: SIM118 (a batch is no dictionary)
            if name != keys.NUM_CRYSTALS:
                torch.testing.assert_close(part[name], wanted[name], rtol=0, atol=0)
        assert num_rows(part) <= budget
        done += part[keys.NUM_CRYSTALS]
    assert done == 12


def test_what_fits_stays_whole(store):
    batch = store.batch(np.arange(12))
    assert num_rows(batch) == store.num_rows.sum()
    assert parts(batch, None)[0] is batch
    assert parts(batch, num_rows(batch))[0] is batch
    assert len(parts(batch, num_rows(batch) - 1)) > 1


def test_a_crystal_cannot_be_cut(store):
    assert [part[keys.NUM_CRYSTALS] for part in parts(store.batch(np.arange(12)), 1)] == [1] * 12


def test_pieces_are_consecutive_and_as_long_as_they_may_be():
    sizes = np.random.default_rng(0).integers(1, 50, size=200)
    pieces = consecutive(sizes, most=7, budget=90)
    assert [i for piece in pieces for i in range(200)[piece]] == list(range(200))
    for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
        assert piece.stop - piece.start <= 7
        assert sizes[piece].sum() <= 90
        if after and piece.stop - piece.start < 7:
            assert sizes[piece].sum() + sizes[after.start] > 90
    assert consecutive(np.empty(0, np.int64), most=3, budget=5) == []
