"""The graph store: batches, keys, reuse, repair."""

import dataclasses
import json
import logging
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from tlzoo.crystals import Crystals
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.graphs import graph_store as module
from tlzoo.graphs import keys, workers
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore, store_key
from tlzoo.graphs.neighbours import neighbours
from tlzoo.graphs.workers import NoGraphError

K4 = GraphOptions(neighbours=4)
ANGLES = GraphOptions(neighbours=4, symmetric=True, angles=True)
DIRECTIONS = GraphOptions(neighbours=4, degree=2)


@pytest.fixture
def opened(crystals, tmp_path):
    """The store of the small crystals, and a function that opens it again."""

    def again(crystals=crystals, options=K4):
        return GraphStore.open(crystals, options, cache_dir=tmp_path, progress=False)

    return again(), again


@pytest.fixture
def builds(monkeypatch):
    """How many crystals graphs were made of, call by call."""
    calls = []
    counted = dataclasses.replace(
        workers.GRAPHS,
        compute=lambda cells, options: calls.append(len(cells.lattice)) or workers.graphs_of(cells, options),
    )
    monkeypatch.setattr(module, "GRAPHS", counted)
    return calls


def assert_same(one, other):
    assert list(one.keys()) == list(other.keys())
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]


class TestBatch:
    @pytest.mark.parametrize("rows", [[0], [5, 0, 3], [2, 2, 4, 2], [-1, 1]])
    @pytest.mark.parametrize("options", [K4, ANGLES, DIRECTIONS], ids=["bonds", "angles", "directions"])
    def test_equal_to_plain_concatenation(self, crystals, opened, rows, options):
        batch = opened[1](options=options).batch(np.array(rows))
        alone = [batch_of(crystals.select([row % 6]), options) for row in rows]
        assert list(batch.keys()) == list(alone[0].keys())
        atoms, bonds = 0, 0
        for i, part in enumerate(alone):
            part[keys.BATCH] += i
            part[keys.EDGE_INDEX] += atoms
            if options.angles:
                part[keys.ANGLE_INDEX] += bonds
            atoms += len(part[keys.NUMBERS])
            bonds += len(part[keys.BOND_LENGTH])
        for name, value in batch.items():
            if name != keys.NUM_CRYSTALS:
                axis = 0 if name == keys.BOND_HARMONICS else -1
                assert torch.equal(value, torch.cat([part[name] for part in alone], dim=axis)), name
        assert batch[keys.NUM_CRYSTALS] == len(rows)

    def test_equal_to_the_neighbours(self, crystals):
        lattice, atoms = crystals.lattice[4], slice(*crystals.offsets[[4, 5]])
        bonds = neighbours(lattice, crystals.frac_coords[atoms], K4)
        batch = batch_of(crystals.select([4]), GraphOptions(neighbours=4, merge_tolerance=0))
        np.testing.assert_array_equal(batch[keys.NUMBERS], crystals.numbers[atoms])
        np.testing.assert_array_equal(batch[keys.EDGE_INDEX], np.stack([bonds.source, bonds.target]))
        np.testing.assert_array_equal(batch[keys.BOND_LENGTH], bonds.length.astype(np.float32))

    def test_types_and_order(self, opened):
        batch = opened[1](options=ANGLES).batch(np.array([4, 1, 0]))
        whole = (keys.NUMBERS, keys.BATCH, keys.EDGE_INDEX, keys.ANGLE_INDEX)
        counts = (keys.ATOM_COUNT, keys.BOND_COUNT, keys.ANGLE_COUNT)
        assert {batch[name].dtype for name in whole} == {torch.int64}
        assert {batch[name].dtype for name in (keys.BOND_LENGTH, keys.ANGLE_COSINE, *counts)} == {
            torch.float32
        }
        assert all((batch[name] >= 1).all() for name in counts)
        assert (batch[keys.EDGE_INDEX][1].diff() >= 0).all()
        assert (batch[keys.ANGLE_INDEX][1].diff() >= 0).all()
        assert batch.data().num_nodes == len(batch[keys.NUMBERS])

    def test_angles_are_at_the_shared_atom(self, opened):
        batch = opened[1](options=ANGLES).batch(np.arange(6))
        source, target = batch[keys.ANGLE_INDEX]
        assert torch.equal(batch[keys.EDGE_INDEX][1, source], batch[keys.EDGE_INDEX][0, target])
        assert batch[keys.ANGLE_COSINE].abs().max() <= 1

    def test_without_angles(self, opened):
        assert keys.ANGLE_INDEX not in opened[0].batch(np.arange(6))
        assert opened[0].num_angles.tolist() == [0] * 6

    def test_of_a_few_crystals_is_the_same(self, crystals, opened):
        assert_same(batch_of(crystals.select([3, 1]), K4), opened[0].batch(np.array([3, 1])))

    def test_belongs_to_the_caller(self, opened):
        opened[0].batch(np.array([0]))[keys.BOND_LENGTH].zero_()
        assert opened[0].batch(np.array([0]))[keys.BOND_LENGTH].abs().max() > 0

    def test_row_outside(self, opened):
        with pytest.raises(IndexError):
            opened[0].batch(np.array([6]))

    def test_no_rows(self, opened):
        batch = opened[1](options=ANGLES).batch(np.array([], dtype=np.int64))
        assert [len(batch[name]) for name in (keys.NUMBERS, keys.BOND_LENGTH, keys.ANGLE_COSINE)] == [0, 0, 0]

    def test_large_crystals_have_wider_indices(self, make_crystals):
        grid = np.stack(np.meshgrid(*[np.arange(7)] * 3), axis=-1).reshape(-1, 3) / 7
        options = GraphOptions(cutoff=4, angles=True, merge_tolerance=0)
        store = GraphStore.in_memory(make_crystals((21 * np.eye(3), np.full(343, 6), grid)), options)
        assert (store.source.dtype, store.source.max()) == (np.uint16, 342)
        assert (store.angle_source.dtype, store.angle_source.max()) == (np.uint16, 343 * 6 - 1)
        assert {a.dtype for a in (store.atom_count, store.bond_count, store.angle_count)} == {
            np.dtype(np.uint8)
        }
        assert (store.num_bonds.tolist(), store.num_angles.tolist()) == ([343 * 6], [343 * 36])


