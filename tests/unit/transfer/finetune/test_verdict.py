"""The verdict says what the numbers say, in words that do not flatter."""

import json

import numpy as np
import pytest

from tlzoo.evaluation.gain import gain
from tlzoo.transfer.finetune.decision import decide
from tlzoo.transfer.finetune.experiment import Choice
from tlzoo.transfer.finetune.verdict import Head, Side, Verdict, rows

REFERENCE = np.random.default_rng(0).gamma(2.0, size=(1, 50))


def errors(*, transfer=0.7, forest=1.5):
    return {"transfer": transfer * REFERENCE, "scratch": REFERENCE, "random forest": forest * REFERENCE}


def verdict(*, transfer=0.7, forest=1.5, seen=0, rate=1e-3, unit="eV", **further):
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
        "rows": rows(errors(transfer=transfer, forest=forest)),
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
    # two crystals have no interval, and NaN is unequal to itself
    assert repr(scratch.gain) == repr(gain(np.array([2.0, 2.0]), np.array([4.0, 1.0])))
    assert rows({"transfer": np.array([[1.0], [3.0]])})[0].sd == pytest.approx(np.sqrt(2))
    assert (mean.name, mean.seeds) == ("mean", 1)
    # predictions that are off to both sides are better together
    assert (transfers.name, transfers.mae, transfers.seeds) == ("transfer, 2 together", 1.0, 2)
    assert (scratches.name, scratches.mae) == ("scratch, 2 together", 2.0)
    assert transfers.gain is None
    assert repr(scratches.gain) == repr(gain(np.array([1.0, 1.0]), np.array([4.0, 0.0])))


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
    assert found.notes == ["0 of the 50 test crystals were in the training of cgcnn-fe."]


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


def spread(low, high):
    """Errors that are now smaller, now larger than the reference."""
    return np.where(np.arange(50) % 2, low, high) * REFERENCE


def test_a_forest_that_wins_is_said_out_loud():
    """A test error of 1 against 0.6: 66.7 % higher; the same crystals, so that the interval has no width."""
    (warning,) = verdict(rows=rows(errors(transfer=0.9, forest=0.54))).warnings
    assert warning == (
        "expect little of these models here: the test error of transfer is 66.7 % higher than that of "
        "random forest (95 % interval: 66.7 to 66.7 %). Trivial baselines see no structure."
    )


def test_where_transfer_wins_nothing_is_expected_of_a_forest():
    """Transfer is 14 % better than the forest, and scratch is not: no warning."""
    found = verdict(rows=rows(errors(transfer=0.86, forest=1.0)))
    assert found.warnings == []


def test_a_forest_that_is_ahead_by_chance_is_no_winner():
    mixed = {**errors(transfer=0.9), "random forest": spread(0.2, 1.55)}
    (warning,) = verdict(rows=rows(mixed)).warnings
    assert warning == (
        "the test error of transfer cannot be told from that of the trivial baseline(s) random forest with "
        "50 test crystals."
    )


def test_the_model_that_answers_is_compared_with_the_baselines():
    """Scratch has the smaller validation error here: its errors count, not those of transfer."""
    both = errors(transfer=0.5, forest=0.8)
    assert verdict(rows=rows(both), model="transfer").warnings == []
    (warning,) = verdict(rows=rows(both, "scratch"), model="scratch").warnings
    assert warning.startswith(
        "expect little of these models here: the test error of scratch is 25.0 % higher"
    )
    # several trainings answer with the mean of their predictions, here without any error
    two = {
        "transfer": np.array([[1.0], [-1.0]]),
        "scratch": np.array([[2.0], [2.0]]),
        "mean": np.array([[0.5]]),
    }
    answers = {row.name: row.answer for row in rows(two)}
    assert answers["mean"].value == 1
    assert answers["transfer"] is answers["scratch"] is answers["transfer, 2 together"] is None


def test_test_crystals_seen_before_are_counted():
    told = "cgcnn-fe has learned from 3 of the 50 test crystals: the comparison flatters transfer."
    assert verdict(seen=3).warnings == [told]
    without = verdict(seen=3, without_seen={"transfer": 0.25, "scratch": 0.5})
    assert without.warnings == [
        f"{told} Without them the test error is of transfer 0.25 eV, of scratch 0.5 eV."
    ]
    assert without.content()["without_seen"] == {"transfer": 0.25, "scratch": 0.5}
    two = {"cgcnn-fe": "0" * 64, "cgcnn-mpt": "1" * 64}
    assert verdict(seen=3, starts=two).warnings[0].startswith("one of cgcnn-fe, cgcnn-mpt has learned from 3")
    assert verdict(seen=None, unknown="its data are not here").notes == [
        "nobody can tell whether cgcnn-fe has seen structures of the test part: its data are not here."
    ]


