"""Labels from a file are learned where none is known, and nowhere else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tlzoo.data import named
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.pseudo_labels import read_pseudo_labels
from tlzoo.data.splits import FromColumn, Random
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions

UNKNOWN = np.arange(24) % 2 == 0
SAID = 100.0 + np.arange(24)


@pytest.fixture(scope="module")
def crystals():
    """Every other label is unknown; a third of the crystals in each part."""
    table = named.load("semiconductors").select(np.arange(24))
    gap = np.where(UNKNOWN, np.nan, table.column("band_gap").astype(float))
    part = np.array(["train", "val", "test"], dtype=object)[np.arange(24) // 2 % 3]
    return replace(table, columns={"band_gap": gap, "part": part})


@pytest.fixture(params=[".csv", ".parquet"])
def said(request, crystals, tmp_path):
    """What a model says of all crystals, in another order, and of one that is not there."""
    order = np.random.default_rng(0).permutation(24)
    table = pd.DataFrame({"id": [*crystals.ids[order], "another"], "band_gap": [*SAID[order], 7.0]})
    path = tmp_path / f"said{request.param}"
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


def module(crystals, split=FromColumn("part"), **options):  # noqa: B008 (frozen)
    return CrystalDataModule.from_crystals(crystals, targets=["band_gap"], split=split, **options)


def learned(data, tmp_path):
    """What the training batches hold, by row."""
    data.cache_dir = tmp_path
    data.open_graphs(GraphOptions())
    return {
        int(row): float(value)
        for batch in data.train_dataloader()
        for row, value in zip(batch[keys.ROW], batch[keys.TARGETS][:, 0], strict=True)
    }


def test_training_crystals_without_a_label_get_the_one_of_the_file(crystals, said, tmp_path):
    data = module(crystals, pseudo_labels=str(said))
    train = np.flatnonzero(crystals.column("part") == "train")
    known = crystals.column("band_gap")
    expected = {int(row): SAID[row] if UNKNOWN[row] else known[row] for row in train}
    assert learned(data, tmp_path) == pytest.approx(expected)
    assert "4 of the training crystals have only pseudo-labels" in data.split.describe()


def test_other_labels_are_another_split(crystals, said, tmp_path):
    """So that a run, which compares the file, does not go on with other labels."""
    table = pd.read_parquet(said) if said.suffix == ".parquet" else pd.read_csv(said)
    table.assign(band_gap=table["band_gap"] + 1).to_csv(tmp_path / "other.csv", index=False)
    one, other = (module(crystals, pseudo_labels=str(path)) for path in (said, tmp_path / "other.csv"))
    assert one.split.to_json(crystals.ids) != other.split.to_json(crystals.ids)
    again = module(crystals, pseudo_labels=str(said))
    assert one.split.to_json(crystals.ids) == again.split.to_json(crystals.ids)


def test_nothing_else_has_labels_from_the_file(crystals, said, tmp_path):
    plain, data = module(crystals), module(crystals, pseudo_labels=str(said))
    for part in ("val", "test"):
        np.testing.assert_array_equal(plain.split.parts[part], data.split.parts[part])
    values = data.target_values(data.used_rows)[:, 0].numpy()
    np.testing.assert_array_equal(np.isnan(values), UNKNOWN[data.used_rows])
    # the scaler is fitted to known labels, and so is what the training part is measured on
    known = data.train_targets()
    assert torch.equal(known[~known.isnan()], plain.train_targets()[:, 0])
    data.cache_dir = tmp_path
    data.open_graphs(GraphOptions())
    (batch,) = data.part_dataloader("train")
    assert torch.equal(batch[keys.TARGETS].isnan(), known.isnan())


def test_labelled_crystals_keep_their_parts_in_a_random_split(crystals, said):
    split = Random(val=2, test=3, keep_duplicates_together=False)
    plain, data = module(crystals, split), module(crystals, split, pseudo_labels=str(said))
    for part in ("val", "test"):
        np.testing.assert_array_equal(plain.split.parts[part], data.split.parts[part])
    assert set(plain.split.train) < set(data.split.train)
    assert UNKNOWN[np.setdiff1d(data.split.train, plain.split.train)].all()


def test_a_copy_of_a_test_crystal_is_not_learned(crystals, said):
    split = Random(val=2, test=3)
    test = module(crystals, split).split.test
    rows = np.concatenate([np.arange(24), test])
    columns = {"band_gap": np.append(crystals.column("band_gap"), [np.nan] * len(test))}
    ids = np.append(crystals.ids, [f"copy-{row}" for row in test]).astype(object)
    doubled = replace(crystals.select(rows), columns=columns, ids=ids, origins=())
    table = pd.DataFrame({"id": ids, "band_gap": 1.0})
    table.to_csv(said.with_suffix(".csv"), index=False)
    data = module(doubled, split, pseudo_labels=str(said.with_suffix(".csv")))
    twins = dict(zip(np.arange(24, len(doubled)), test, strict=True))
    held_out = [copy for copy, twin in twins.items() if twin in (*data.split.val, *data.split.test)]
    assert held_out
    assert not set(held_out) & set(data.split.train)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,gap\na,1\n", "has the columns id, gap; wanted id and band_gap, as `tlzoo predict"),
        ("id,band_gap\na,1\n", "has none of the crystals; its first is 'a'"),
        ("id,band_gap\n", "is empty"),
        ("id,band_gap\n{0},1\n{0},2\n", "has '{0}' twice"),
        ("id,band_gap\n{0},1\n{1},wide\n", "band_gap of {1} is wide, no finite number"),
        ("id,band_gap\n{0},inf\n", "band_gap of {0} is inf, no finite number"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(content, message, crystals, tmp_path):
    path = tmp_path / "said.csv"
    path.write_text(content.format(*crystals.ids))
    with pytest.raises(UserError) as caught:
        read_pseudo_labels(path, crystals, ["band_gap"])
    assert str(caught.value).startswith(f"data.pseudo_labels {path}")
    assert message.format(*crystals.ids) in str(caught.value)


def test_a_file_that_is_not_there_or_no_table_is_refused(crystals, tmp_path):
    with pytest.raises(UserError, match=r"is not there; `tlzoo predict MODEL DATA -o .*none.csv` writes it"):
        read_pseudo_labels(tmp_path / "none.csv", crystals, ["band_gap"])
    with pytest.raises(UserError, match=r"must end in \.csv or \.parquet"):
        read_pseudo_labels(tmp_path / "none.json", crystals, ["band_gap"])
    (tmp_path / "broken.parquet").write_text("no table")
    with pytest.raises(UserError, match="cannot be read"):
        read_pseudo_labels(tmp_path / "broken.parquet", crystals, ["band_gap"])


def test_shuffled_labels_and_pseudo_labels_exclude_each_other(crystals, said):
    with pytest.raises(UserError, match="exclude each other"):
        module(crystals, pseudo_labels=str(said), shuffle_labels=1)
