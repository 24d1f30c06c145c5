"""The directory of a study: whole files, claims that end with their process, one table."""

import subprocess
import sys
import threading

import pandas as pd
import pytest

from tlzoo.errors import UserError
from tlzoo.study.study_folder import Folder

ROW = {"id": "abc", "status": "done", "val_mae": 1.5, "test_r2": float("nan"), "finished": "2026"}

HOLD = """\
import sys, time
from pathlib import Path
from tlzoo.study.study_folder import Folder
claim = Folder(Path(sys.argv[1])).claim("abc")
print("held" if claim else "not to be had", flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path / "study")
    folder.make()
    return folder


def test_a_row_is_there_with_its_predictions_or_not_at_all(folder, monkeypatch):
    predictions = pd.DataFrame({"id": ["x"], "target": [1.0], "prediction": [2.0]})
    folder.write(ROW, predictions)
    assert folder.rows() == {"abc": {**ROW, "test_r2": None}}
    pd.testing.assert_frame_equal(pd.read_parquet(folder.predictions("abc")), predictions)
    (folder.path / "rows" / "half.json.partial").write_text('{"id": ')
    assert set(folder.rows()) == {"abc"}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(UserError, match=r"def\.parquet cannot be written"):
        folder.write({**ROW, "id": "def"}, predictions)
    assert set(folder.rows()) == {"abc"}


def test_halves_that_killed_processes_left_are_removed(folder):
    """But not what is being written at this moment."""
    (folder.path / "predictions").mkdir(exist_ok=True)
    left = [
        folder.path / name for name in ("predictions/abc.parquet.1234.partial", "rows/abc.json.5.partial")
    ]
    written = folder.path / "rows" / "def.json.6.partial"
    for path in (*left, written):
        path.write_text("{")
    claim = folder.claim("def")
    Folder(folder.path).make()
    assert [path.exists() for path in (*left, written)] == [False, False, True]
    claim.release()
    folder.make()
    assert not written.exists()
    assert not list((folder.path / "claims").iterdir())


def test_a_row_that_changed_is_read_again(folder):
    folder.write(ROW, None)
    assert folder.rows()["abc"]["val_mae"] == 1.5
    folder.write({**ROW, "val_mae": 2.5}, None)
    assert folder.rows()["abc"]["val_mae"] == 2.5


def test_a_claim_is_of_one(folder):
    claim = folder.claim("abc")
    assert folder.claimed() == {"abc"}
    assert Folder(folder.path).claim("abc") is None
    other = Folder(folder.path).claim("def")
    claim.release()
    assert folder.claimed() == {"def"}
    other.release()
    again = folder.claim("abc")
    assert again is not None
    again.release()
    assert list((folder.path / "claims").iterdir()) == []


def test_a_claim_clears_what_the_one_before_left(folder):
    folder.work("abc").mkdir(parents=True)
    (folder.path / "claims" / "abc").touch()
    assert folder.claimed() == set()
    folder.claim("abc").release()
    assert not folder.work("abc").exists()


def test_the_claim_of_a_killed_process_ends(folder):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder.path], stdout=subprocess.PIPE, text=True
    ) as held:
        assert held.stdout.readline() == "held\n"
        assert folder.claimed() == {"abc"}
        assert folder.claim("abc") is None
        held.kill()
    assert held.wait() != 0
    claim = folder.claim("abc")
    assert claim is not None
    claim.release()


def test_to_look_takes_no_claim_and_disturbs_none(folder):
    claim = folder.claim("abc")
    (folder.path / "claims" / "left").touch()
    for _ in range(2):
        assert folder.claimed() == {"abc"}
    assert [path.name for path in (folder.path / "claims").iterdir()] == ["abc"]
    left = folder.claim("left")
    assert left is not None
    left.release()
    claim.release()


def test_a_claim_can_be_given_back_from_another_thread(folder):
    claim = folder.claim("abc")
    thread = threading.Thread(target=claim.release)
    thread.start()
    thread.join()
    assert folder.claimed() == set()


def test_one_process_writes_the_table(folder):
    table = pd.DataFrame({"id": ["abc"]})
    with Folder(folder.path).gathering() as ours:
        assert ours
        assert folder.claimed() == set()
        folder.write_results(table)
        assert not folder.results.exists()
    folder.write_results(table)
    assert len(pd.read_parquet(folder.results)) == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/study cannot be made: Not a directory; choose another --dir"):
        Folder(tmp_path / "file" / "study").make()