def test_test_crystals_that_are_in_training_too_are_counted():
    said = "2 of the 50 test crystals have the structure of one in train or val: the test error flatters."
    (warning,) = verdict(copies=said, without_copies={"transfer": 0.25}).warnings
    assert warning == f"{said} Without them the test error is of transfer 0.25 eV."


def test_what_scratch_was_not_given_is_a_warning():
    (warning,) = verdict(neglected=["100 epochs (it had 2)", "max pooling"]).warnings
    assert warning == (
        "the gain over scratch may be too large. What training from scratch would have had by default: 100 "
        "epochs (it had 2); max pooling."
    )


def test_more_tries_are_told():
    sides = verdict().sides
    fewer = Side(strategy="all", choice=Choice(1e-3), tried={Choice(1e-3): 0.2}, best_epoch=7, run="x")
    found = verdict(sides={"transfer": sides["transfer"], "scratch": fewer})
    assert found.notes[0] == "transfer was chosen from 3 trainings, scratch from 1."


@pytest.mark.parametrize(("rate", "end"), [(3e-4, "smallest"), (3e-3, "largest")])
def test_a_choice_at_the_end_of_the_list_is_noted(rate, end):
    notes = verdict(rate=rate).notes
    assert [note.split(":")[0] for note in notes[:2]] == [
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


def decided(*, frozen=0.5, networks=("cgcnn-fe",), crystals=20, transfer=0.7):
    """A verdict with a head on frozen features, its errors so many times those of scratch."""
    val = np.random.default_rng(1).normal(size=(2, crystals))
    decision = decide(transfer * val[0], frozen * val[1], frozen * REFERENCE[0])
    head = Head(name="cgcnn-fe (conv.0)", networks=networks, weights={}, left_out=0.4, tried={})
    answers = {"network": "transfer"}.get(decision.answers, decision.answers)
    both = {"frozen": frozen * REFERENCE, "both": (frozen + transfer) / 2 * REFERENCE}
    three = {"transfer": transfer * REFERENCE, **both, "scratch": REFERENCE}
    held = {"transfer": 0.5, "frozen": 0.9, "both": 0.8}
    found = rows({**three, "random forest": 1.5 * REFERENCE}, answers)
    return verdict(rows=found, answers=answers, head=head, decision=decision, held=held)


def test_all_three_are_named_and_one_answers():
    found = decided()
    assert [row.name for row in found.rows] == ["transfer", "frozen", "both", "scratch", "random forest"]
    assert found.rows[1].gain.value == pytest.approx(-0.4)
    assert [row.answer is None for row in found.rows] == [True] * 4 + [False]
    what, how = found.choice
    assert what.startswith("What answers: both, 0.6 transfer + 0.4 frozen, as validation chose (transfer ")
    assert "neither alone has a smaller error by more than chance" in what
    assert "frozen is a kernel head on cgcnn-fe (conv.0), without training a network" in what
    assert how.startswith("Its 90 % interval is ±")
    assert "by the errors of 20 crystals that were left out; it held 40 of the 50 test crystals" in how
    for sentence in found.choice:
        assert sentence in found.text()
    content = found.content()
    assert content["answers"] == "both"
    assert content["model"] == "transfer"
    assert set(content["decision"]["val_mae"]) == set(content["intervals"]) == {"transfer", "frozen", "both"}
    assert content["intervals"]["frozen"]["crystals"] == 50
    json.dumps(content, allow_nan=False)
    assert "`tlzoo predict` answers with both, 0.6 transfer + 0.4 frozen" in found.document()


def test_descriptors_that_win_alone_are_named_plainly():
    found = decided(frozen=0.01, networks=())
    assert found.answers == "frozen"
    assert found.choice[0].startswith(
        "What answers: frozen alone, which reads descriptors and no network at all, as validation chose"
    )
    assert "it held 45 of the 50" in found.choice[1]


def test_a_model_that_only_the_head_reads_counts_as_one_that_may_have_seen_the_test():
    assert decided(networks=("cgcnn-mpt",)).notes == [
        "0 of the 50 test crystals were in the training of cgcnn-fe, cgcnn-mpt."
    ]


def test_few_crystals_give_no_full_interval():
    _, how = decided(crystals=5).choice
    assert "5 crystals that were left out, too few for 90 %: it is the largest error of 5;" in how
