"""What a wheel may hold: the package, all cards, and the weights of small networks."""

import io
import json
import tarfile
import zipfile

import pytest

import tlzoo
from maintenance import distributions

WHEEL = f"tlzoo-{tlzoo.__version__}-py3-none-any.whl"
SDIST = f"tlzoo-{tlzoo.__version__}.tar.gz"
SHARE = f"tlzoo-{tlzoo.__version__}.data/data/share/tlzoo/checkpoints"
FILES = [
    "tlzoo/crystals.py",
    f"{SHARE}/tiny-gap.json",
    f"{SHARE}/tiny-gap.safetensors",
    f"{SHARE}/large.json",
]
SOURCE = [
    "tlzoo/crystals.py",
    "pyproject.toml",
    *(f"checkpoints/{name.rpartition('/')[2]}" for name in FILES[1:]),
]


@pytest.fixture
def root(tmp_path, content):
    """A repository with a small and a large network."""
    for name, size in (("tiny-gap", 4_000_000), ("large", 4_000_001)):
        path = tmp_path / "checkpoints" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({**content, "name": name, "bytes": size}))
        path.with_suffix(".safetensors").touch()
    (tmp_path / "tlzoo").mkdir()
    (tmp_path / "tlzoo" / "crystals.py").touch()
    (tmp_path / "tlzoo" / "crystals.cpython-311.pyc").touch()
    return tmp_path


def problems(root, files=FILES, source=SOURCE):
    with zipfile.ZipFile(root / WHEEL, "w") as wheel:
        for name in (*files, f"tlzoo-{tlzoo.__version__}.dist-info/RECORD"):
            wheel.writestr(name, "")
    with tarfile.open(root / SDIST, "w:gz") as sdist:
        for name in source:
            sdist.addfile(tarfile.TarInfo(f"tlzoo-{tlzoo.__version__}/{name}"), io.BytesIO())
    return list(distributions.problems(root, root))


def test_as_it_should_be(root):
    assert problems(root) == []


@pytest.mark.parametrize("lacking", FILES)
def test_what_the_wheel_lacks(root, lacking):
    name = lacking if lacking.startswith("tlzoo/") else f"checkpoints/{lacking.rpartition('/')[2]}"
    assert problems(root, [file for file in FILES if file != lacking]) == [f"the wheel lacks {name}"]


@pytest.mark.parametrize("file", [f"{SHARE}/large.safetensors", "tests/test_layers.py"])
def test_what_the_wheel_has_besides(root, file):
    name = f"checkpoints/{file.rpartition('/')[2]}" if file.startswith(SHARE) else file
    assert problems(root, [*FILES, file]) == [f"the wheel has {name}"]


def test_what_the_sdist_lacks(root):
    assert problems(root, source=SOURCE[:-1]) == ["the sdist lacks checkpoints/large.json"]


def test_size(root, monkeypatch):
    monkeypatch.setattr(distributions, "LARGEST", 300)
    (large,) = [line for line in problems(root) if line.startswith(WHEEL)]
    assert "at most 300 are wanted" in large


def test_nothing_was_built(root):
    assert list(distributions.problems(root, root)) == [f"{root} lacks {WHEEL} and {SDIST}"]