def test_sizes(crystals, opened):
    store = opened[1](options=ANGLES)
    assert len(store) == len(crystals) == 6
    assert store.num_atoms[:3].tolist() == [1, 2, 3]
    assert store.num_bonds[:2].tolist() == [1, 2]
    assert store.num_angles[0] == 5
    assert store.num_atoms.sum() == len(store.numbers) == len(store.atom_count)
    assert store.num_bonds.sum() == len(store.length) == len(store.bond_count)
    assert store.num_angles.sum() == len(store.cosine) == len(store.angle_count)
    np.testing.assert_array_equal(store.site_offsets, crystals.offsets)
    assert len(store.place) == len(crystals.numbers)
    some = store.select(np.array([2, 0]))
    third = slice(*crystals.offsets[2:4])
    np.testing.assert_array_equal(some.place, [*store.place[third], *store.place[:1]])


@pytest.mark.parametrize("options", [K4, ANGLES, DIRECTIONS], ids=["bonds", "angles", "directions"])
def test_built_in_chunks(crystals, tmp_path, monkeypatch, builds, options):
    whole = GraphStore.in_memory(crystals, options)
    monkeypatch.setattr(workers, "CHUNK", 2)
    store = GraphStore.open(crystals, options, cache_dir=tmp_path, progress=False)
    parts = GraphStore.in_memory(crystals, options)
    assert builds == [6, 2, 2, 2, 2, 2, 2]
    for field in dataclasses.fields(GraphStore):
        expected = getattr(whole, field.name)
        for other in (store, parts):
            np.testing.assert_array_equal(getattr(other, field.name), expected)
            if field.name != "angles":
                assert getattr(other, field.name).dtype == expected.dtype


