"""Files that are complete or absent, whoever writes them and however that ends."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlzoo.errors import UserError
from tlzoo.machine.files import ABANDONED, whole, write_text

WRITE = """\
import sys, time
from pathlib import Path
from tlzoo.machine.files import whole
with whole(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("half", flush=True)
    sys.stdin.readline()
    partial.write_text(sys.argv[2])
"""


def writer(path, text):
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, path, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_that_write_one_file_do_not_meet(tmp_path):
    path = tmp_path / "out.csv"
    with writer(path, "one") as one, writer(path, "other") as other:
        assert one.stdout.readline() == other.stdout.readline() == "half\n"
        assert not path.exists()
        one.communicate("\n")
        assert path.read_text() == "one"
        other.communicate("\n")
        assert path.read_text() == "other"
    assert one.returncode == other.returncode == 0
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_leaves_is_out_of_the_way_and_goes_after_a_day(tmp_path):
    path = tmp_path / "[out].json"
    with writer(path, "one") as killed:
        killed.stdout.readline()
        killed.kill()
    (left,) = tmp_path.iterdir()
    write_text(path, "now")
    assert path.read_text() == "now"
    # perhaps another process is still at it
    assert left.exists()
    assert [file.name for file in tmp_path.glob("*.json")] == [path.name]
    mine = tmp_path / "mine.partial"
    mine.touch()
    for file in (left, mine):
        os.utime(file, (0, time.time() - ABANDONED - 60))
    write_text(path, "again")
    assert sorted(tmp_path.iterdir()) == [path, mine]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(mask, tmp_path):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "one", "")
        (tmp_path / "other").write_text("")
    finally:
        os.umask(before)
    assert (tmp_path / "one").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_nothing_is_left_of_what_failed(tmp_path):
    path = tmp_path / "out"
    path.write_text("before")

    def fail():
        with whole(path) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_is_made(tmp_path):
    write_text(tmp_path / "new" / "folder" / "out", "text")
    assert (tmp_path / "new" / "folder" / "out").read_text() == "text"


def test_what_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / ("x" * 300), "x cannot be written: File name too long; choose a shorter name and run"),
        (tmp_path / "file" / "out", "out cannot be written: Not a directory; choose another folder"),
        (tmp_path / "file" / "folder" / "out", "Not a directory; choose another folder"),
    ):
        with pytest.raises(UserError, match=message):
            write_text(path, "text")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform != "linux", reason="nobody can write into /proc")
def test_a_file_system_that_is_read_only():
    with pytest.raises(UserError, match=r"/proc/self/out cannot be written: .*; make the folder writable"):
        write_text(Path("/proc/self/out"), "text")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="out cannot be written: Permission denied; make the folder writable"):
        write_text(tmp_path / "out", "text")
