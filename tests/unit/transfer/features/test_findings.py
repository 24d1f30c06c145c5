"""Figures are those of the predictions, in the unit and in the logarithm."""

import json

import numpy as np
import pytest

from tlzoo.data import named
from tlzoo.transfer.features.findings import Report, Result
from tlzoo.transfer.features.nested import Candidate, Outcome
from tlzoo.transfer.features.tables import Table

TRUTH = np.array([1.0, 10.0, 100.0, 1000.0])
LEARNED = np.log(np.array([[2.0, 10.0, 50.0, 1000.0], [1.0, 10.0, 100.0, 1000.0]]))
FOLDS = np.array([[0, 0, 1, 1], [1, 0, 1, 0]])


def report(log, **changes):
    outcome = Outcome(
        predictions=LEARNED if log else np.exp(LEARNED),
        deviations=np.full((2, 4), 0.5),
        folds=FOLDS,
        chosen=[[Candidate("net", "a"), Candidate("net", "b", (("depth", 2),))], [Candidate("net", "a")] * 2],
    )
    facts = {
        "tables": [Table("mine", "kappa", list("abcd"))],
        "target": "kappa",
        "unit": "W/(m K)",
        "log": log,
        "crystals": named.load("semiconductors").select(np.arange(4)),
        "truth": TRUTH,
        "data_sha256": "0",
        "cv": "2-fold",
        "repeats": 2,
        "seed": 0,
        "results": [Result("net", "ridge", "composition", outcome, 0)],
    }
    return Report(**{**facts, **changes})


@pytest.mark.parametrize("log", [False, True])
def test_figures_by_hand(log):
    found = report(log)
    figures = found.figures(found.results[0])
    assert list(figures) == (["unit", "ln"] if log else ["unit"])
    first = np.array([1.0, 0.0, -50.0, 0.0])  # the second repeat is perfect
    assert figures["unit"]["mae"] == pytest.approx(np.abs(first).mean() / 2)
    assert figures["unit"]["mae_sd"] == pytest.approx(np.abs(first).mean() / np.sqrt(2))
    assert figures["unit"]["rmse"] == pytest.approx(np.sqrt(np.square(first).mean()) / 2)
    spread = np.square(TRUTH - TRUTH.mean()).sum()
    assert figures["unit"]["r2"] == pytest.approx((2 - np.square(first).sum() / spread) / 2)
    if log:
        assert figures["ln"]["mae"] == pytest.approx(2 * np.log(2) / 4 / 2)


def test_predictions_say_which_fold_and_layer(tmp_path):
    table = report(log=True).predictions()
    assert len(table) == 8
    first = table[table["repeat"] == 0]
    assert first["fold"].tolist() == [0, 0, 1, 1]
    assert first["layer"].tolist() == ["a", "a", "b", "b"]
    np.testing.assert_allclose(first["prediction"], np.exp(LEARNED[0]))
    assert first["target"].tolist() == TRUTH.tolist()
    assert first["id"].tolist() == named.load("semiconductors").ids[:4].tolist()


def test_content_is_plain():
    content = json.loads(json.dumps(report(log=True).content()))
    (result,) = content["results"]
    assert result["layers"] == {"a": 3, "b": 1}
    assert result["settings"] == {"depth=2": 1}
    assert content["crystals"] == 4
    assert content["warnings"] == []


def test_text_shows_units_and_spread():
    text = report(log=True).text()
    assert text.splitlines()[0] == "ln kappa of mine, 4 crystals of 4 compositions; 2-fold, 2 times:"
    assert "MAE (ln)" in text
    assert "RMSE (W/(m K))" in text
    assert "a 75 %, b 25 %" in text
    assert "6.38 ± 9" in text
    assert "(ln)" not in report(log=False).text()


def test_crystals_that_the_model_has_seen_are_a_warning():
    results = [Result("net", "ridge", "none", report(log=True).results[0].outcome, 3)]
    text = report(log=True, results=results).text()
    assert text.splitlines()[-1].startswith("WARNING: net has learned from 3 of these 4 crystals")