@pytest.mark.parametrize("options", [K4, ANGLES, DIRECTIONS], ids=["bonds", "angles", "directions"])
def test_processes_change_nothing(crystals, tmp_path, monkeypatch, builds, options):
    monkeypatch.setattr(workers, "CHUNK", 4)
    monkeypatch.setattr(workers, "FEWEST", 1)
    many = crystals.select(np.tile(np.arange(6), 4))
    for count in (1, 2, 3):
        GraphStore.open(many, options, cache_dir=tmp_path / str(count), progress=False, workers=count)
    assert builds == [4] * 6
    one, *others = (
        {path.name: path.read_bytes() for path in folder_of(tmp_path / str(count)).glob("*.npy")}
        for count in (1, 2, 3)
    )
    assert len(one) == len(dataclasses.fields(GraphStore)) - 1  # all but whether there are angles
    assert all(other == one for other in others)


class TestCache:
    def test_is_reused(self, opened, builds):
        store, again = opened
        assert_same(again().batch(np.arange(6)), store.batch(np.arange(6)))
        assert builds == []

    def test_is_memory_mapped_and_read_only(self, opened):
        assert not opened[0].length.flags.writeable
        assert isinstance(opened[0].length.base, np.memmap)

    def test_labels_and_names_do_not_matter(self, crystals, opened, builds):
        labelled = dataclasses.replace(
            crystals, ids=crystals.ids[::-1], columns={"gap": np.arange(6.0)}, origins=["x"] * 6
        )
        opened[1](labelled)
        assert builds == []

    def test_key_depends_on_options_structures_and_format(self, crystals, monkeypatch):
        variants = [
            (crystals, GraphOptions()),
            (crystals, GraphOptions(cutoff=7.9)),
            (crystals, GraphOptions(neighbours=11)),
            (crystals, GraphOptions(tie_tolerance=1e-4)),
            (crystals, GraphOptions(symmetric=True)),
            (crystals, GraphOptions(angles=True)),
            (crystals, GraphOptions(merge_tolerance=1e-3)),
            (crystals.select([1, 0, 2, 3, 4, 5]), GraphOptions()),
            (dataclasses.replace(crystals, lattice=1.001 * crystals.lattice), GraphOptions()),
        ]
        found = [store_key(*variant) for variant in variants]
        monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
        found.append(store_key(*variants[0]))
        assert len(set(found)) == len(found) == 10

    def test_place(self, crystals, tmp_path, monkeypatch):
        monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "own"))
        GraphStore.open(crystals, K4, progress=False)
        (folder,) = (tmp_path / "own" / "graphs").iterdir()
        meta = json.loads((folder / "meta.json").read_text())
        assert meta["options"] == dataclasses.asdict(K4)
        assert (meta["crystals"], meta["key"]) == (6, store_key(crystals, K4))


def folder_of(tmp_path):
    (folder,) = (tmp_path / "graphs").iterdir()
    return folder


def truncate(folder):
    path = folder / "length.npy"
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(folder):
    path = folder / "source.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def half_write(folder):
    (folder / "meta.json").unlink()


def empty_meta(folder):
    (folder / "meta.json").write_text("")


def foreign_meta(folder):
    (folder / "meta.json").write_text("[]")


def lose_a_file(folder):
    (folder / "numbers.npy").unlink()


