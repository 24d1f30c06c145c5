"""A teacher's table: found by structure, kept in the order of a store, learned beside labels."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tlzoo.data import atom_table, named
from tlzoo.data.atom_table import AtomTable
from tlzoo.data.atom_targets import AtomTargets
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import FromColumn
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.stores import open_store
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.testing import workbench

DIM = 5
DIMLESS, SHARDLESS = '{"dim": "x", "shards": {}}', '{"dim": 3, "shards": [1]}'
KNOWN = np.array([7, 2, 3, 11, 4])


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(12))


@pytest.fixture
def table(crystals, tmp_path):
    """The atoms of five crystals, in another order and by other ids, in two shards."""
    some = crystals.select(KNOWN)
    folder = workbench.write_teacher(
        tmp_path / "taught", replace(some, ids=np.array([*"abcde"], dtype=object))
    )
    (shard,) = AtomTable.open(folder).read()
    first, second = slice(0, 2), slice(2, 5)
    for number, part in enumerate((first, second)):
        atoms = slice(shard.offsets[part.start], shard.offsets[part.stop])
        natoms = np.diff(shard.offsets)[part]
        atom_table.write_shard(
            folder / "shards" / f"{number:05}.parquet",
            shard.ids[part],
            shard.hashes[part],
            natoms,
            shard.features[atoms],
        )
    return atom_table.finish(folder, DIM), shard


@pytest.mark.parametrize(
    "options",
    [GraphOptions(), GraphOptions(angles=True), GraphOptions(merge_tolerance=0.0), VectorOptions(cutoff=5.0)],
    ids=str,
)
def test_targets_are_means_over_the_atoms_that_one_stands_for(crystals, table, options, tmp_path):
    store = open_store(crystals, options, cache_dir=tmp_path)
    targets = AtomTargets.open(table[0], crystals, store, options, cache_dir=tmp_path)
    rows = np.array([4, 0, 11, 4])
    batch, found = store.batch(rows), targets.gathered(rows)
    assert found.dtype == torch.float32
    assert found.shape == (len(batch[keys.NUMBERS]), DIM)
    for i, row in enumerate(rows):
        here = found[batch[keys.BATCH] == i]
        at = np.flatnonzero(row == KNOWN)
        if not len(at):
            assert here.isnan().all()
            continue
        said = table[1].features[table[1].offsets[at[0]] : table[1].offsets[at[0] + 1]].astype(float)
        place = np.arange(len(said))
        if isinstance(options, GraphOptions):
            place = store.place[store.site_offsets[row] : store.site_offsets[row + 1]]
        for atom, mean in enumerate(here):
            np.testing.assert_allclose(mean, said[place == atom].mean(axis=0), atol=2e-3)
    again = AtomTargets.open(table[0], crystals, store, options, cache_dir=tmp_path)
    assert isinstance(again.values.base, np.memmap)
    np.testing.assert_array_equal(again.values, targets.values)


def test_structures_are_compared_not_ids(crystals, table, tmp_path):
    np.testing.assert_array_equal(np.flatnonzero(table[0].holds(crystals)), np.sort(KNOWN))
    moved = crystals.frac_coords.copy()
    moved[crystals.offsets[KNOWN[0]]] += 0.001
    assert table[0].holds(replace(crystals, frac_coords=moved)).sum() == 4
    # files keep coordinates in single precision
    crystals.write_parquet(tmp_path / "table.parquet")
    again = type(crystals).read_parquet(tmp_path / "table.parquet")
    assert atom_table.hashes(again) == atom_table.hashes(crystals)
    assert len(set(atom_table.hashes(crystals))) == 12


def test_another_table_is_other_targets(crystals, table, tmp_path):
    options = GraphOptions()
    store = open_store(crystals, options, cache_dir=tmp_path)
    one = AtomTargets.open(table[0], crystals, store, options, cache_dir=tmp_path)
    other = AtomTable.open(workbench.write_teacher(tmp_path / "other", crystals, seed=1))
    assert other.sha256 != table[0].sha256
    two = AtomTargets.open(other, crystals, store, options, cache_dir=tmp_path)
    assert np.isnan(one.values).any()
    assert not np.isnan(two.values).any()


def test_descriptors_have_no_atoms(crystals, table, tmp_path):
    options = DescriptorOptions(structure=False)
    store = open_store(crystals, options, cache_dir=tmp_path)
    with pytest.raises(UserError, match=r"data\.teacher speaks of atoms, and this network reads descriptors"):
        AtomTargets.open(table[0], crystals, store, options, cache_dir=tmp_path)


class TestRefused:
    def test_no_table(self, tmp_path):
        with pytest.raises(
            UserError, match=f"{tmp_path} is no table of atoms; `tlzoo embed MODEL DATA --atoms"
        ):
            AtomTable.open(tmp_path)

    def test_unfinished(self, table):
        (table[0].folder / "table.json").unlink()
        with pytest.raises(UserError, match=r"is not finished; run the same `tlzoo embed … --atoms` again"):
            AtomTable.open(table[0].folder)

    def test_newer(self, table):
        path = table[0].folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
        with pytest.raises(UserError, match="has format 2, this tlzoo reads 1: upgrade tlzoo"):
            AtomTable.open(table[0].folder)

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"dim": 3, "shards": [1]}', '{"dim": "x", "shards": {}}']
    )
    def test_damaged(self, table, text):
        (table[0].folder / "table.json").write_text(text)
        with pytest.raises(UserError, match=r"taught is damaged \(.+\): delete what is wrong"):
            AtomTable.open(table[0].folder)

    def test_another_shard(self, crystals, table):
        shards = table[0].folder / "shards"
        (shards / "00001.parquet").write_bytes((shards / "00000.parquet").read_bytes())
        with pytest.raises(UserError, match=r"wrong checksum of 00001\.parquet"):
            list(table[0].read())
        (shards / "00001.parquet").unlink()
        with pytest.raises(UserError, match=r"taught is damaged \(.*00001.parquet.*\): delete what is wrong"):
            table[0].holds(crystals)


class TestSplit:
    @pytest.fixture
    def data(self, crystals, tmp_path):
        """Two crystals in three are to be learned from, and a third of all has a label."""
        gap = np.where(np.isin(np.arange(12), [0, 4, 8, 11]), crystals.column("band_gap"), np.nan)
        part = np.array(["train", "val", "train"] * 3 + ["train", "val", "test"], dtype=object)
        few = replace(crystals, columns={"band_gap": gap, "part": part})

        def make(**options):
            given = {"targets": ["band_gap"], "split": FromColumn("part"), "cache_dir": str(tmp_path)}
            return CrystalDataModule.from_crystals(few, **given, **options)

        return make

    def test_what_has_a_teacher_is_learned_without_a_label(self, data, table):
        plain, taught = data(), data(teacher=str(table[0].folder))
        assert plain.split.train.tolist() == [0, 8]
        assert taught.split.train.tolist() == [0, 8, 2, 3]
        for name in ("val", "test"):
            np.testing.assert_array_equal(plain.split.parts[name], taught.split.parts[name])
        told = "2 of the training crystals have no label but the features of their atoms by teacher (SHA-256 "
        assert f"{told}{table[0].sha256[:16]})" in taught.split.describe()

    def test_batches_carry_it_where_something_is_learned_or_watched(self, data, table):
        taught = data(teacher=str(table[0].folder))
        taught.open_graphs(GraphOptions())
        for batches, seen in ((taught.train_dataloader(), {2, 3}), (taught.val_dataloader(), {4})):
            for batch in batches:
                known = ~batch[keys.ATOM_TARGETS].isnan().any(dim=1)
                rows = batch[keys.ROW][batch[keys.BATCH]]
                assert set(rows[known].tolist()) == seen
        (batch,) = taught.part_dataloader("val")
        assert keys.ATOM_TARGETS not in batch

    def test_a_table_of_other_crystals(self, data, tmp_path):
        other = named.load("semiconductors").select(np.arange(100, 103))
        folder = workbench.write_teacher(tmp_path / "other", other)
        with pytest.raises(UserError, match="other has none of the crystals of crystals in memory"):
            _ = data(teacher=str(folder)).split
