"""The data module: crystals from Python, ids to leave out, which targets and batches."""

import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tlzoo.data import named
from tlzoo.data.loader import gathering
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import PaperTrial, Random
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions

ON_GPU = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cuda")))
SPLIT = Random(val=4, test=4, keep_duplicates_together=False)


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(24))


@pytest.fixture
def data(crystals, tmp_path):
    data = CrystalDataModule.from_crystals(
        crystals, targets=["band_gap"], split=SPLIT, batch_size=5, cache_dir=str(tmp_path)
    )
    data.open_graphs(GraphOptions())
    return data


def test_every_training_crystal_comes_once_with_its_own_label(data):
    seen = []
    for batch in data.train_dataloader():
        rows = batch[keys.ROW].numpy()
        np.testing.assert_allclose(
            batch[keys.TARGETS][:, 0].numpy(), data.crystals.column("band_gap")[rows].astype(np.float32)
        )
        for i, row in enumerate(rows):
            atoms = slice(*data.crystals.offsets[row : row + 2])
            here = batch[keys.BATCH] == i
            mine = batch[keys.NUMBERS][here].repeat_interleave(batch[keys.ATOM_COUNT][here].long()).numpy()
            np.testing.assert_array_equal(np.sort(mine), np.sort(data.crystals.numbers[atoms]))
        seen.extend(rows)
    assert sorted(seen) == sorted(data.split.train)


