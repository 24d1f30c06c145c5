"""Every head through the commands: fit, test and predict on one small table."""

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
    for plot in answer.out.split("parity plot: ")[1].splitlines()[0].split(", "):
        assert (tmp_path / plot).is_file()
    for target in targets if len(targets) > 1 else []:
        rows = [line for line in answer.out.splitlines() if line.startswith(f"test, {target}")]
        assert len(rows) == 5, "the network and four baselines"
        assert all(len(row.split()) >= 5 for row in rows)
    assert tlzoo("predict", run, table, "-o", tmp_path / "answers.csv").code == 0
    answers = pd.read_csv(tmp_path / "answers.csv")
    assert list(answers.columns) == ["id", *columns, "trust", "unseen_elements", "distance"]
    assert len(answers) == 24
    assert answers[columns].notna().all().all()
