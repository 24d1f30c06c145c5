"""The results of a study in one file: what comes out is what went in."""

import numpy as np
import pandas as pd
import pytest

from tlzoo.errors import UserError
from tlzoo.study.document import load
from tlzoo.study.gathering import results
from tlzoo.study.packed import pack, unpack
from tlzoo.study.study_folder import Folder

STUDY = """\
base: {data: {source: s}}
axes:
  width: {key: model.dim, values: [8, 16]}
  trial: {key: data.seed, values: [1, 2]}
average: [trial]
baselines: true
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY)
    return load(tmp_path / "s.yaml")


@pytest.fixture
def folder(study, tmp_path):
    """Two runs are done, one without a test part; one failed; one is missing; a trivial baseline is there."""
    folder = Folder(tmp_path / "first")
    folder.make()
    rng = np.random.default_rng(0)
    runs = study.runs()
    for run, test in zip(runs, (True, False), strict=False):
        numbers = {
            "val_mae": rng.random(),
            "test_mae": rng.random() if test else None,
            "test_r2": float("nan"),
        }
        row = {"id": run.id, "labels": dict(run.labels), "started_from": [], "status": "done", **numbers}
        values = rng.normal(size=(2, 5)).astype(np.float32)
        values[0, 3] = np.nan
        table = pd.DataFrame({"id": list("abcde"), "target": values[0], "prediction": values[1]})
        folder.write({**row, "unit": "eV", "seconds": 3.0, "finished": "2026"}, table if test else None)
    failed = {"id": runs[2].id, "labels": dict(runs[2].labels), "status": "failed", "error": "no"}
    folder.write({**failed, "seconds": 1.0, "finished": "2026"}, None)
    name = study.trivial[0].id
    folder.write({"id": name, "labels": {}, "status": "done", "baselines": {}, "finished": "2026"}, None)
    return folder


def test_what_is_packed_comes_back(study, folder, tmp_path):
    file = tmp_path / "packed.parquet"
    assert pack(study, folder, file) == 2
    other = Folder(tmp_path / "second")
    assert unpack(study, other, file) == 2
    before, after = folder.rows(), other.rows()
    assert after == {name: row for name, row in before.items() if row["status"] == "done"}
    assert study.trivial[0].id in after
    pd.testing.assert_frame_equal(
        results(study, other), results(study, folder).query("status == 'done'").reset_index(drop=True)
    )
    for name in after:
        assert other.predictions(name).exists() == folder.predictions(name).exists()
    name = study.runs()[0].id
    pd.testing.assert_frame_equal(
        pd.read_parquet(other.predictions(name)), pd.read_parquet(folder.predictions(name))
    )
    assert unpack(study, other, file) == 0


def test_the_file_can_be_read_by_anybody(study, folder, tmp_path):
    pack(study, folder, tmp_path / "packed.parquet")
    table = pd.read_parquet(tmp_path / "packed.parquet").dropna(subset="width")
    assert list(table["width"]) == [8, 8]
    assert len(table["predictions"].iloc[0]) == 5


def test_what_failed_here_is_replaced_and_what_is_of_another_study_left(study, folder, tmp_path):
    file = tmp_path / "packed.parquet"
    pack(study, folder, file)
    (tmp_path / "other.yaml").write_text(STUDY.replace("[8, 16]", "[8, 32]").replace("[1, 2]", "[2, 3]"))
    other, theirs = load(tmp_path / "other.yaml"), Folder(tmp_path / "theirs")
    theirs.make()
    shared = study.runs()[1]
    theirs.write({"id": shared.id, "labels": {}, "status": "failed", "error": "no", "finished": "2026"}, None)
    assert unpack(other, theirs, file) == 1
    assert theirs.rows()[shared.id]["status"] == "done"
    assert study.runs()[0].id not in theirs.rows()


def test_nothing_to_pack_and_nothing_packed(study, tmp_path):
    with pytest.raises(UserError, match=r"there are no results yet in .*; begin: tlzoo study run .*s\.yaml"):
        pack(study, Folder(tmp_path / "none"), tmp_path / "packed.parquet")
    pd.DataFrame({"id": ["a"]}).to_parquet(tmp_path / "table.parquet")
    for path in (tmp_path / "table.parquet", tmp_path / "missing.parquet", tmp_path / "s.yaml"):
        with pytest.raises(UserError, match=f"{path.name} holds no results of a study: .*`tlzoo study pack`"):
            unpack(study, Folder(tmp_path / "none"), path)
