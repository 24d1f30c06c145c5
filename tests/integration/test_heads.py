"""Every head through the commands: fit, test and predict on one small table."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tlzoo.crystals import Crystals

HEADS = {
    "several": (["gap", "volume"], "MultiProperty", {"targets": ["gap", "volume"]}, ["gap", "volume"]),
    "two classes": (["wide"], "Classification", {}, ["wide_probability"]),
    "three classes": (
        ["kind"],
        "Classification",
        {"classes": 3},
        ["kind_class", "kind_probability_0", "kind_probability_1", "kind_probability_2"],
    ),
    "gaussian": (["gap"], "Gaussian", {}, ["gap", "gap_std"]),
    "quantile": (["gap"], "Quantile", {}, ["gap", "gap_q5", "gap_q95"]),
}


@pytest.fixture(scope="module")
def table(few, tmp_path_factory):
    """Crystals with numbers, classes and a property that is known for every other crystal."""
    crystals = Crystals.read_parquet(few)
    gap = crystals.column("band_gap")
    volume = np.abs(np.linalg.det(crystals.lattice)) / crystals.num_atoms
    volume[::2] = np.nan
    low, high = np.quantile(gap, [0.33, 0.66])
    columns = {
        "gap": gap,
        "wide": (gap > np.median(gap)).astype(float),
        "kind": np.digitize(gap, [low, high]).astype(float),
        "volume": volume,
    }
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    replace(crystals, columns=columns, units={"gap": "eV", "volume": "Å^3"}).write_parquet(path)
    return path


@pytest.mark.parametrize("case", HEADS)
def test_fit_test_predict(case, table, tlzoo, config, tmp_path):
    targets, head, arguments, columns = HEADS[case]
    path = config(
        {
            "model.head": {"class_path": head, "init_args": {"hidden": [8], **arguments}},
            "data.source": str(table),
            "data.targets": targets,
        }
    )
    run = tmp_path / "run"
    for command in (("fit", "--config", path, "--run_dir", run), ("test", run)):
        answer = tlzoo(*command)
        assert answer.code == 0, answer.err
    for plot in re.split("(?:parity plot|plots): ", answer.out)[1].splitlines()[0].split(", "):
        assert (tmp_path / plot).is_file()
    for target in targets if len(targets) > 1 else []:
        rows = [line for line in answer.out.splitlines() if line.startswith(f"test, {target}")]
        assert len(rows) == 5, "the network and four baselines"
        assert all(len(row.split()) >= 5 for row in rows)
    assert tlzoo("predict", run, table, "-o", tmp_path / "answers.csv").code == 0
    answers = pd.read_csv(tmp_path / "answers.csv")
    ends = [f"{name}_{end}" for name in targets for end in ("q5", "q95") if head != "Classification"]
    wanted = dict.fromkeys(["id", *columns, *ends, "trust", "unseen_elements", "distance"])
    assert list(answers.columns) == list(wanted)
    assert len(answers) == 24
    assert answers[columns].notna().all().all()


def test_finetune_tells_two_classes_apart(table, tlzoo, tmp_path):
    """The balanced error is that of the predictions, and the plots are of classes; no word of NaN."""
    run = tmp_path / "run"
    words = ("--target", "wide", "--from", "cgcnn-mpt", "--epochs", "3", "--pooling", "mean")
    answer = tlzoo("finetune", table, *words, "--run_dir", run)
    assert answer.code == 0, answer.err
    said = answer.out + answer.err
    assert "wide is 0 or 1 and learned as two classes; of 0 and 1 there are: train" in said
    assert "test balanced error" in said
    assert "validation cross entropy" in said
    assert "nan" not in re.findall(r"[a-z]+", said.lower())
    verdict = json.loads((run / "verdict.json").read_text())
    first = run / verdict["sides"]["transfer"]["run"]
    predicted = pd.read_csv(first / "predictions.csv")
    test = predicted[predicted["part"] == "test"]
    right = (test["prediction"] > 0.5) == (test["target"] == 1)
    balanced = 1 - right.groupby(test["target"]).mean().mean()
    rows = {row["name"]: row for row in verdict["results"]}
    assert rows["transfer"]["mae"] == pytest.approx(balanced)
    assert rows["majority"]["mae"] == 0.5
    assert set(rows) == {"transfer", "scratch", "majority", "random forest"}
    assert not list(first.glob("parity*.png"))
    drawn = {"confusion.png", "roc.png", "calibration.png", "learning-curve.png", "embedding-map.png"}
    assert {path.name for path in first.glob("*.png")} == drawn
    answer = tlzoo("predict", run, table, "-o", tmp_path / "said.csv")
    assert answer.code == 0, answer.err
    assert pd.read_csv(tmp_path / "said.csv")["wide_probability"].between(0, 1).all()


def test_a_number_that_is_zero_or_one(table, tlzoo, tmp_path):
    (tmp_path / "number.yaml").write_text("model: {head: {class_path: Regression}}")
    words = ("--target", "wide", "--from", "cgcnn-mpt", "--epochs", "1", "--pooling", "mean")
    rates = ("--learning-rates", "3e-3", "--config", tmp_path / "number.yaml")
    answer = tlzoo("finetune", table, *words, *rates, "--run_dir", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "test MAE" in answer.out
    assert "two classes" not in answer.out
