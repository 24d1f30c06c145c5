"""A regression that was kept says the same as the one that was fitted."""

import json

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.transfer import features
from tlzoo.transfer.features.features_request import Request
from tlzoo.transfer.features.learning import fit, read, transfer


def request(**changes):
    facts = {
        "sources": ["semiconductors"],
        "targets": ["band_gap"],
        "features": ["descriptors"],
        "layer": "structure",
    }
    return Request(**{**facts, "cv": "3-fold", "log": True, **changes})


def fitted(**changes):
    asked = request(**changes)
    problem = read(asked)
    return fit(problem, transfer(asked, problem)), problem


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(0, 192, 16))


@pytest.mark.parametrize("estimator", ["bayesian-ridge", "ridge"])
@pytest.mark.parametrize(
    "names", [["descriptors"], ["cgcnn-fe"], ["cgcnn-fe+descriptors", "cgcnn-gv"]], ids="-".join
)
def test_what_was_kept_says_the_same(names, estimator, crystals, tmp_path):
    layer = "structure" if names == ["descriptors"] else "conv.0"
    model, problem = fitted(features=names, estimators=[estimator], layer=layer)
    model.save(tmp_path / "kept")
    again = features.load(tmp_path / "kept")
    table = again.predict(crystals)
    pd.testing.assert_frame_equal(table, model.predict(crystals), rtol=1e-6)
    assert table["id"].tolist() == crystals.ids.tolist()
    # the regression's own answers, from the features as they were read
    place = {name: i for i, name in enumerate(problem.crystals.ids)}
    places = [place[name] for name in crystals.ids]
    wanted = np.mean(
        [part.model.predict(problem.features[part.name, layer][places]) for part in model.parts], axis=0
    )
    np.testing.assert_allclose(np.log(table["band_gap"]), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again.embed(crystals), model.known[places], rtol=1e-4, atol=1e-4)
    names = [path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert {name.rpartition(".")[2] for name in names} == {"json", "safetensors"}


def test_intervals_are_those_of_the_mixture_calibrated(crystals):
    model, problem = fitted(features=["cgcnn-fe", "descriptors"], layer="auto", log=True)
    table = model.predict(crystals)
    assert list(table) == ["id", "band_gap", "band_gap_std", "band_gap_q5", "band_gap_q95"]
    widths = model.card["calibration"]["widths"]
    assert widths["0.68"] < widths["0.9"] < widths["0.95"]
    ratio = widths["0.9"] / widths["0.68"]
    deviation = table["band_gap_std"] / table["band_gap"]
    np.testing.assert_allclose(np.log(table["band_gap_q95"] / table["band_gap"]), ratio * deviation)
    np.testing.assert_allclose(np.log(table["band_gap"] / table["band_gap_q5"]), ratio * deviation)
    # the widths are those of crystals left out: what it was fitted to it knows better
    everything = model.predict(problem.crystals)
    inside = problem.labels.truth >= everything["band_gap_q5"]
    inside &= problem.labels.truth <= everything["band_gap_q95"]
    assert inside.mean() > 0.9


def test_intervals_may_be_of_the_unit_itself(crystals):
    plain, _ = fitted(log=False)
    table = plain.predict(crystals)
    assert (table["band_gap_std"] > 0).all()
    np.testing.assert_allclose(
        table["band_gap_q95"] - table["band_gap"], table["band_gap"] - table["band_gap_q5"]
    )


def test_the_card_says_what_was_learned(tmp_path):
    model, problem = fitted()
    model.save(tmp_path)
    card = json.loads((tmp_path / "features.json").read_text())
    assert card["target"] == "band_gap"
    assert card["unit"] == "eV"
    (table,) = card["tables"]
    assert table["source"] == "semiconductors"
    assert table["crystals"] == problem.crystals.ids.tolist()
    assert {"Si", "Ga", "O"} <= set(card["elements"])
    assert card["judged"]["figures"]["ln"]["mae"] > 0


def test_no_crystals_no_rows(crystals):
    table = fitted()[0].predict(crystals.select([]))
    assert table.shape == (0, 5)


@pytest.mark.parametrize(
    ("estimators", "message"),
    [
        (["forest"], "one estimator can be saved, bayesian-ridge or ridge, got forest"),
        (["ridge", "bayesian-ridge"], "got ridge, bayesian-ridge"),
    ],
)
def test_what_cannot_be_kept(estimators, message):
    problem = read(request(estimators=estimators))
    report = transfer(request(estimators=["ridge"]), problem)
    with pytest.raises(UserError, match=message):
        fit(problem, report)


def test_damage_is_found(tmp_path):
    model, _ = fitted(features=["cgcnn-fe"], layer="conv.0")
    with pytest.raises(UserError, match=r"holds no features\.json: name a folder that"):
        features.load(tmp_path)
    model.save(tmp_path)
    card = json.loads((tmp_path / "features.json").read_text())
    arrays = safetensors.numpy.load_file(tmp_path / "features.safetensors")

    def refused(message):
        with pytest.raises(UserError, match=message):
            features.load(tmp_path)
        model.save(tmp_path)

    (tmp_path / "features.json").write_text(json.dumps({**card, "format": 3}))
    refused("has format 3, this tlzoo reads 2: upgrade tlzoo")
    (tmp_path / "features.json").write_text(json.dumps({**card, "format": 1}))
    refused("has format 1, this tlzoo reads 2: save it again")
    (tmp_path / "features.json").write_text(json.dumps({**card, "parts": [{}]}))
    refused("is damaged")
    safetensors.numpy.save_file(
        {**arrays, "0.coef_": 2 * arrays["0.coef_"]}, tmp_path / "features.safetensors"
    )
    refused(r"features\.safetensors is damaged or was changed")
    (tmp_path / "features.safetensors").write_bytes(b"\x80\x04}.")
    refused(r"features\.safetensors is damaged or was changed")
    (tmp_path / "networks" / "0.safetensors").write_bytes(b"other")
    refused("is not the network of cgcnn-fe")
