"""Tables and progress of a study, from results that are written by hand."""

import io

import pandas as pd
import pytest

from tlzoo.cards.card import duration
from tlzoo.errors import UserError
from tlzoo.study.document import load
from tlzoo.study.gathering import results
from tlzoo.study.progress import Progress
from tlzoo.study.study_folder import Folder
from tlzoo.study.summary import render, summary

STUDY = """\
axes:
  target: {x: {data: {source: x}}, y: {data: {source: y}}}
  source: {scratch: {model: {a: 1}}, card: {model: {a: 2}}}
  rate: {key: model.lr, values: [1, 0.5]}
  trial: {key: seed, values: [1, 2]}
tune: {axes: [rate], with: {trial: 1}}
average: [trial]
"""
# target, source, rate, trial: validation and test MAE
ERRORS = {
    ("x", "scratch", 1, 1): (3.0, 10.0),
    ("x", "scratch", 0.5, 1): (2.0, 20.0),
    ("x", "scratch", 0.5, 2): (4.0, 22.0),
    ("x", "card", 1, 1): (1.0, 30.0),
    ("x", "card", 0.5, 1): (2.0, 1.0),
    ("x", "card", 1, 2): (2.0, 34.0),
    ("y", "scratch", 1, 1): (5.0, 5.0),
    ("y", "scratch", 0.5, 1): (6.0, 6.0),
    ("y", "scratch", 1, 2): (5.0, 7.0),
    ("y", "card", 1, 1): (1.0, 1.0),
    ("y", "card", 0.5, 1): (2.0, 2.0),
}


@pytest.fixture
def study(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY)
    return load(tmp_path / "s.yaml")


@pytest.fixture
def folder(study, tmp_path):
    folder = Folder(tmp_path / "results")
    folder.make()
    for run in study.runs():
        if (errors := ERRORS.get(tuple(run.labels.values()))) is not None:
            unit = "eV" if run.labels["target"] == "x" else ""
            row = {"id": run.id, "status": "done", "val_mae": errors[0], "test_mae": errors[1], "unit": unit}
            folder.write({**row, "labels": dict(run.labels), "seconds": 10, "finished": "2026"}, None)
        elif tuple(run.labels.values()) == ("y", "card", 1, 2):
            row = {"id": run.id, "status": "failed", "error": "it diverged", "finished": "2026", "seconds": 1}
            folder.write({**row, "labels": dict(run.labels)}, None)
    return folder


def test_results_have_a_row_per_finished_run(study, folder):
    table = results(study, folder.path)
    assert len(table) == len(ERRORS) + 1
    assert list(table.columns[:6]) == ["id", "target", "source", "rate", "trial", "status"]
    assert table["rate"].dtype == "float64"
    assert table["trial"].dtype == "int64"
    assert table["chosen"].sum() == 8
    failed = table[table["status"] == "failed"].iloc[0]
    assert failed["error"] == "it diverged"
    assert pd.isna(failed["test_mae"])
    empty = results(study, folder.path / "nowhere")
    assert list(empty.columns) == list(table.columns)
    assert summary(study, empty).empty


def test_means_are_of_the_rate_that_validation_chose(study, folder):
    table = summary(study, results(study, folder)).set_index(["target", "source"])
    assert table["rate"].tolist() == [0.5, 1, 1, 1]
    assert table["test_mae"].tolist() == [21, 32, 6, 1]
    assert table.loc[("x", "scratch"), "test_mae_sd"] == pytest.approx(2**0.5)
    assert table["runs"].tolist() == [2, 2, 2, 1]
    assert table["of"].tolist() == [2, 2, 2, 2]


def test_choosing_is_by_validation_among_what_is_complete(study, folder):
    table = summary(study, results(study, folder), ["source"]).set_index("target")
    assert table["source"].to_dict() == {"x": "card", "y": "scratch"}
    assert table["test_mae"].to_dict() == {"x": 32, "y": 6}
    overall = summary(study, results(study, folder), ["source", "target"])
    assert overall[["target", "source"]].to_numpy().tolist() == [["x", "card"]]


def test_a_table_for_people(study, folder):
    table = summary(study, results(study, folder))
    assert render(study, table, [], [], "text").splitlines() == [
        "target  source   rate  runs  validation MAE  test MAE  unit",
        "x       scratch  0.5   2     3 ± 1.4         21 ± 1.4  eV",
        "x       card     1     2     1.5 ± 0.71      32 ± 2.8  eV",
        "y       scratch  1     2     5 ± 0           6 ± 1.4",
        "y       card     1     1/2   1               1",
    ]
    assert render(study, table, ["target"], [], "markdown").splitlines() == [
        "| target | scratch | card | unit |",
        "|---|---|---|---|",
        "| x | 21 ± 1.4 | 32 ± 2.8 | eV |",
        "| y | 6 ± 1.4 | 1 (1/2) |  |",
    ]
    best = summary(study, results(study, folder), ["source"])
    assert render(study, best, ["target"], ["source"], "text").splitlines() == [
        "target  test MAE           unit",
        "x       32 ± 2.8 (card)    eV",
        "y       6 ± 1.4 (scratch)",
    ]
    with pytest.raises(UserError, match="--by trial: the table has one line over all its values"):
        render(study, table, ["trial"], [], "text")


def test_a_table_for_programs(study, folder):
    table = summary(study, results(study, folder))
    again = pd.read_csv(
        io.StringIO(render(study, table, ["source"], [], "csv")), keep_default_na=False, na_values=[""]
    )
    assert list(again.columns[:2]) == ["source", "target"]
    assert again["test_mae"].tolist() == [21, 32, 6, 1]


def test_progress(study, folder):
    progress = Progress.of(study, folder.rows(), {})
    assert progress.line() == "11 of 12 runs done, 1 failed"
    assert progress.failures() == "target=y source=card rate=1 trial=2: it diverged"
    lines = [line.split() for line in progress.by_axis().splitlines()]
    assert ["card", "5", "1", "0"] in lines
    rows = {name: row for name, row in folder.rows().items() if row["status"] == "done"}
    first = study.runs()[0].id
    rows.pop(first)
    some = Progress.of(study, rows, {})
    assert (some.done, len(some.missing), len(some.undecided)) == (9, 2, 1)
    claimed = {*(run.id for run in some.missing), "one of another study"}
    assert some.line(claimed).endswith("2 under way, 1 wait until tuning has chosen, about 15 s left")
    only = Progress.of(study, rows, study.only(["target=y", "rate=1"]))
    assert (only.done, len(only.missing), len(only.undecided)) == (3, 1, 0)


def test_durations():
    assert [duration(s) for s in (0.123, 59.6, 360, 36000)] == ["0.1 s", "60 s", "6 min", "10.0 h"]
