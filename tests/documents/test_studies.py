"""Every shipped study is made of configurations, and what is counted of its results is in them."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks import findings
from tlzoo.study.document import load
from tlzoo.study.job import check
from tlzoo.study.study_folder import Folder

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "configs" / "studies").glob("*.yaml"))
RESULTS = sorted((ROOT / "benchmarks" / "results" / "studies").glob("*.parquet"))

pytestmark = pytest.mark.documents


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_study_is_made_of_configurations(path, cache):
    assert path.read_text(encoding="utf-8").startswith("# "), "say in the first line what the study asks"
    study = load(path)
    check([*study.sources.values(), *study.runs()])


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_stored_results_are_those_of_the_study(path):
    """Also where it started from a checkpoint that is not published any more."""
    study = load(ROOT / "configs" / "studies" / f"{path.stem}.yaml")
    wanted = {run.id for run in (*study.runs(), *study.trivial)}
    assert set(pq.read_table(path, columns=["id"])["id"].to_pylist()) <= wanted


@pytest.mark.parametrize("part", findings.PARTS)
def test_findings_count_what_is_in_the_results(part, tmp_path, capsys, monkeypatch):
    """Every run is twice as good as its baseline, but for one source or strategy that is half as good."""
    monkeypatch.delenv("TLZOO_DATA", raising=False)
    study, folder = load(ROOT / "configs" / "studies" / f"{part}.yaml"), Folder(tmp_path)
    folder.make()
    baseline = dict(study.report.baseline)
    axis = next(iter(baseline), "source")
    runs = list(study.runs())
    there = list(dict.fromkeys(run.labels[axis] for run in runs))
    bad = next(value for value in there if value != baseline.get(axis))
    for run in runs:
        error = {baseline.get(axis): 2.0, bad: 4.0}.get(run.labels[axis], 1.0)
        facts = {"val_mae": error, "test_mae": error, "n_test": 5, "unit": "eV"}
        said = [error, -error, error, -error, error]
        predictions = pd.DataFrame({"id": list("abcde"), "target": 0.0, "prediction": said})
        row = {"id": run.id, "labels": dict(run.labels), "status": "done", "seconds": 1.0, "finished": "2026"}
        folder.write({**row, **facts}, predictions)
    monkeypatch.setattr("sys.argv", ["findings", part, "--dir", str(tmp_path)])
    findings.main()
    said = capsys.readouterr().out
    assert said.startswith(f"\n## {study.report.title or part}\n")
    if baseline:
        # of two values one is the baseline and the other the bad one
        assert ("1 ± 0; +50.0 % (50 to 50)" in said) == (len(there) > 2)
        assert "4 ± 0; -100.0 % (-100 to -100)" in said
    if part == "pairs":
        sources, targets = len(study.axes["source"].values) - 1, len(study.axes["target"].values)
        pairs = targets * (sources - 1)
        harmed = targets - 1  # of itself there is no pair
        assert f"better than the baseline in {pairs - harmed} of {pairs}" in said
        assert f"interval above zero in {pairs - harmed}, below zero in {harmed}" in said
        assert "published numbers are not at hand" in said