def other_key(folder):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"key": "0"}))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (truncate, r"length.npy has [\d,]+ bytes instead of [\d,]+"),
        (flip_a_bit, "wrong checksum of source.npy"),
        (half_write, "meta.json"),
        (empty_meta, "JSONDecodeError"),
        (foreign_meta, "TypeError"),
        (lose_a_file, "numbers.npy"),
        (other_key, "made for other content"),
    ],
)
def test_damage_is_found_and_mended(opened, tmp_path, builds, caplog, damage, why):
    store, again = opened
    whole = store.batch(np.arange(6))
    damage(folder_of(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert_same(again().batch(np.arange(6)), whole)
    assert len(builds) == 1
    assert "is damaged and will be made again" in caplog.text
    assert re.search(why, caplog.text)
    again()
    assert len(builds) == 1
    assert [f.name for f in (tmp_path / "graphs").iterdir()] == [folder_of(tmp_path).name]


class TestProblems:
    @pytest.fixture
    def lonely(self, make_crystals, cells):
        alone = (40 * np.eye(3), np.array([2]), np.zeros((1, 3)))
        return make_crystals(cells["copper"], *[alone] * 12, cells["perovskite"])

    def test_all_are_listed(self, lonely, tmp_path):
        with pytest.raises(NoGraphError) as caught:
            GraphStore.open(lonely, K4, cache_dir=tmp_path, progress=False)
        lines = str(caught.value).splitlines()
        assert lines[0] == "no graph can be made of 12 of 14 crystals:"
        assert lines[1] == (
            "  crystal '1' (row 2): atom 1 (He) of 1: no neighbour within 8 Å; "
            "raise the cutoff or leave this crystal out"
        )
        assert lines[-1] == "  and 2 more"
        assert len(lines) == 12
        assert caught.value.rows == list(range(1, 13))
        assert list((tmp_path / "graphs").iterdir()) == []

    def test_origins_are_named(self, lonely):
        named = dataclasses.replace(lonely, origins=[f"{i}.cif" for i in range(14)])
        with pytest.raises(UserError, match=r"\n  3\.cif: atom 1 \(He\)"):
            batch_of(named, K4)

    def test_the_rest_has_graphs(self, lonely):
        with pytest.raises(NoGraphError) as caught:
            GraphStore.in_memory(lonely, K4)
        rest = lonely.select(np.delete(np.arange(14), caught.value.rows))
        assert GraphStore.in_memory(rest, K4).num_atoms.tolist() == [1, 3]

    def test_no_crystals(self, crystals, tmp_path):
        with pytest.raises(UserError, match="there are no crystals to make graphs of"):
            GraphStore.open(crystals.select([]), K4, cache_dir=tmp_path)
        with pytest.raises(UserError, match="there are no crystals to make graphs of"):
            batch_of(crystals.select([]), K4)


def test_an_existing_store_needs_no_structure_library(crystals, tmp_path):
    path = tmp_path / "crystals.parquet"
    crystals.write_parquet(path)
    GraphStore.open(Crystals.read_parquet(path), K4, cache_dir=tmp_path, progress=False)
    code = f"""
import sys
from pathlib import Path
from tlzoo.crystals import Crystals
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore

crystals = Crystals.read_parquet({str(path)!r})
store = GraphStore.open(crystals, GraphOptions(neighbours=4), cache_dir=Path({str(tmp_path)!r}))
store.batch([0, 5])
loaded = {{name.split(".")[0] for name in sys.modules}}
sys.stdout.write(str(sorted(loaded & {{"numpy", "pymatgen", "ase", "vesin"}})))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("['numpy']", "")


def test_real_crystals(data_dir, tmp_path):
    crystals = Crystals.read_parquet(data_dir / "piezoelectric.parquet")
    store = GraphStore.open(crystals, GraphOptions(), cache_dir=tmp_path, progress=False)
    batch = store.batch(np.arange(len(store)))
    per_atom = np.bincount(batch[keys.EDGE_INDEX][1], batch[keys.BOND_COUNT])
    assert batch[keys.ATOM_COUNT].sum() == len(crystals.numbers)
    assert per_atom.min() >= 12
    assert 12.5 < np.average(per_atom, weights=batch[keys.ATOM_COUNT]) < 14
