"""Folders of arrays that appear complete or not at all."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.graphs import cache


def write(folder, value=1.0, key="k"):
    with cache.Writer(folder, key) as writer:
        for _ in range(3):
            writer.append("a", np.full((2, 3), value, dtype=np.float32))
        writer.append("b", np.arange(5, dtype=np.uint8))
        writer.finish({"note": "x"})


def test_pieces_are_joined(tmp_path):
    write(tmp_path / "f")
    arrays = cache.read(tmp_path / "f", "k")
    assert {name: (a.dtype.name, a.shape) for name, a in arrays.items()} == {
        "a": ("float32", (6, 3)),
        "b": ("uint8", (5,)),
    }
    assert (arrays["a"] == 1).all()
    assert arrays["b"].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(np.load(tmp_path / "f" / "a.npy"), arrays["a"])


def test_wider_pieces_widen_the_array(tmp_path):
    pieces = [np.array(values, dtype) for values, dtype in (([], "u1"), ([7], "u1"), ([300, 4], "u2"))]
    pieces += [np.array([9], "u1"), np.array([70_000], "u4"), np.array([5], "u2")]
    with cache.Writer(tmp_path / "f", "k") as writer:
        for piece in pieces:
            writer.append("a", piece)
        writer.finish({})
    array = cache.read(tmp_path / "f", "k")["a"]
    assert (array.dtype, array.tolist()) == (np.uint32, [7, 300, 4, 9, 70_000, 5])
    assert sorted(f.name for f in (tmp_path / "f").iterdir()) == ["a.npy", "meta.json"]


def test_only_files_that_were_touched_are_read(tmp_path, monkeypatch):
    write(tmp_path / "f")
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, kind: read.append(file.name) or digest(file, kind)
    )
    assert cache.read(tmp_path / "f", "k") is not None
    assert read == []
    os.utime(tmp_path / "f" / "b.npy")
    assert cache.read(tmp_path / "f", "k") is not None
    assert [Path(name).name for name in read] == ["b.npy"]


def test_empty_arrays(tmp_path):
    with cache.Writer(tmp_path / "f", "k") as writer:
        writer.append("a", np.empty((0, 3)))
        writer.finish({})
    assert cache.read(tmp_path / "f", "k")["a"].shape == (0, 3)


def test_absent(tmp_path, caplog):
    assert cache.read(tmp_path / "f", "k") is None
    assert caplog.text == ""


def test_nothing_is_left_without_finish(tmp_path):
    with cache.Writer(tmp_path / "f", "k") as writer:
        writer.append("a", np.zeros(3))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_after_an_interrupt(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.Writer, "finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_wins(tmp_path):
    with cache.Writer(tmp_path / "f", "k") as one, cache.Writer(tmp_path / "f", "k") as other:
        one.append("a", np.zeros(3))
        other.append("a", np.ones(3))
        other.finish({})
        kept = cache.read(tmp_path / "f", "k")["a"]
        one.finish({})
    assert cache.read(tmp_path / "f", "k")["a"].tolist() == kept.tolist() == [1, 1, 1]
    assert [f.name for f in tmp_path.iterdir()] == ["f"]


RACE = """
import sys, time
from pathlib import Path
import numpy as np
from tlzoo.graphs import cache

top, value = Path(sys.argv[1]), float(sys.argv[2])
(top / f"ready-{value}").touch()
while len(list(top.glob("ready-*"))) < 2:
    time.sleep(0.0005)
for i in range(40):
    folder = top / "graphs" / str(i)
    if cache.read(folder, "k") is None:
        with cache.Writer(folder, "k") as writer:
            writer.append("a", np.full(1000, value))
            writer.append("b", np.full(1000, value))
            writer.finish({})
    arrays = cache.read(folder, "k")
    assert arrays["a"].tolist() == arrays["b"].tolist() == [arrays["a"][0]] * 1000
"""


def test_two_processes_at_once(tmp_path):
    both = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), value], stderr=subprocess.PIPE, text=True
        )
        for value in ("0", "1")
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in both] == [("", 0)] * 2
    assert len(list((tmp_path / "graphs").iterdir())) == 40


def test_a_damaged_folder_is_replaced(tmp_path, caplog):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a.npy").write_bytes(b"half")
    write(tmp_path / "f")
    assert cache.read(tmp_path / "f", "k")["a"].shape == (6, 3)
    assert [f.name for f in tmp_path.iterdir()] == ["f"]
    assert "is damaged" in caplog.text


def test_other_arrays_are_made_again(tmp_path, caplog):
    """What an earlier state of the program wrote under the same key."""
    write(tmp_path / "f")
    made = []

    def make(writer):
        made.append(writer)
        writer.append("a", np.ones(2))
        writer.append("c", np.zeros(3))
        writer.finish({})

    for _ in range(2):
        arrays = cache.kept(tmp_path / "f", "k", "things", ["a", "c"], make)
        assert {name: len(values) for name, values in arrays.items()} == {"a": 2, "c": 3}
    assert len(made) == 1
    assert "lacks or should not have b, c" in caplog.text


def test_what_killed_processes_left_is_deleted(tmp_path):
    for name, age in ((".partial-old", cache.ABANDONED + 60), (".partial-new", 60)):
        (tmp_path / name / "f").mkdir(parents=True)
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    write(tmp_path / "f")
    assert sorted(f.name for f in tmp_path.iterdir()) == [".partial-new", "f"]


class TestDisk:
    @pytest.fixture
    def full_disk(self, monkeypatch):
        """A disk that is full after some writes."""

        def limit(writes, number=errno.ENOSPC):
            real = cache._write_header

            def header(file, dtype, shape):
                nonlocal writes
                writes -= 1
                if writes < 0:
                    raise OSError(number, os.strerror(number))
                real(file, dtype, shape)

            monkeypatch.setattr(cache, "_write_header", header)

        return limit

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_full(self, tmp_path, full_disk, number):
        full_disk(1, number)
        with pytest.raises(
            UserError, match="make room, or set TLZOO_CACHE to a folder on another disk"
        ) as caught:
            write(tmp_path / "graphs" / "f")
        assert str(caught.value).startswith("the disk is full: the graphs do not fit below ")
        assert str(tmp_path / "graphs") in str(caught.value)
        assert list((tmp_path / "graphs").iterdir()) == []

    def test_need_is_estimated(self, tmp_path, full_disk):
        def fill():
            with cache.Writer(tmp_path / "f", "k") as writer:
                writer.append("a", np.zeros(250_000))
                writer.progress = 0.25
                writer.append("b", np.zeros(250_000))

        full_disk(1)
        with pytest.raises(UserError, match="the disk is full: the graphs of about 8 MB do not fit"):
            fill()

    def test_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(
            UserError, match=r"cannot write graphs below .*; set TLZOO_CACHE to a folder that can"
        ):
            write(tmp_path / "file" / "graphs" / "f")

    def test_other_errors_pass(self, tmp_path):
        with pytest.raises(ZeroDivisionError), cache.Writer(tmp_path / "f", "k"):
            _ = 1 / 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TLZOO_CACHE": "own", "XDG_CACHE_HOME": "xdg"}, Path("own")),
        ({"XDG_CACHE_HOME": "xdg"}, Path("xdg/tlzoo")),
        ({"XDG_CACHE_HOME": ""}, Path.home() / ".cache" / "tlzoo"),
        ({"TLZOO_CACHE": "~/own"}, Path.home() / "own"),
    ],
)
def test_default_dir(monkeypatch, environment, expected):
    for name in ("TLZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache.default_dir() == expected
