"""Rare labels come more often, the others once."""

import numpy as np
import pytest
import torch

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.oversampling import repeated
from tlzoo.data.splits import Random
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions


def known(count, **rows):
    table = np.zeros((count, 1 + len(rows)), dtype=bool)
    table[:, 0] = True
    for column, (first, last) in enumerate(rows.values(), start=1):
        table[first:last, column] = True
    return table


def test_nothing_is_repeated_without_need():
    table = known(100, common=(0, 30))
    for share in (0.0, 0.3):
        np.testing.assert_array_equal(repeated(table, share), np.arange(100))


def test_a_rare_label_is_brought_up_to_the_share():
    times = np.bincount(repeated(known(1000, rare=(10, 16), common=(100, 400)), 0.05))
    # 50 of 1,000 are wanted, 6 are there: nine times
    assert times[10:16].tolist() == [9] * 6
    assert times.sum() == 1000 + 6 * 8


def test_the_rarest_label_of_a_crystal_decides():
    times = np.bincount(repeated(known(100, rare=(0, 10), rarest=(5, 7)), 0.2))
    assert times[:8].tolist() == [2, 2, 2, 2, 2, 10, 10, 2]


def test_a_target_without_labels_and_no_crystals_are_no_problem():
    np.testing.assert_array_equal(repeated(known(4, unknown=(0, 0)), 0.5), np.arange(4))
    assert len(repeated(np.zeros((0, 2), dtype=bool), 0.1)) == 0


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_the_share_is_a_part(share):
    with pytest.raises(UserError, match=r"oversample is a part of the crystals, from 0 to 0\.5, got"):
        repeated(known(3), share)


def test_an_epoch_of_the_data_module_has_them(tmp_path):
    crystals = named.load("semiconductors").select(np.arange(24))
    rare = np.where(np.arange(24) < 6, 1.0, np.nan)
    columns = {"band_gap": crystals.column("band_gap"), "rare": rare}
    crystals = Crystals(**{**vars(crystals), "columns": columns})
    data = CrystalDataModule.from_crystals(
        crystals,
        targets=["band_gap", "rare"],
        split=Random(val=3, test=3, keep_duplicates_together=False),
        batch_size=5,
        oversample=0.5,
        cache_dir=str(tmp_path),
    )
    data.open_graphs(GraphOptions())
    labelled = int(np.isfinite(rare[data.split.train]).sum())
    rows = torch.cat([batch[keys.ROW] for batch in data.train_dataloader()]).numpy()
    times = np.bincount(rows, minlength=24)[data.split.train]
    expected = np.where(np.isfinite(rare[data.split.train]), np.ceil(0.5 * 18 / labelled), 1)
    np.testing.assert_array_equal(times, expected)
    assert times.max() > 1
    # measured, every crystal counts once
    for part in ("train", "val"):
        rows = torch.cat([batch[keys.ROW] for batch in data.part_dataloader(part)]).numpy()
        np.testing.assert_array_equal(rows, getattr(data.split, part))
