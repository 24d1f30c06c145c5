"""Where nothing can be compiled, there is nothing compiled, and no error."""

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
