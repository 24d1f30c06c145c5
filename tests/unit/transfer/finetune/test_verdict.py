"""The verdict says what the numbers say, in words that do not flatter."""

import json

import numpy as np
import pytest

from tlzoo.evaluation.gain import gain
from tlzoo.transfer.finetune.experiment import Choice
from tlzoo.transfer.finetune.verdict import Side, Verdict, rows

REFERENCE = np.random.default_rng(0).gamma(2.0, size=(1, 50))


def verdict(*, transfer=0.7, forest=1.5, seen=0, rate=1e-3, unit="eV", **further):
    errors = {"transfer": transfer * REFERENCE, "scratch": REFERENCE, "random forest": forest * REFERENCE}
    tried = {Choice(3e-4): 0.3, Choice(1e-3): 0.2, Choice(3e-3): 0.4}
    side = Side(strategy="all", choice=Choice(rate), tried=tried, best_epoch=7, run="x/lr-0.001")
    facts = {
        "source": "mine",
        "target": "gap",
        "unit": unit,
        "starts": {"cgcnn-fe": "0" * 64},
        "split": "40 train, 5 val, 50 test",
        "test_crystals": 50,
        "seen": seen,
        "epochs": 9,
        "trainings": 1,
        "sides": {"transfer": side, "scratch": side},
        "rows": rows(errors),
        "model": "transfer",
    }
    return Verdict(**{**facts, **further})


def test_rows_hold_errors_and_gains():
    found = rows({"transfer": 0.5 * REFERENCE, "scratch": REFERENCE})
    assert [row.name for row in found] == ["transfer", "scratch"]
    assert [row.mae for row in found] == pytest.approx([REFERENCE.mean() / 2, REFERENCE.mean()])
    assert found[0].gain is None
    assert found[1].gain.value == pytest.approx(0.5)


def test_seeds_are_averaged_crystal_by_crystal():
    errors = {
        "transfer": np.array([[1.0, 3.0], [-3.0, -1.0]]),
        "scratch": np.array([[4.0, -1.0], [4.0, 1.0]]),
        "mean": np.array([[0.5, 0.5]]),
    }
    transfer, scratch, mean, transfers, scratches = rows(errors)
    assert (transfer.mae, transfer.sd) == (2.0, 0.0)
    assert (scratch.mae, scratch.sd) == (2.5, 0.0)
    assert scratch.gain == gain(np.array([2.0, 2.0]), np.array([4.0, 1.0]))
    assert rows({"transfer": np.array([[1.0], [3.0]])})[0].sd == pytest.approx(np.sqrt(2))
    assert (mean.name, mean.seeds) == ("mean", 1)
    # predictions that are off to both sides are better together
    assert (transfers.name, transfers.mae, transfers.seeds) == ("transfer, 2 together", 1.0, 2)
    assert (scratches.name, scratches.mae) == ("scratch, 2 together", 2.0)
    assert transfers.gain is None
    assert scratches.gain == gain(np.array([1.0, 1.0]), np.array([4.0, 0.0]))


def test_several_seeds_together_are_no_baseline():
    two = {"transfer": np.array([[1.0, 1.0], [-1.0, -1.0]]), "scratch": np.array([[2.0, 2.0], [2.0, 2.0]])}
    found = verdict(rows=rows(two), trainings=2)
    assert found.rows[2].mae == 0
    assert not any("trivial" in warning for warning in found.warnings)
    assert "Its 2 trainings answer together" in found.document()
    assert "together" not in verdict().document()


def test_a_model_that_is_better_as_it_is_is_recommended_unchanged():
    better, worse = (
        verdict(rows=rows({"transfer": REFERENCE, "scratch": 2 * REFERENCE, "as it is": factor * REFERENCE}))
        for factor in (0.9, 1.1)
    )
    (warning,) = better.warnings
    assert warning.startswith("cgcnn-fe as it is has the smaller test error")
    assert "`tlzoo predict cgcnn-fe …`" in warning
    assert worse.warnings == []
    assert "| as it is |" in better.table()


