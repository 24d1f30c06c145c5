"""A batch is its tensors: moved together, handed over by processes, read by layers of torch-geometric."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tlzoo.data import named
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore


@pytest.fixture(scope="module")
def store():
    return GraphStore.in_memory(named.load("semiconductors").select(np.arange(6)), GraphOptions(angles=True))


def assert_same(one, other):
    assert list(one.keys()) == list(other.keys())
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]


class Batches(Dataset):
    def __init__(self, store):
        self.store = store

    def __len__(self):
        return 3

    def __getitem__(self, number):
        return self.store.batch(np.array([number, 5 - number]))


def test_fields_are_items_and_attributes(store):
    batch = store.batch(np.arange(6))
    assert batch.numbers is batch[keys.NUMBERS]
    batch[keys.TARGETS] = torch.ones(6, 1)
    assert keys.TARGETS in batch
    assert keys.DESCRIPTORS not in batch
    assert [name for name, _ in batch] == list(batch.keys())
    assert "edge_index=[2, " in repr(batch)
    assert "num_crystals=[6]" in repr(batch)
    with pytest.raises(KeyError, match="descriptors"):
        batch[keys.DESCRIPTORS]
    with pytest.raises(AttributeError, match="no attribute 'x'"):
        _ = batch.x


def test_changed_and_moved_batches_are_others(store):
    batch = store.batch(np.arange(6))
    copy = batch.clone()
    assert_same(copy, batch)
    copy.bond_length.zero_()
    assert batch.bond_length.min() > 1
    assert batch.to(torch.float64).numbers.dtype == torch.float64
    there = batch.to(torch.device("meta"), non_blocking=True)
    assert {value.device.type for _, value in there.items() if isinstance(value, torch.Tensor)} == {"meta"}
    assert there.num_crystals == 6
    assert batch.numbers.device.type == "cpu"


def test_worker_processes_hand_batches_over(store):
    straight = list(DataLoader(Batches(store), batch_size=None))
    handed = list(DataLoader(Batches(store), batch_size=None, num_workers=2))
    assert len(handed) == 3
    for one, other in zip(straight, handed, strict=True):
        assert isinstance(other, Batch)
        assert_same(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU reads pinned memory")
def test_a_loader_pins_batches(store):
    for batch in DataLoader(Batches(store), batch_size=None, pin_memory=True):
        assert isinstance(batch, Batch)
        assert all(value.is_pinned() for _, value in batch.items() if isinstance(value, torch.Tensor))


def test_layers_of_torch_geometric_read_it(store):
    from torch_geometric.nn import CGConv, global_mean_pool

    torch.manual_seed(0)
    conv = CGConv(8, dim=1).eval()
    atoms = torch.nn.Embedding(100, 8)

    def embed(batch):
        x = conv(atoms(batch.numbers), batch.edge_index, batch.bond_length[:, None])
        return global_mean_pool(x, batch.batch)

    together = embed(store.batch(np.arange(6)))
    alone = torch.cat([embed(store.batch(np.array([row]))) for row in range(6)])
    assert together.shape == (6, 8)
    torch.testing.assert_close(together, alone)
    data = store.batch(np.arange(6)).data()
    assert data.validate()
    torch.testing.assert_close(embed(data), together, rtol=0, atol=0)
