"""What earlier versions wrote is read, tested, resumed and predicted with as by themselves."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import tlzoo as package
from tlzoo.crystals import Crystals
from tlzoo.data.splits.splitter import PARTS
from tlzoo.transfer.features.saved import load as load_features

VERSIONS = sorted(path for path in (Path(__file__).parents[1] / "written_by").iterdir() if path.is_dir())
FINISHED = ("cgcnn", "alignn", "several", "classes", "frozen", "named")
KILLED = ("interrupted", "gradual")

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda path: path.name)
def version(request):
    return request.param


@pytest.fixture
def here(version, tmp_path, monkeypatch):
    """A copy of everything, as the folder to work in."""
    folder = shutil.copytree(version, tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


def assert_close(one, two, near=1e-3):
    """Equal but for the last digits, which other processors may round otherwise."""
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, two, rtol=near, atol=1e-4)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_close(one[key], two[key])
    elif isinstance(one, float):
        assert one == pytest.approx(two, rel=1e-3, abs=1e-4)
    else:
        assert one == two


def parts_of(baselines):
    """What was measured of each baseline of each target on each part."""
    return [part for target in baselines.values() for each in target.values() for part in each.values()]


def assert_answers(wanted):
    """The columns of before come first, as they were; intervals and what is known of their trust follow."""
    found, wanted = pd.read_csv("answers.csv"), pd.read_csv(wanted)
    ends = [name for name in found.columns if name.endswith(("_q5", "_q95")) and name not in wanted.columns]
    assert list(found.columns) == [*wanted.columns, *ends, "trust", "unseen_elements", "distance"]
    assert_close(found[list(wanted.columns)], wanted)


def test_every_kind_is_there(version):
    assert {path.name for path in (version / "trained").iterdir()} == {*FINISHED, *KILLED}
    for names, epochs in ((FINISHED, 2), (KILLED, 1)):
        for name in names:
            assert len(pd.read_csv(version / "trained" / name / "history.csv")) == epochs
            assert (version / "trained" / name / "model.safetensors").exists() == (epochs == 2)


@pytest.mark.parametrize("name", [*FINISHED, *KILLED])
def test_a_run_goes_on(name, here, tlzoo):
    """The same command finishes what was killed, and leaves alone what was finished."""
    run, expected = here / "trained" / name, here / "expected" / name
    begun = pd.read_csv(run / "history.csv")
    answer = tlzoo("fit", "--config", f"{name}.yaml", "--run_dir", run)
    assert answer.code == 0, answer.err
    history = pd.read_csv(run / "history.csv")
    pd.testing.assert_frame_equal(history[: len(begun)], begun)
    if name != "classes":
        assert_close(history, pd.read_csv(expected / "history.csv"))

    assert tlzoo("test", run).code == 0
    metrics, wanted = (json.loads((each / "metrics.json").read_text()) for each in (run, expected))
    # forests are smaller here
    for each in (metrics, wanted):
        for baselines in each["baselines"].values():
            baselines.pop("random forest")
    # measures of classes that 846dd3e did not have
    for measured in [metrics[part] for part in PARTS] + list(parts_of(metrics["baselines"])):
        for new in ("balanced_accuracy", "log_loss"):
            measured.pop(new, None)
    # of what was not measured then
    assert set(metrics.pop("intervals", {})) == ({*metrics["targets"]} if name != "classes" else set())
    assert_close(metrics, wanted)
    assert_close(pd.read_csv(run / "predictions.csv"), pd.read_csv(expected / "predictions.csv"))

    assert tlzoo("predict", run, "crystals.parquet", "-o", "answers.csv").code == 0
    assert_answers(expected / "answers.csv")


@pytest.mark.parametrize("name", FINISHED)
def test_a_run_is_read_as_it_is(name, version, tlzoo, monkeypatch):
    """Configuration, model and split agree with the predictions that were written."""
    monkeypatch.chdir(version)
    run = version / "trained" / name
    targets = yaml.safe_load((run / "config.yaml").read_text())["data"]["targets"]
    crystals = Crystals.read_parquet(Path("crystals.parquet"))
    found = package.load(f"trained/{name}").predict(crystals)
    written = pd.read_csv(run / "predictions.csv")
    for target in targets:
        rows = written[written["property"] == target]
        column = target if name != "classes" else f"{target}_probability"
        said = dict(zip(crystals.ids, np.asarray(found[column]), strict=True))
        rows = rows[rows["id"].isin(said)]
        assert len(rows) >= 8
        np.testing.assert_allclose(
            [said[key] for key in rows["id"]], rows["prediction"], rtol=1e-3, atol=1e-4
        )


def test_a_finished_comparison_is_shown_and_predicts(here, tlzoo):
    assert tlzoo("predict", "finetuned", "crystals.parquet", "-o", "answers.csv").code == 0
    assert_answers("expected/finetuned.csv")
    before = {path: path.stat().st_mtime_ns for path in here.glob("finetuned/*/*/*.ckpt")}
    answer = tlzoo(
        "finetune", "crystals.parquet", "--target", "band_gap", "--from", "trained/cgcnn", "--config",
        "fast.yaml", "--epochs", 2, "--batch-size", 8, "--pooling", "mean", "--learning-rates", "1e-2",
        "--seeds", 2, "--no-frozen", "--run_dir", "finetuned",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    said, wanted = (
        [line for line in text.splitlines() if "random forest" not in line and "narrow" not in line]
        # its intervals of four test crystals are told no more: the last column, and the end of a sentence
        for text in (
            re.sub(r"(?m)^\d+/\d+ +|[^|\n]+\|$| \(95 % interval.*", "", each)
            for each in (answer.out, Path("expected/finetuned.txt").read_text())
        )
    )
    # with what is said of it since: which training of how many, what was seen, what scratch was not given
    there = iter(said)
    assert all(line in there for line in wanted), said
    assert len(before) == 8
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # made anew it knows intervals, and the networks say what they said
    assert tlzoo("predict", "finetuned", "crystals.parquet", "-o", "again.csv").code == 0
    found, wanted = pd.read_csv("again.csv"), pd.read_csv("expected/finetuned.csv")
    assert {"band_gap_q5", "band_gap_q95"} <= set(found.columns)
    assert_close(found[list(wanted.columns)], wanted)


def test_a_saved_regression_predicts(here, tlzoo):
    assert tlzoo("predict", "saved", "crystals.parquet", "-o", "answers.csv").code == 0
    wanted = pd.read_csv("expected/saved.csv")
    assert_answers("expected/saved.csv")
    found = load_features("saved").predict(Crystals.read_parquet(Path("crystals.parquet")))
    np.testing.assert_allclose(found["band_gap"], wanted["band_gap"], rtol=1e-3)


def test_a_study_goes_on(here, tlzoo):
    table = ("study", "table", "study.yaml", "--by", "rate", "--format", "csv", "--dir", "study")
    assert tlzoo(*table).code == 0
    answer = tlzoo("study", "run", "study.yaml", "--dir", "study")
    assert answer.code == 0, answer.err
    assert [line.split()[0] for line in answer.out.splitlines()[:-2]] == ["[4/4]"]
    Path("table.csv").write_text(tlzoo(*table).out)
    # trained anew at large rates, which amplify how numbers are rounded: in C and by torch to 2e-3
    assert_close(pd.read_csv("table.csv"), pd.read_csv("expected/study.csv"), near=1e-2)


def test_a_screening_goes_on(here, tlzoo):
    wanted = pd.read_parquet("ranked.parquet")
    shards = {path: path.stat().st_mtime_ns for path in here.glob("ranked.shards/shards/*")}
    missing = min(shards)
    missing.unlink()
    answer = tlzoo(
        "screen", "trained/cgcnn,trained/alignn", "crystals.parquet", "-o", "ranked.parquet", "--shard", 8,
        "--jobs", 1,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "24 crystals" in answer.out
    assert "8 of them now" in answer.out
    assert [path for path, time in shards.items() if path.stat().st_mtime_ns != time] == [missing]
    # two networks without an uncertainty of their own: made of their spread alone, these were no interval
    no_intervals = wanted.drop(columns=["band_gap_lower", "band_gap_upper"])
    assert_close(pd.read_parquet("ranked.parquet"), no_intervals)
