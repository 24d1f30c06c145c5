"""A teacher's table: found by structure, kept in the order of a store, learned beside labels."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tlzoo.crystals import Crystals
from tlzoo.data import atom_table, named
from tlzoo.data.atom_table import AtomTable
from tlzoo.data.atom_targets import AtomTargets
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.perturbed import perturbed
from tlzoo.data.splits import FromColumn, Random
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
    with pytest.raises(UserError, match=r"data\.teacher speaks of the atoms of a structure, which this"):
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

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_numbers_that_are_none(self, crystals, tmp_path, value):
        """A file that something else wrote: what is infinite is cut to the largest number here."""
        some, numbers = crystals.select([0, 1]), np.zeros((crystals.num_atoms[:2].sum(), 3))
        numbers[-1, 1] = value
        natoms, hashes = some.num_atoms, atom_table.hashes(some)
        shard = atom_table.shard_of(some.ids, hashes, natoms, numbers)
        if np.isinf(value):
            flat = pa.array(numbers.astype(np.float16).reshape(-1))
            column = pa.ListArray.from_arrays(pa.array([0, *np.cumsum(3 * natoms)], pa.int32()), flat)
            shard = shard.set_column(shard.column_names.index("features"), "features", column)
        path = tmp_path / "00000.parquet"
        atom_table.write_arrow(shard, path)
        with pytest.raises(ValueError, match=f"numbers of {some.ids[1]} that are not finite"):
            atom_table.read_shard(path, 3)

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
        with pytest.raises(UserError, match="other has none of the training crystals of crystals in memory"):
            _ = data(teacher=str(folder)).split

    def test_a_table_of_the_test_crystals_alone(self, data, crystals, tmp_path):
        folder = workbench.write_teacher(tmp_path / "tests", crystals.select([11]))
        with pytest.raises(UserError, match="tests has none of the training crystals"):
            _ = data(teacher=str(folder)).split


class TestCopies:
    """What is tested never comes back to training as a copy of which the teacher knows the atoms."""

    PARTS = np.array(["train"] * 6 + ["val"] * 2 + ["test"] * 4, dtype=object)

    def divided(self, crystals, parts, copies, folder, split):
        """Divide crystals and copies of some, whose atoms a teacher knows."""
        gap = crystals.column("band_gap").astype(float)
        part = self.PARTS.copy()
        for row, other in parts.items():
            part[row] = other
        table = replace(crystals, columns={"band_gap": gap, "part": part}, origins=())
        more = perturbed(table.select(copies))
        # larger: no comparison of structures tells what they are copies of
        more = replace(more, lattice=1.1 * more.lattice)
        unknown = {"band_gap": np.full(len(more), np.nan), "part": more.columns["part"]}
        both = Crystals.concatenated(
            [
                replace(table, columns={**table.columns, "parent": np.full(len(table), None, dtype=object)}),
                replace(more, columns={**unknown, "parent": more.columns["parent"]}),
            ]
        )
        folder = workbench.write_teacher(folder, both)
        data = CrystalDataModule.from_crystals(
            both, targets=["band_gap"], split=split, teacher=str(folder), cache_dir=str(folder)
        )
        return both, data.split

    def test_those_of_training_crystals_are_learned(self, crystals, tmp_path):
        both, split = self.divided(crystals, {}, [0, 3], tmp_path / "taught", FromColumn("part"))
        assert list(both.ids[split.train[6:]]) == [f"{crystals.ids[row]}~1" for row in (0, 3)]

    def test_a_column_that_says_otherwise_is_refused(self, crystals, tmp_path):
        """The copy says train, its crystal test."""
        copy, parent = f"{crystals.ids[9]}~1", crystals.ids[9]
        told = f"'{copy}' is in the train part, but a copy of '{parent}' in the test part"

        class Wrong(FromColumn):
            def divide(self, table):
                parts = dict(super().divide(table))
                moved = np.flatnonzero(table.crystals.ids == copy)
                parts["test"] = np.setdiff1d(parts["test"], moved)
                return {**parts, "train": np.append(parts["train"], moved)}

        with pytest.raises(UserError, match=told):
            self.divided(crystals, {}, [9], tmp_path / "taught", Wrong("part"))

    def test_those_of_a_duplicate_of_a_test_crystal_are_not(self, crystals, tmp_path):
        """A training crystal without a label has the structure of a test crystal; so its copy goes, too."""
        twin = replace(crystals.select([9]), ids=np.array(["twin"], dtype=object), origins=())
        more = Crystals.concatenated([replace(crystals.select(range(11)), origins=()), twin])
        gap = np.append(more.column("band_gap")[:11].astype(float), np.nan)
        more = replace(more, columns={"band_gap": gap}, units={})
        both, split = self.divided(more, {11: "train"}, [0, 11], tmp_path / "taught", FromColumn("part"))
        learned = set(both.ids[split.train])
        assert f"{crystals.ids[0]}~1" in learned
        assert not learned & {"twin", "twin~1"}

    def test_a_random_part_of_the_labelled_holds_for_copies(self, crystals, tmp_path):
        """Drawn of the labelled alone, a crystal may be tested that would be learned from were all drawn."""
        learned = tested = 0
        for seed in range(12):
            drawn = Random(val=2, test=4, seed=seed, keep_duplicates_together=False)
            both, split = self.divided(crystals, {}, [0, 3], tmp_path / str(seed), drawn)
            part_of = {both.ids[row]: part for part, rows in split.parts.items() for row in rows}
            for parent in crystals.ids[[0, 3]]:
                copy = part_of.get(f"{parent}~1")
                learned += copy == "train"
                tested += part_of[parent] != "train"
                assert copy is None or part_of[parent] == copy == "train"
        assert learned
        assert tested
