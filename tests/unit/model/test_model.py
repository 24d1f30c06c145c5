"""Predictions do not depend on how crystals are put together, and come in the order of the crystals."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tlzoo.backbones import CGCNN
from tlzoo.cards.card import Interval
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.parts import num_rows
from tlzoo.heads import Regression
from tlzoo.model import answerer
from tlzoo.model.answering import Questions, answered
from tlzoo.model.trained import Model


class Watched(CGCNN):
    """Notes how large its batches are, and has memory for so many rows."""

    def __init__(self):
        super().__init__(dim=8, depth=1, graph=GraphOptions(merge_tolerance=0))
        self.most, self.seen = 10**9, []

    def forward(self, batch):
        if num_rows(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.seen.append((batch.num_crystals, num_rows(batch)))
        return super().forward(batch)


@pytest.fixture(scope="module")
def crystals():
    """Cells of 1 to 16 atoms, large and small in turns."""
    example = named.load("semiconductors").select(np.arange(12))
    structures = [example.structure(row) for row in range(12)]
    for structure in structures[::3]:
        structure.make_supercell((2, 2, 1))
    return Crystals.from_structures(structures, ids=example.ids)


@pytest.fixture
def model():
    torch.manual_seed(0)
    backbone = Watched().eval()
    head = Regression(hidden=(8,)).bind(backbone.out_dim)
    head.fit(torch.tensor([[1.0], [2.0], [4.0]]), ["band_gap"])
    return Model(backbone=backbone, head=head.eval(), card={"targets": ["band_gap"]})


@pytest.mark.parametrize("limits", [{"batch_size": 5}, {"max_rows": 150}, {"batch_size": 2, "max_rows": 90}])
def test_limits_change_nothing_but_the_batches(limits, model, crystals):
    whole = model.predict(crystals)
    assert [seen[0] for seen in model.backbone.seen] == [12]
    assert whole["id"].tolist() == crystals.ids.tolist()
    model.backbone.seen.clear()
    table = model.predict(crystals, **limits)
    assert table["id"].tolist() == crystals.ids.tolist()
    np.testing.assert_allclose(table["band_gap"], whole["band_gap"], rtol=1e-5)
    np.testing.assert_allclose(model.embed(crystals, **limits), model.embed(crystals), rtol=1e-4, atol=1e-6)
    assert len(model.backbone.seen) > 2
    for count, rows in model.backbone.seen[: len(model.backbone.seen) // 2]:
        assert count <= limits.get("batch_size", 12)
        assert rows <= limits.get("max_rows", 10**9) or count == 1


def test_graphs_are_made_chunk_by_chunk(model, crystals, monkeypatch):
    whole = model.predict(crystals)
    made = []
    make = Questions.made
    monkeypatch.setattr(answerer, "answered", partial(answered, atoms=20))
    monkeypatch.setattr(Questions, "made", lambda self, rows: made.append(len(rows)) or make(self, rows))
    np.testing.assert_allclose(model.predict(crystals)["band_gap"], whole["band_gap"], rtol=1e-5)
    assert len(made) > 2
    assert sum(made) == 12


def test_memory_that_runs_out_stops_no_prediction(model, crystals):
    whole = model.predict(crystals)
    model.backbone.most = 300
    np.testing.assert_allclose(model.predict(crystals)["band_gap"], whole["band_gap"], rtol=1e-5)


def test_no_crystals_are_an_empty_table(model, crystals):
    nobody = crystals.select(np.arange(0))
    table = model.predict(nobody)
    assert list(table.columns) == ["id", "band_gap"]
    assert len(table) == 0
    assert model.embed(nobody).shape == (0, 8)


def test_intervals_hold_as_many_as_one_asks_for(model, crystals):
    widths = {"0.68": 0.25, "0.9": 0.5, "0.95": 0.75}
    stated = Interval(kind="absolute", widths=widths, crystals=9, left_out="left out")
    sure = replace(model, intervals={"band_gap": stated})
    for level, width in widths.items():
        (said,) = answered(crystals, sure.options, lambda stores, level=level: sure.told(stores, level)[0])
        np.testing.assert_allclose(said["band_gap_q95"] - said["band_gap"], width, rtol=1e-4)
    np.testing.assert_allclose(sure.predict(crystals)["band_gap_q95"] - said["band_gap"], 0.5, rtol=1e-4)
