"""Where nothing can be compiled, there is nothing compiled, and no error."""

import pytest

from tlzoo.nn import passes
from tlzoo.machine.compiled import VARIABLE, compiled

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


@pytest.mark.parametrize("home", ["/dev/null", "~nobody-of-this-name/cache"])
def test_a_cache_that_is_none(monkeypatch, home):
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert compiled(passes.SOURCE) is None
