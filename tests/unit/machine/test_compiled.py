"""Where nothing can be compiled, there is nothing compiled, and no error; threads are those of torch."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tlzoo.machine.compiled import VARIABLE, compiled
from tlzoo.nn import passes

COMPILERS = ["", " ", "cc 'x", "no-such-compiler", "false", "true", "cc --no-such-flag"]


@pytest.fixture(autouse=True)
def compiled_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.cache_clear()
    yield
    compiled.cache_clear()


@pytest.mark.parametrize("command", COMPILERS)
def test_a_compiler_that_is_none(tmp_path, monkeypatch, command):
    monkeypatch.setenv(VARIABLE, command)
    assert compiled(passes.SOURCE) is None
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
@pytest.mark.parametrize(
    ("kept", "added"), [(5000, b""), (0, b""), (-1, b"\0\0")], ids=["half", "empty", "changed"]
)
def test_a_damaged_file_is_made_anew(tmp_path, kept, added):
    """In a process of its own: to load half a library may end it."""
    program = "from tlzoo.graphs import compiled_graphs as ours; assert ours.library() is not None"
    command = [sys.executable, "-c", program]
    subprocess.run(command, check=True)
    (library,) = tmp_path.rglob("*.so")
    made = library.read_bytes()
    library.write_bytes(made[:kept] + added)
    subprocess.run(command, check=True)
    assert library.read_bytes() == made


@pytest.mark.parametrize("home", ["/dev/null", "~nobody-of-this-name/cache"])
def test_a_cache_that_is_none(monkeypatch, home):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert compiled(passes.SOURCE) is None


# of a process that computes by two threads
PARTS = """
import json, os, sys, torch
from pathlib import Path
from tlzoo.nn import passes

def loaded():
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sorted({line.split()[-1] for line in lines if "omp" in Path(line.split()[-1]).name})

before = loaded()
torch.set_num_threads(2)
passes.FEWEST = 1
x, share = torch.arange(99 * 64.0).reshape(99, 64), torch.full((99,), 1 / 99)
found = [each.sum().item() for each in passes.moments(x, share)]
threads = len(os.listdir("/proc/self/task"))
print(json.dumps({"found": found, "openmp": loaded() == before, "threads": threads}))
"""


def parts(command, folder):
    own = {"TLZOO_COMPILER": command, "XDG_CACHE_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **own}
    command = [sys.executable, "-c", PARTS]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
@pytest.mark.parametrize("instead", ["--no-such-flag", "-include missing.h"], ids=["to compile", "to load"])
def test_without_openmp_one_thread_finds_the_same(tmp_path, instead):
    """A compiler that knows no OpenMP, and one that calls functions that nobody has."""
    missing = "void missing(void); __attribute__((constructor)) static void call(void) { missing(); }\n"
    (tmp_path / "missing.h").write_text(missing)
    other = tmp_path / "other-cc"
    other.write_text(
        '#!/bin/sh\nfor word; do shift; case $word in -fopenmp) set -- "$@" '
        f'{instead.replace("missing.h", str(tmp_path / "missing.h"))};; *) set -- "$@" "$word";; esac; done\n'
        'exec cc "$@"\n'
    )
    other.chmod(0o755)
    usual, without = parts("cc", tmp_path / "usual"), parts(str(other), tmp_path / "without")
    assert without["found"] == usual["found"]
    assert without["openmp"]
    assert list((tmp_path / "without").rglob("*.so"))
    assert without["threads"] <= usual["threads"]


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_no_second_openmp_is_loaded(tmp_path):
    assert parts("cc", tmp_path)["openmp"]
