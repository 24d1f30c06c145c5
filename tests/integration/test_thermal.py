"""The story of docs/results/thermal.md on the real data, at small size."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tlzoo.data import named
from tlzoo.transfer import features

pytestmark = pytest.mark.usefixtures("quick")
ROOT = Path(__file__).parents[2] / "configs"
CONFIGS = [
    "--config",
    str(ROOT / "experiments/p3-descriptors.yaml"),
    "--config",
    str(ROOT / "leave-out/kappa.yaml"),
]


def test_from_phase_space_to_a_ranked_list(data_dir, tlzoo, tmp_path):
    assert named.known("phonondb_p3")
    run = tmp_path / "p3"
    answer = tlzoo("fit", *CONFIGS, "--trainer.max_epochs", 2, "--run_dir", run)
    assert answer.code == 0, answer.err

    # nothing that the network saw has the composition of a crystal to be predicted
    parts = json.loads((run / "split.json").read_text())
    source = named.load("phonondb_p3")
    seen = {name for part in parts.values() if isinstance(part, list) for name in part}
    compositions = {
        formula for name, formula in zip(source.ids, source.formulas, strict=True) if name in seen
    }
    assert len(seen) > 1500
    assert compositions.isdisjoint(named.load("kappa103").formulas)

    tables = ("kappa103", "ju2021_sps_kappa", "--target", "kappa_300K,kappa")
    arguments = (*tables, "--log", "--cv", "3-fold", "--layer", "auto")
    kept = ("--save", tmp_path / "kappa", "-o", tmp_path / "figures")
    answer = tlzoo("features", *arguments, "--from", f"{run},descriptors", *kept)
    assert answer.code == 0, answer.err
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["results"][0]["figures"]["ln"]["r2"] > 0.6
    # crystals of both tables count once; silicon is only in the second
    assert [part["crystals"] for part in content["tables"]] == [103, 7]
    assert "mp-149" in features.load(tmp_path / "kappa").card["tables"][1]["crystals"]

    pool = named.load("ju2021_sps_kappa").select(range(40))
    pool.write_parquet(tmp_path / "pool.parquet")
    answer = tlzoo(
        "screen",
        tmp_path / "kappa",
        tmp_path / "pool.parquet",
        "-o",
        tmp_path / "ranked.parquet",
        "--jobs",
        1,
    )
    assert answer.code == 0, answer.err
    ranked = pd.read_parquet(tmp_path / "ranked.parquet").set_index("id")
    said = features.load(tmp_path / "kappa").predict(pool).set_index("id")
    assert ranked["kappa_300K"].is_monotonic_decreasing
    pd.testing.assert_series_equal(
        ranked["kappa_300K"].sort_index(), said["kappa_300K"].sort_index(), rtol=1e-3, check_index_type=False
    )