def test_batches_gathered_by_processes_are_the_same(data, monkeypatch):
    def epochs(gathering):
        monkeypatch.setattr(data, "trainer", ON_GPU)
        monkeypatch.setattr("tlzoo.data.loader.gathering", lambda _: gathering)
        loader = data.train_dataloader()
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            yield from loader

    alone = epochs({})
    together = epochs({"num_workers": 2, "persistent_workers": True})
    for ours, theirs in zip(alone, together, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            torch.testing.assert_close(theirs[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("batches", "memory", "workers"), [(10, 2**31, 0), (99, 2**31, 1), (5000, 2**31, 6), (5000, 2**26, 0)]
)
def test_processes_gather_for_a_gpu(batches, memory, workers, monkeypatch):
    monkeypatch.setattr("tlzoo.data.loader.usable_cores", lambda: 16)
    monkeypatch.setattr("tlzoo.data.loader.shared_memory", lambda: memory)
    found = gathering(batches)
    assert found == {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": True}


def test_nothing_gathers_for_a_cpu(data, monkeypatch):
    monkeypatch.setattr("tlzoo.data.loader.gathering", lambda _: pytest.fail("for a CPU"))
    assert data.train_dataloader().num_workers == 0
    data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")))
    assert data.train_dataloader().num_workers == 0
    data.trainer = ON_GPU
    with pytest.raises(pytest.fail.Exception, match="for a CPU"):
        data.train_dataloader()


@pytest.mark.parametrize("field", [keys.BOND_LENGTH, keys.ANGLE_COSINE])
def test_a_budget_of_rows_bounds_every_batch(field, crystals, tmp_path, caplog):
    options = GraphOptions(angles=field == keys.ANGLE_COSINE, merge_tolerance=0)
    largest = 2000 if options.angles else 200
    module = CrystalDataModule.from_crystals(
        crystals, targets=["band_gap"], split=SPLIT, max_rows=largest, cache_dir=str(tmp_path)
    )
    module.open_graphs(options)
    with caplog.at_level(logging.INFO):
        batches = list(module.train_dataloader())
    assert [record.message for record in caplog.records] == [
        f"batches of {round(16 / len(batches))} crystals on average, not 64: data.max_rows is {largest}"
    ]
    assert 1 < len(batches) < 16
    for loader in (batches, module.val_dataloader(), module.test_dataloader()):
        sizes = [len(batch[field]) for batch in loader]
        assert max(sizes) <= largest
    assert sum(batch[keys.NUM_CRYSTALS] for batch in batches) == len(module.split.train) == 16


def test_the_usual_budget_changes_no_batch_of_small_cells(data, caplog):
    with caplog.at_level(logging.INFO):
        sizes = [batch[keys.NUM_CRYSTALS] for batch in data.train_dataloader()]
    assert sorted(sizes) == [5, 5, 6]
    assert not caplog.records


def test_excluded_ids_are_in_no_part(crystals):
    module = CrystalDataModule.from_crystals(
        crystals, targets=["band_gap"], exclude=[crystals.ids[3]], split=SPLIT
    )
    assert len(module.crystals) == 23
    assert crystals.ids[3] not in module.crystals.ids


def test_compositions_with_a_value_elsewhere_are_left_out(crystals, tmp_path):
    """Polymorphs too; a crystal without the value stays."""
    formulas = np.array(crystals.formulas)
    other = crystals.select([0, 1])
    other.columns["kappa"] = np.array([3.0, np.nan])
    other.write_parquet(tmp_path / "few.parquet")
    module = CrystalDataModule.from_crystals(
        crystals, targets=["band_gap"], leave_out={str(tmp_path / "few.parquet"): "kappa"}, split=SPLIT
    )
    wanted = crystals.ids[formulas != formulas[0]]
    assert formulas[1] != formulas[0]
    assert module.crystals.ids.tolist() == wanted.tolist()
    with pytest.raises(UserError, match="there is no column 'nix'"):
        CrystalDataModule.from_crystals(crystals, leave_out={"semiconductors": "nix"})


def test_a_published_list_may_name_all_that_is_taken_out(crystals, tmp_path):
    """By its id or by its composition, also where the table is another module's."""
    ids = crystals.ids.tolist()
    lists = {"phonons": {"test": ids[16:], "trials": {"1": {"20": ids[:16]}}}}
    (tmp_path / "paper.json").write_text(json.dumps(lists))
    other = crystals.select([0])
    other.columns["kappa"] = np.array([3.0])
    other.write_parquet(tmp_path / "few.parquet")
    arguments = {
        "targets": ["band_gap"],
        "split": PaperTrial(size=20, dataset="phonons", path=str(tmp_path / "paper.json")),
        "exclude": [ids[20]],
        "leave_out": {str(tmp_path / "few.parquet"): "kappa"},
    }
    module = CrystalDataModule.from_crystals(crystals, **arguments)
    split = module.split
    assert len(module.crystals) < 23
    assert sum(map(len, split.parts.values())) == len(module.crystals)
    sharing = CrystalDataModule("crystals in memory", **arguments)
    sharing.share(module, split=False)
    assert sharing.split.test.tolist() == split.test.tolist()


def test_an_unknown_id_to_exclude_is_refused(crystals):
    with pytest.raises(UserError, match=r"data\.exclude names ids that are not in .*: nobody"):
        CrystalDataModule.from_crystals(crystals, targets=["band_gap"], exclude=["nobody"])


def test_targets_must_be_named_where_there_are_several(crystals):
    module = CrystalDataModule.from_crystals(crystals)
    with pytest.raises(UserError, match=r"data\.targets must name the column"):
        _ = module.targets


def test_the_scaler_sees_the_training_part_alone(data):
    expected = data.crystals.column("band_gap")[data.split.train].astype(np.float32)
    np.testing.assert_array_equal(data.train_targets()[:, 0].numpy(), expected)


def test_no_test_part_is_said(crystals, tmp_path):
    split = Random(val=4, test=0, keep_duplicates_together=False)
    module = CrystalDataModule.from_crystals(
        crystals, targets=["band_gap"], split=split, cache_dir=str(tmp_path)
    )
    module.open_graphs(GraphOptions())
    with pytest.raises(UserError, match="the split has no test part"):
        module.test_dataloader()


def test_a_batch_needs_a_crystal():
    with pytest.raises(UserError, match="batch_size must be at least 1, got 0"):
        CrystalDataModule("semiconductors", batch_size=0)


def test_shuffled_labels_are_those_of_the_same_part(crystals, caplog):
    def shuffled(seed):
        options = {"targets": ["band_gap"], "split": SPLIT, "shuffle_labels": seed}
        return CrystalDataModule.from_crystals(crystals, **options)

    plain, mixed = shuffled(None), shuffled(7)
    for part, rows in plain.split.parts.items():
        np.testing.assert_array_equal(rows, mixed.split.parts[part])
        before, after = plain.target_values(rows)[:, 0], mixed.target_values(rows)[:, 0]
        assert before.sort().values.tolist() == after.sort().values.tolist()
        assert (before.tolist() == after.tolist()) == (part == "test")
    assert mixed.train_targets().tolist() == shuffled(7).train_targets().tolist()
    assert mixed.train_targets().tolist() != shuffled(8).train_targets().tolist()
    assert "a control: labels of the training and validation part are shuffled" in mixed.split.describe()
    assert caplog.records[0].levelname == "WARNING"
    assert caplog.records[0].message.startswith("data.shuffle_labels is 7: a control")
    assert "control" not in plain.split.describe()
    with pytest.raises(UserError, match=r"shuffle_labels must be a seed, 0 or more, got -1"):
        shuffled(-1)


def test_all_labels_of_a_crystal_go_together(crystals):
    gap = crystals.column("band_gap")
    both = replace(crystals, columns={"gap": gap, "minus": np.where(np.arange(24) % 3, -gap, np.nan)})
    data = CrystalDataModule.from_crystals(both, targets=["gap", "minus"], split=SPLIT, shuffle_labels=1)
    values = data.train_targets()
    known = ~values[:, 1].isnan()
    assert 0 < known.sum() < len(known)
    assert (values[known, 0] == -values[known, 1]).all()
