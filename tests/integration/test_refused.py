"""What the system refuses, what is nested or asks without end, and readers that leave: a message each."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from tlzoo.__main__ import MODULES, fail, main
from tlzoo.cards.library import find
from tlzoo.commands import say
from tlzoo.machine import streams

MODEL = "cgcnn-fe"
LONG = "x" * 300
DEEP = "[" * 100_000
TINY = (
    "--data.targets", "[band_gap]", "--model.backbone", "CGCNN", "--model.backbone.dim", 8,
    "--model.backbone.depth", 1, "--model.head", "Regression", "--trainer.max_epochs", 1,
    "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
    "--trainer.enable_model_summary", "false",
)  # fmt: skip


@pytest.fixture
def here(tmp_path, few, monkeypatch):
    """A folder with a crystal, a file and a folder, to work in."""
    from tlzoo.crystals import Crystals

    crystals = Crystals.read_parquet(few)
    crystals.structure(0).to(filename=str(tmp_path / "one.cif"))
    crystals.select(range(6)).write_parquet(tmp_path / "six.parquet")
    (tmp_path / "file").touch()
    (tmp_path / "out.csv").mkdir()
    (tmp_path / "out.parquet").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Commands that write, with the place for a path without an ending.
WRITING = {
    "predict csv": ("predict", MODEL, "one.cif", "-o", "{}.csv"),
    "predict parquet": ("predict", MODEL, "one.cif", "-o", "{}.parquet"),
    "embed": ("embed", MODEL, "one.cif", "-o", "{}.csv"),
    "screen": ("screen", MODEL, "six.parquet", "-o", "{}.parquet", "--jobs", 1),
    "shards": ("screen", MODEL, "six.parquet", "-o", "s.parquet", "--jobs", 1, "--dir", "{}.csv"),
    "fit": ("fit", "--data.source", "six.parquet", "--run-dir", "{}.csv", *TINY),
}
PLACES = {
    "a folder below a file": ("file/out", "Not a directory; choose another|Not a directory"),
    "a name too long": (LONG, "File name too long"),
    "a path too long": ("/".join(["y" * 200] * 30) + "/out", "File name too long"),
    "nobody's folder": ("/proc/nowhere/out", "No such file or directory"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", WRITING)
def test_what_cannot_be_written_is_one_message(command, place, here, tlzoo):
    path, message = PLACES[place]
    answer = tlzoo(*(str(word).format(path) for word in WRITING[command]))
    assert answer.code == 2
    last = answer.err.splitlines()[-1]
    assert last.startswith("tlzoo: ")
    assert any(text in last for text in message.split("|"))
    assert path[:4] in last


@pytest.mark.parametrize("command", ["predict csv", "predict parquet", "embed", "screen"])
def test_an_output_that_is_a_folder(command, here, tlzoo):
    answer = tlzoo(*(str(word).format("out") for word in WRITING[command]))
    assert answer.code == 2
    assert "cannot be written: Is a directory; choose another name" in answer.err
    assert list((here / "out.csv").iterdir()) == list((here / "out.parquet").iterdir()) == []


READING = {
    "predict": ("predict", MODEL, "{}", "-o", "p.csv"),
    "screen": ("screen", MODEL, "{}", "-o", "s.parquet", "--jobs", 1),
    "check": ("data", "check", "{}"),
    "recommend": ("recommend", "{}", "--target", "band_gap", "--from", MODEL),
    "fit": ("fit", "--data.source", "{}", "--run-dir", "run", *TINY),
}
UNREADABLE = {
    "deep.json": (DEEP, "nested too deeply"),
    "object.json": ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
    "deep.jsonl": (DEEP, "nested too deeply"),
    "cell.csv": (f'id,structure,band_gap\na,"{DEEP}",1\n', "which is no file"),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("command", READING)
def test_nested_without_end(command, name, here, tlzoo):
    content, message = UNREADABLE[name]
    Path(name).write_text(content)
    answer = tlzoo(*(str(word).format(name) for word in READING[command]))
    assert answer.code == 2
    said = answer.out + answer.err
    assert f"{name}" in said
    assert message in said
    assert len(said) < 3000, "a cell of 100 kB is not repeated"


@pytest.mark.parametrize("command", READING)
def test_an_input_with_a_name_too_long(command, here, tlzoo, monkeypatch):
    monkeypatch.delenv("TLZOO_DATA", raising=False)
    answer = tlzoo(*(str(word).format(LONG) for word in READING[command]))
    assert answer.code == 2
    assert answer.err.endswith(f"{LONG}: File name too long; choose a shorter name\n")


@pytest.mark.parametrize(
    ("note", "message"),
    [
        (b"{", "is no JSON"),
        (DEEP.encode(), "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[1]", "has no texts in 'units'"),
        (b'{"units": 5}', "has no texts in 'units'"),
        (b'{"units": null}', "has no texts in 'units'"),
        (b'{"units": {"band_gap": 5}}', "has no texts in 'units'"),
        (b'{"units": {}, "columns": 7}', "has no texts in 'columns'"),
    ],
)
def test_a_table_whose_header_says_nonsense(note, message, here, tlzoo):
    table = pq.read_table("six.parquet").replace_schema_metadata({"tlzoo": note})
    pq.write_table(table, "strange.parquet")
    for command in ("predict", "screen", "fit"):
        answer = tlzoo(*(str(word).format("strange.parquet") for word in READING[command]))
        assert answer.code == 2
        said = f"strange.parquet: what its schema says under the key tlzoo {message}"
        assert said in answer.err


ARCHIVES = {
    "a tensor": torch.zeros(3),
    "a list": [1, 2],
    "nothing": None,
    "other keys": {"a": 1},
    "weights alone": {"state_dict": {"w": torch.zeros(2)}},
    "weights that are none": {"state_dict": 5, "pytorch-lightning_version": "2.0"},
}


@pytest.mark.parametrize("content", ARCHIVES)
def test_a_valid_archive_that_is_no_resume_file(content, here, tlzoo):
    torch.save(ARCHIVES[content], "other.ckpt")
    answer = tlzoo(
        "fit", "--data.source", "six.parquet", "--run-dir", "run", "--ckpt-path", "other.ckpt", *TINY
    )
    assert answer.code == 2
    last = answer.err.splitlines()[-1]
    assert last == (
        "tlzoo: other.ckpt is no resume file, or damaged; take another one, or delete it to begin anew"
    )


def ended(*words, environment=None, then=""):
    """How ``tlzoo`` of its own process ended: exit code, output, error."""
    command = " ".join([sys.executable, "-m", "tlzoo", *map(str, words), then])
    done = subprocess.run(
        ["/bin/bash", "-c", command], env=os.environ | (environment or {}), capture_output=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [("zoo", "info", MODEL), ("zoo", "--help"), ("--help",)])
def test_a_reader_that_leaves(words):
    """As ``| head -1``: nothing is said, and the exit code is that of SIGPIPE."""
    code, _, error = ended(*words, then="| head -c 1; exit ${PIPESTATUS[0]}")
    assert error == b""
    assert code in {0, streams.UNREAD}, "0 if all was written before"


def test_nobody_reads_from_the_beginning():
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tlzoo", "zoo", "info", MODEL],
            stdout=write,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (streams.UNREAD, b"")


def test_a_full_disk_behind_standard_output():
    if not Path("/dev/full").exists():
        pytest.skip("a device without room is Linux's")
    code, _, error = ended("--help", then="> /dev/full")
    assert code == 2
    assert error == (
        b"tlzoo: the disk is full; make room and run the same command again, nothing finished is lost\n"
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_that_are_closed(closed, here):
    words = ("zoo", "info", MODEL)
    code, out, error = ended(*words, then=closed)
    assert (code, error) == (0, b"")
    assert out.startswith(b"" if ">&-" in closed.split() else b"cgcnn-fe:")
    code, _, error = ended("zoo", "info", "cgcnn-none", then=closed)
    assert code == 2
    assert error.startswith(b"" if "2>&-" in closed else b"tlzoo: there is no checkpoint")


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_output_that_has_no_arrow(environment, here):
    code, out, error = ended("predict", MODEL, "one.cif", "-o", "p.csv", environment=environment)
    assert (code, error) == (0, b"")
    assert out == b"1 crystal: formation_energy in eV/atom \\u2192 p.csv\n"
    assert Path("p.csv").is_file()


@pytest.mark.parametrize("after", [0.05, 0.6, 1.5])
def test_control_c_during_the_start(after, here):
    code = (
        "import os, signal, sys, threading\n"
        "from tlzoo.__main__ import main\n"
        f"timer = threading.Timer({after}, os.kill, (os.getpid(), signal.SIGINT))\n"
        "timer.daemon = True\n"
        "timer.start()\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["predict", MODEL, "one.cif", "-o", "p.csv"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    # on a fast machine it was done before
    assert (done.returncode, done.stderr) in {(130, b"tlzoo: stopped\n"), (0, b""), (-signal.SIGINT, b"")}


@pytest.mark.parametrize("address", ["http://[::1", "https://me:secret@[::1/net.safetensors"])
@pytest.mark.parametrize(
    "command",
    [
        ("predict", "{}", "one.cif", "-o", "p.csv"),
        ("zoo", "pull", "{}"),
        ("recommend", "six.parquet", "--target", "band_gap", "--from", "{}"),
    ],
)
def test_an_address_that_does_not_close(command, address, here, tlzoo):
    answer = tlzoo(*(word.format(address) for word in command))
    assert answer.code == 2
    assert "is no address: Invalid IPv6 URL; wanted https://…/NAME.safetensors#sha256=…" in answer.err
    assert "secret" not in answer.err


def test_a_password_is_nowhere_in_what_is_said(capsys):
    say("model https://me:secret@host/net.safetensors")
    fail("no answer from https://me:secret@host/net.safetensors?key=hidden")
    said = capsys.readouterr()
    assert said.out == "model https://***@host/net.safetensors\n"
    assert said.err == "tlzoo: no answer from https://***@host/net.safetensors?***\n"


def test_what_is_nested_elsewhere_has_a_message_too(monkeypatch):
    def deep(_):
        raise RecursionError

    monkeypatch.setattr("tlzoo.__main__.run", deep)
    with redirect_stderr(io.StringIO()) as error:
        assert main(["data"]) == 2
    assert error.getvalue() == (
        "tlzoo: something in the input is nested too deeply to be read; is it damaged?\n"
    )


def test_a_nested_card(here, tlzoo, monkeypatch):
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(here))
    for ending in (".json", ".safetensors"):
        Path(f"deep{ending}").write_bytes(find(MODEL).path.with_suffix(ending).read_bytes())
    Path("deep.json").write_text(DEEP)
    for words in (("zoo", "info", "deep"), ("predict", "deep.safetensors", "one.cif", "-o", "p.csv")):
        answer = tlzoo(*words)
        assert answer.code == 2
        assert "deep.json is no JSON" in answer.err
    assert json.loads(find(MODEL).path.with_suffix(".json").read_text())["name"] == MODEL


SWALLOWING = """
import signal

from tlzoo.errors import UserError

try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    pass


def main(args):
    raise UserError("the package is not installed")
"""


def test_ctrl_c_that_an_import_swallows_is_no_mistake_of_the_user(tmp_path, monkeypatch, capsys):
    """Some packages take it for a missing module, of which a message for users is made."""
    (tmp_path / "swallowing.py").write_text(SWALLOWING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(MODULES, "zoo", "swallowing")
    assert main(["zoo"]) == 130
    assert capsys.readouterr().err == "tlzoo: stopped\n"
    # the module is imported now, and nobody stops it
    assert main(["zoo"]) == 2
    assert capsys.readouterr().err == "tlzoo: the package is not installed\n"