def test_a_clear_gain_has_no_warning():
    found = verdict()
    assert found.conclusion == (
        "Transfer lowers the test error by 30.0 % (95 % interval of the gain: 30.0 to 30.0 %)."
    )
    assert found.warnings == []
    assert found.notes == []


def test_harm_is_said_out_loud():
    found = verdict(transfer=1.25)
    assert found.conclusion.startswith("Transfer raises the test error by 25.0 %")
    (warning,) = found.warnings
    assert warning.startswith("transfer hurts here")
    assert f"WARNING: {warning}" in found.text()
    assert f"WARNING: {warning}" in found.document()


def test_an_interval_with_zero_is_said_out_loud():
    mixed = np.where(np.arange(50) % 2, 0.2, 1.7) * REFERENCE
    found = verdict(rows=rows({"transfer": mixed, "scratch": REFERENCE}))
    assert not found.gain.certain
    assert any(text.startswith("the interval includes zero: with 50 test") for text in found.warnings)


def test_better_baselines_are_named():
    (warning,) = verdict(forest=0.6).warnings
    assert warning == "transfer is no better than the trivial baseline(s) random forest."


def test_test_crystals_seen_before_are_counted():
    assert verdict(seen=3).warnings == [
        "cgcnn-fe has learned from 3 of the 50 test crystals: the comparison flatters transfer."
    ]
    two = {"cgcnn-fe": "0" * 64, "cgcnn-mpt": "1" * 64}
    assert verdict(seen=3, starts=two).warnings[0].startswith("one of cgcnn-fe, cgcnn-mpt has learned from 3")
    assert verdict(seen=None).notes == [
        "nobody checked whether cgcnn-fe has seen structures of the test part."
    ]


@pytest.mark.parametrize(("rate", "end"), [(3e-4, "smallest"), (3e-3, "largest")])
def test_a_choice_at_the_end_of_the_list_is_noted(rate, end):
    notes = verdict(rate=rate).notes
    assert [note.split(":")[0] for note in notes] == [
        f"{side} did best at the {end} learning rate tried" for side in ("transfer", "scratch")
    ]


def test_the_table_lines_up():
    lines = verdict().table().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "test MAE (eV)" in lines[0]
    assert lines[2].split("|")[3].strip() == ""
    assert lines[3].split("|")[3].strip() == "30.0 %"
    assert "test MAE |" in verdict(unit="").table()


def test_the_content_is_plain_json():
    zero = np.zeros_like(REFERENCE)
    found = verdict(rows=rows({"transfer": REFERENCE, "scratch": zero}))
    content = json.loads(json.dumps(found.content(), allow_nan=False))
    assert content["results"][1]["gain_percent"] == {"value": None, "low": None, "high": None}
    content = verdict(seen=3).content()
    assert content["results"][1] == {
        "name": "scratch",
        "mae": REFERENCE.mean(),
        "mae_sd": None,
        "gain_percent": pytest.approx({"value": 30, "low": 30, "high": 30}),
    }
    assert content["sides"]["scratch"]["tried"][1] == {
        "rate": 1e-3,
        "pooling": None,
        "start": None,
        "val_mae": 0.2,
    }
    assert content["sides"]["scratch"]["rate"] == 1e-3
    assert content["warnings"] == verdict(seen=3).warnings


def test_the_document_says_how_to_repeat():
    text = verdict().document()
    assert text.startswith("# gap of mine, from cgcnn-fe\n\n| ")
    assert "`tlzoo fit --config scratch.yaml --run_dir NEW`" in text
    assert "Validation MAE: 0.3 with learning rate 0.0003; 0.2 with learning rate 0.001; " in text


def test_a_unit_of_one_is_not_told():
    assert "| test MAE (eV) |" in verdict().table()
    for unit in ("", "1"):
        assert "| test MAE |" in verdict(unit=unit).table()
