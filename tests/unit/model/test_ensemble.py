"""Trainings that answer together."""

import shutil

import numpy as np
import pandas as pd
import pytest

import tlzoo
from tlzoo.cards import library
from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.model import checkpoint, ensemble


@pytest.fixture
def run(tmp_path):
    """A run directory whose model answers together with another of the same network."""
    for folder, name in ((tmp_path, "cgcnn-bg"), (tmp_path / "seed-1", "cgcnn-bg")):
        folder.mkdir(exist_ok=True)
        for ending in (".safetensors", ".json"):
            shutil.copy(library.locate(name).with_suffix(ending), folder / f"model{ending}")
    loaded = checkpoint.load(tmp_path / "seed-1" / "model.safetensors")
    for parameter in loaded.head.parameters():
        parameter.data *= 1.1
    checkpoint.save(tmp_path / "seed-1" / "model.safetensors", loaded.backbone, loaded.head, loaded.card)
    ensemble.write(tmp_path / "model.safetensors", [tmp_path / "seed-1" / "model.safetensors"])
    return tmp_path


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(5))


def test_predictions_are_averaged_and_their_spread_is_told(run, crystals):
    together, other = tlzoo.load(run), tlzoo.load(run / "seed-1")
    assert (len(together.others), len(other.others)) == (1, 0)
    table = together.predict(crystals, batch_size=2)
    alone = np.stack([model.predict(crystals)["band_gap"] for model in (other, tlzoo.load("cgcnn-bg"))])
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    assert list(table.columns) == ["id", "band_gap", "band_gap_spread"]
    np.testing.assert_allclose(table["band_gap"], alone.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(table["band_gap_spread"], alone.std(axis=0, ddof=1), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(together.embed(crystals), tlzoo.load("cgcnn-bg").embed(crystals))
    assert together.to("cpu") is together


def test_none_left_is_no_ensemble(run, crystals):
    ensemble.write(run / "model.safetensors", [])
    pd.testing.assert_frame_equal(tlzoo.load(run).predict(crystals), tlzoo.load("cgcnn-bg").predict(crystals))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged or of another version"),
        ('{"format": 2, "others": []}', "is damaged or of another version"),
        ('{"format": 1, "others": [3]}', "is damaged or of another version"),
        ('{"format": 1, "others": ["../x/model.safetensors"]}', "which is not in the run directory"),
        ('{"format": 1, "others": ["lost/model.safetensors"]}', "lost"),
    ],
)
def test_a_wrong_file_is_refused(run, content, message):
    (run / ensemble.FILE).write_text(content)
    with pytest.raises(UserError, match=message):
        tlzoo.load(run)


def test_models_of_different_properties_do_not_answer_together(run):
    for ending in (".safetensors", ".json"):
        shutil.copy(library.locate("cgcnn-fe").with_suffix(ending), run / "seed-1" / f"model{ending}")
    with pytest.raises(UserError, match="need the same targets, got band_gap and formation_energy"):
        tlzoo.load(run)
