"""A regression that was kept says the same as the one that was fitted."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.transfer import features
from tlzoo.transfer.features.base import Way
from tlzoo.transfer.features.features_request import Request
from tlzoo.transfer.features.layers import version_of
from tlzoo.transfer.features.learning import fit, read, transfer
from tlzoo.transfer.features.tables import base_of


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
    told = [part.model.predict(problem.features[part.name, layer][places]) for part in model.parts]
    wanted = np.average(told, axis=0, weights=[part.weight for part in model.parts])
    np.testing.assert_allclose(np.log(table["band_gap"]), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again.embed(crystals), model.known[places], rtol=1e-4, atol=1e-4)
    names = [path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert {name.rpartition(".")[2] for name in names} == {"json", "safetensors"}


def test_what_a_student_says_of_its_teacher_is_kept(crystals, tmp_path):
    """In a folder that needs nothing else, as another name of the network."""
    model, _ = fitted(features=["alignn-s-u", "cgcnn-u"], estimators=["ridge"], layer="teacher")
    model.save(tmp_path)
    again = features.load(tmp_path)
    pd.testing.assert_frame_equal(again.predict(crystals), model.predict(crystals), rtol=1e-6)
    assert len(list((tmp_path / "networks").glob("*.teacher.safetensors"))) == len(model.parts)


@pytest.mark.parametrize("estimator", ["kernel-ridge", "svr", "kernel", "gp"])
def test_kernels_are_kept_to_the_last_bit(estimator, crystals, tmp_path):
    """With two things learned: the gap and its logarithm."""
    model, _ = fitted(estimators=[estimator], log=False)
    (part,) = model.parts
    named_ways = [Way("itself"), Way("logarithm")]
    learned = [(way, part.model.parts[0][1]) for way in named_ways]
    part = replace(part, model=replace(part.model, parts=learned))
    model = replace(model, parts=[part])
    model.save(tmp_path)
    again = features.load(tmp_path)
    assert [way for way, _ in again.parts[0].model.parts] == named_ways
    pd.testing.assert_frame_equal(again.predict(crystals), model.predict(crystals), rtol=0, atol=0)
    assert list(again.predict(crystals)) == [
        "id",
        *("band_gap", "band_gap_std", "band_gap_q5", "band_gap_q95"),
    ]
    assert not [path for path in tmp_path.rglob("*") if path.suffix not in {"", ".json", ".safetensors"}]


def test_the_first_format_with_intervals_still_loads(crystals, tmp_path):
    """Without weights, ways and what a ridge says of its own errors: the mean, and no intervals."""
    model, _ = fitted(features=["cgcnn-fe", "cgcnn-gv"], layer="conv.0", estimators=["ridge"])
    model = replace(model, parts=[replace(part, weight=0.5) for part in model.parts])
    model.save(tmp_path)
    card = json.loads((tmp_path / "features.json").read_text())
    arrays = safetensors.numpy.load_file(tmp_path / "features.safetensors")
    arrays = {name: values for name, values in arrays.items() if not name.endswith("best_score_")}
    content = safetensors.numpy.save(arrays)
    (tmp_path / "features.safetensors").write_bytes(content)
    for part in card["parts"]:
        del part["weight"], part["ways"]
    del card["base"], card["calibration"]
    old = {**card, "format": 2, "sha256": hashlib.sha256(content).hexdigest()}
    (tmp_path / "features.json").write_text(json.dumps(old))
    again = features.load(tmp_path).predict(crystals)
    assert list(again) == ["id", "band_gap"]
    np.testing.assert_array_equal(again["band_gap"], model.predict(crystals)["band_gap"])


@pytest.mark.parametrize("log", [False, True])
def test_a_column_is_the_base(log, tmp_path):
    """A gap that is 30 % too small: with it fewer labels are needed, and it is needed to predict."""
    crystals = named.load("semiconductors")
    crystals = crystals.select(np.flatnonzero(crystals.columns["band_gap"] > 0))
    noise = np.random.default_rng(0).normal(size=len(crystals))
    cheap = 0.7 * crystals.columns["band_gap"] * np.exp(0.05 * noise)
    table = replace(
        crystals,
        columns={"band_gap": crystals.columns["band_gap"], "cheap": cheap},
        units={"band_gap": "eV", "cheap": "eV"},
    )
    few = table.select(np.arange(0, len(table), 3))
    few.write_parquet(tmp_path / "few.parquet")
    asked = {"sources": [str(tmp_path / "few.parquet")], "base": "cheap", "log": log, "targets": ["band_gap"]}
    for estimator in ("bayesian-ridge", "kernel-ridge"):
        model, _ = fitted(**asked, estimators=[estimator])
        assert model.base == "cheap"
        model.save(tmp_path / "kept")
        again = features.load(tmp_path / "kept")
        others = table.select(np.arange(1, len(table), 3))
        found = again.predict(others)
        np.testing.assert_array_equal(found["band_gap"], model.predict(others)["band_gap"])
        off = np.abs(found["band_gap"] - others.columns["band_gap"])
        assert off.mean() < 0.3 * np.abs(others.columns["cheap"] - others.columns["band_gap"]).mean()
        with pytest.raises(UserError, match="there is no column 'cheap'"):
            again.predict(replace(others, columns={}))
        others.columns["cheap"][3] = np.nan
        with pytest.raises(UserError, match=r"has no value of the base cheap \(1 of \d+ have none\)"):
            again.predict(others)
        assert again.embed(others).shape[0] == len(others)


@pytest.mark.parametrize(
    ("values", "unit", "log", "message"),
    [
        ("x", "eV", False, "the base cheap must be a column of numbers"),
        (1.0, "meV", False, "the base cheap is in meV, what is learned from it in eV"),
        (np.nan, "eV", False, r"has no value of the base cheap \(203 of 203 have none\)"),
        (-1.0, "eV", True, "is -1: it has no logarithm"),
    ],
)
def test_what_can_be_no_base(values, unit, log, message):
    crystals = named.load("semiconductors")
    column = np.full(len(crystals), values, dtype=object if values == "x" else np.float64)
    with pytest.raises(UserError, match=message):
        base_of(replace(crystals, columns={"cheap": column}, units={"cheap": unit}), "cheap", "eV", log=log)


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
        (
            ["forest"],
            "one estimator can be saved, of bayesian-ridge, ridge, kernel-ridge, svr, kernel, gp; got forest",
        ),
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

    (tmp_path / "features.json").write_text(json.dumps({**card, "format": 4}))
    refused("has format 4, this tlzoo reads 2 and 3: upgrade tlzoo")
    (tmp_path / "features.json").write_text(json.dumps({**card, "format": 1}))
    refused("has format 1, this tlzoo reads 2 and 3: save it again")
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


def test_physics_that_is_computed_otherwise_is_refused(tmp_path):
    pytest.importorskip("chgnet")
    model, _ = fitted()
    model.save(tmp_path)
    card = json.loads((tmp_path / "features.json").read_text())
    (network,) = card["parts"][0]["networks"]
    assert network["version"] == version_of("descriptors") == ""
    here = version_of("phonons:chgnet")
    assert here != version_of("phonons:chgnet-0.2.0")
    card["parts"][0]["networks"] = [{**network, "name": "phonons:chgnet", "version": "0.1-abc"}]
    (tmp_path / "features.json").write_text(json.dumps(card))
    message = f"learned from phonons:chgnet of version 0.1-abc, this tlzoo has {here}, .* save it again"
    with pytest.raises(UserError, match=message):
        features.load(tmp_path)
