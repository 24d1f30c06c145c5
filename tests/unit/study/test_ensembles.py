"""Trainings whose predictions are averaged before the error is taken."""

import numpy as np
import pandas as pd
import pytest

from tlzoo.errors import UserError
from tlzoo.study import ensembles
from tlzoo.study.document import load
from tlzoo.study.gathering import results
from tlzoo.study.report.measures import measure
from tlzoo.study.study_folder import Folder
from tlzoo.study.summary import summary

STUDY = """\
axes:
  source: {scratch: {model: {a: 1}}, card: {model: {a: 2}}}
  rate: {key: model.lr, values: [1, 2]}
  trial: {key: trial, values: [1, 2]}
  member: {key: seed, values: [0, 1, 2]}
tune: {axes: [rate], with: {trial: 1, member: 0}}
average: [trial]
ensemble: [member]
report: {baseline: {source: scratch}}
"""
TARGETS = np.array([0.0, 10.0, 20.0, 30.0])


@pytest.fixture
def study(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY)
    return load(tmp_path / "s.yaml")


def predicted(labels):
    """Members are off to different sides: their mean is closer than each of them."""
    away = {"scratch": 3.0, "card": 1.0}[labels["source"]] * labels["trial"]
    return TARGETS + away * np.array([1, -1, 1, -1]) * (1 if labels["member"] else -1)


@pytest.fixture
def folder(study, tmp_path):
    folder = Folder(tmp_path / "results")
    folder.make()
    for run in study.runs():
        labels = run.labels
        # the first rate is better in validation; the second is tried where it should be
        if labels["rate"] == 2 and (labels["trial"], labels["member"]) != (1, 0):
            continue
        values = predicted(labels)
        row = {"id": run.id, "status": "done", "val_mae": float(labels["rate"] + labels["member"])}
        row |= {"test_mae": np.abs(values - TARGETS).mean(), "unit": "eV", "labels": dict(labels)}
        row |= {"n_test": 4, "seconds": 10.0, "finished": "2026", "started_from": []}
        folder.write(row, pd.DataFrame({"id": list("abcd"), "target": TARGETS, "prediction": values}))
    return folder


def done(study, folder):
    table = results(study, folder)
    return table[(table["status"] == "done") & table["chosen"]]


def test_the_error_of_an_ensemble_is_that_of_the_mean_prediction(study, folder):
    table = ensembles.ensembles(study, folder, done(study, folder))
    assert len(table) == 4
    assert set(table["rate"]) == {1}
    for _, row in table.iterrows():
        members = [
            run
            for run in study.runs()
            if (run.labels["source"], run.labels["trial"], run.labels["rate"])
            == (row["source"], row["trial"], 1)
        ]
        mean = np.mean([predicted(run.labels) for run in members], axis=0)
        assert row["test_mae"] == pytest.approx(np.abs(mean - TARGETS).mean())
        assert row["test_rmse"] == pytest.approx(np.sqrt(((mean - TARGETS) ** 2).mean()))
        assert row["test_mae"] < min(np.abs(predicted(run.labels) - TARGETS).mean() for run in members)
        assert row["id"] == "+".join(run.id for run in members)
        assert row["val_mae"] == pytest.approx(np.mean([1.0, 2.0, 3.0]))
        assert row["seconds"] == 30
    told = summary(study, table)
    assert told[["source", "runs", "of"]].to_numpy().tolist() == [["scratch", 2, 2], ["card", 2, 2]]
    assert told["test_mae"].tolist() == pytest.approx([1.5, 0.5])


def test_gains_are_those_of_ensembles(study, folder):
    numbers = measure(study, folder, {}, resamples=50)
    assert numbers.kept == ("source",)
    card = numbers.table.set_index("source").loc["card"]
    assert card["gain"] == pytest.approx(2 / 3)
    assert card["pairs"] == card["better"] == 2


def test_an_ensemble_waits_for_its_members(study, folder):
    gone = next(
        run for run in study.runs() if tuple(run.labels.values()) == ("card", 1, 2, 1)
    )  # source, rate, trial, member
    folder.row(gone.id).unlink()
    table = ensembles.ensembles(study, folder, done(study, folder))
    assert table[["source", "trial"]].to_numpy().tolist() == [["scratch", 1], ["scratch", 2], ["card", 1]]
    assert summary(study, table).set_index("source").loc["card", ["runs", "of"]].tolist() == [1, 2]


def test_fewer_members_are_meant(study, folder):
    only = study.only(["member=1,2"])
    runs = done(study, folder)
    table = ensembles.ensembles(study, folder, runs[runs["member"].isin([1, 2])], only)
    assert table["test_mae"].tolist() == pytest.approx([3, 6, 1, 2]), "both are off to the same side"


def test_lost_predictions_give_no_error(study, folder):
    runs = done(study, folder)
    folder.predictions(runs["id"].iloc[0]).unlink()
    table = ensembles.ensembles(study, folder, runs)
    assert table["test_mae"].isna().tolist() == [True, False, False, False]


def test_members_are_tested_on_the_same_crystals(study, folder):
    runs = done(study, folder)
    path = folder.predictions(runs["id"].iloc[0])
    pd.read_parquet(path).assign(id=list("abce")).to_parquet(path)
    with pytest.raises(UserError, match="tested on different crystals and make no ensemble"):
        ensembles.ensembles(study, folder, runs)


def test_all_axes_may_be_one_ensemble(tmp_path, study, folder):
    text = "axes: {member: {key: seed, values: [0, 1]}}\nensemble: [member]\n"
    (tmp_path / "t.yaml").write_text(text)
    other = load(tmp_path / "t.yaml")
    runs = done(study, folder).iloc[:2]
    table = ensembles.ensembles(other, folder, runs)
    assert table["id"].tolist() == ["+".join(runs["id"])]


def test_without_ensembles_finished_runs_stay_as_they_are(tmp_path, study, folder):
    (tmp_path / "s.yaml").write_text(STUDY.replace("ensemble: [member]", ""))
    runs = results(study, folder)
    assert not runs["chosen"].all()
    found = ensembles.ensembles(load(tmp_path / "s.yaml"), folder, runs)
    pd.testing.assert_frame_equal(found, done(study, folder))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trial", "trial cannot be both averaged over and an ensemble"),
        ("rate", "rate cannot be both tuned and an ensemble"),
        ("seed", "ensemble: there is no axis 'seed'"),
    ],
)
def test_an_axis_has_one_role(tmp_path, name, message):
    (tmp_path / "s.yaml").write_text(STUDY.replace("[member]", f"[{name}]"))
    with pytest.raises(UserError, match=message):
        load(tmp_path / "s.yaml")
