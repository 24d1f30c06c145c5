"""The store of descriptors: batches, cache by content, processes, crystals without descriptors."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.descriptors import descriptor_store as module
from tlzoo.descriptors.descriptor_chunk import DESCRIPTORS, descriptors_of, names
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.descriptor_store import DescriptorStore
from tlzoo.descriptors.stores import batch_of
from tlzoo.descriptors.suitability import unusable
from tlzoo.errors import UserError
from tlzoo.graphs import keys, workers
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.workers import NoGraphError, Workers
from tlzoo.zoo.reference import reference_crystals

BOTH = DescriptorOptions()


@pytest.fixture(scope="module")
def crystals():
    return reference_crystals()


@pytest.fixture
def computed(monkeypatch):
    """How many crystals were described, call by call."""
    calls = []
    counted = dataclasses.replace(
        DESCRIPTORS, compute=lambda cells, o: calls.append(len(cells.lattice)) or descriptors_of(cells, o)
    )
    monkeypatch.setattr(module, "DESCRIPTORS", counted)
    return calls


def test_computed_once_per_structures_and_options(crystals, tmp_path, computed):
    def opened(crystals, options=BOTH):
        return DescriptorStore.open(crystals, options, cache_dir=tmp_path, progress=False)

    first = opened(crystals)
    assert computed == [16]
    again = opened(dataclasses.replace(crystals, ids=crystals.ids[::-1]))
    assert computed == [16]
    np.testing.assert_array_equal(again.values, first.values)
    opened(crystals, DescriptorOptions(structure=False))
    opened(crystals.select([1, 0]))
    assert computed == [16, 16, 2]
    assert {path.name for path in (tmp_path / "descriptors").iterdir()} == {
        module.store_key(crystals, BOTH)[:32],
        module.store_key(crystals, DescriptorOptions(structure=False))[:32],
        module.store_key(crystals.select([1, 0]), BOTH)[:32],
    }


def test_composition_comes_first(crystals):
    whole = DescriptorStore.in_memory(crystals, BOTH)
    parts = [
        DescriptorStore.in_memory(crystals, DescriptorOptions(composition=c, structure=not c))
        for c in (True, False)
    ]
    np.testing.assert_array_equal(whole.values, np.concatenate([part.values for part in parts], axis=1))
    assert whole.names == parts[0].names + parts[1].names == names(BOTH)
    assert whole.values.shape == (16, 290 + 62)
    assert np.isfinite(whole.values).all()


def test_batches(crystals):
    store = DescriptorStore.in_memory(crystals, BOTH)
    batch = store.batch(np.array([3, 3, 0]))
    assert batch[keys.NUM_CRYSTALS] == 3
    assert torch.equal(batch[keys.DESCRIPTORS], torch.from_numpy(store.values[[3, 3, 0]]))
    assert torch.equal(batch[keys.DESCRIPTORS], batch_of(crystals.select([3, 3, 0]), BOTH)[keys.DESCRIPTORS])
    batch[keys.DESCRIPTORS].zero_()
    assert store.values[3].any()


def test_processes_change_nothing(tmp_path, monkeypatch):
    crystals = named.load("semiconductors").select(np.arange(40))
    alone = DescriptorStore.in_memory(crystals, BOTH)
    monkeypatch.setattr(workers, "CHUNK", 8)
    monkeypatch.setattr(workers, "FEWEST", 1)
    store = DescriptorStore.open(crystals, BOTH, cache_dir=tmp_path, progress=False, workers=2)
    np.testing.assert_array_equal(store.values, alone.values)


def test_they_import_no_torch(crystals):
    with Workers(1, BOTH, DESCRIPTORS) as pool:
        (chunk,) = pool.map(iter([cells_of(crystals, 0, 3)]))
        maps = Path(f"/proc/{pool._processes[0].pid}/maps").read_text()
    assert "libtorch" not in maps
    assert chunk.arrays["values"].shape == (3, 352)


def strange(crystals):
    """An element nobody knows much of, an isolated atom, and crystals that are as they should be."""
    lattice = np.stack([crystals.lattice[0], np.eye(3) * 4, np.eye(3) * 40, crystals.lattice[1]])
    return Crystals(
        ids=np.array(["diamond", "fermium", "alone", "NaCl"], dtype=object),
        lattice=lattice,
        offsets=np.array([0, 2, 3, 4, 6]),
        numbers=np.array([6, 6, 100, 8, 11, 17], dtype=np.uint8),
        frac_coords=np.array([[0, 0, 0], [0.25] * 3, [0, 0, 0], [0, 0, 0], [0, 0, 0], [0.5] * 3]),
    )


def test_crystals_without_descriptors_are_all_named(crystals, tmp_path):
    mixed = strange(crystals)
    with pytest.raises(NoGraphError) as caught:
        DescriptorStore.open(mixed, BOTH, cache_dir=tmp_path, progress=False)
    assert caught.value.rows == [1, 2]
    assert str(caught.value) == (
        "no descriptors can be made of 2 of 4 crystals:\n"
        "  crystal 'fermium' (row 2): there are no descriptors of Fm; they cover H to Es: leave this crystal "
        "out\n"
        "  crystal 'alone' (row 3): atom 1 (O) of 1: no neighbour within 8 Å; raise the cutoff or leave this "
        "crystal out"
    )
    assert not list((tmp_path / "descriptors").iterdir())
    assert [row for row, _ in unusable(mixed, BOTH)] == [1, 2]
    # the composition of an isolated atom is a composition
    assert [row for row, _ in unusable(mixed, DescriptorOptions(structure=False))] == [1]


def test_the_others_are_described_as_they_would_be_alone(crystals):
    mixed = strange(crystals)
    chunk = descriptors_of(cells_of(mixed, 0, 4), BOTH)
    alone = DescriptorStore.in_memory(mixed.select([0, 3]), BOTH)
    np.testing.assert_array_equal(chunk.arrays["values"], alone.values)


def test_something_must_be_described(crystals):
    with pytest.raises(UserError, match="of the composition, of the structure, or of both"):
        DescriptorOptions(composition=False, structure=False)
    with pytest.raises(UserError, match="there are no crystals to describe"):
        DescriptorStore.in_memory(crystals.select([]), BOTH)
