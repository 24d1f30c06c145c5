"""Models that W&B keeps: what is asked of it, what is kept, what is said without it."""

import builtins
from pathlib import Path

import pytest

from tlzoo.cards import artifact as module
from tlzoo.cards.artifact import fetch_artifact
from tlzoo.errors import UserError


class Artifact:
    """What W&B knows of a model."""

    def __init__(self, version="v3", files=("net.safetensors", "net.json")):
        self.version, self.files = version, files

    def download(self, root):
        for name in self.files:
            (Path(root) / name).write_text(self.version)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A W&B with one model; the references it was asked for."""
    references = []

    class Api:
        answer = Artifact()

        def artifact(self, reference):
            references.append(reference)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    monkeypatch.setattr("wandb.Api", Api)
    monkeypatch.setattr(module, "has_key", lambda _: True)
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path))
    for name in ("WANDB_MODE", "TLZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return references, Api


def test_downloaded_once(asked, tmp_path, monkeypatch):
    references, _ = asked
    path = fetch_artifact("wandb:team/project/net:v3")
    assert path == tmp_path / "checkpoints" / "wandb" / "team" / "project" / "net-v3" / "net.safetensors"
    assert path.read_text() == path.with_suffix(".json").read_text() == "v3"
    monkeypatch.setenv("TLZOO_OFFLINE", "1")
    assert fetch_artifact("wandb:team/project/net:v3") == path
    assert references == ["team/project/net:v3"]


def test_words_are_asked_for_each_time(asked):
    references, api = asked
    assert fetch_artifact("wandb:team/project/net:latest").parent.name == "net-v3"
    api.answer = Artifact("v4")
    path = fetch_artifact("wandb:team/project/net:latest")
    assert path.parent.name == "net-v4"
    assert path.read_text() == "v4"
    assert len(references) == 2


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("TLZOO_OFFLINE", "1", "TLZOO_OFFLINE"), ("WANDB_MODE", "offline", "WANDB_MODE=offline")],
)
def test_offline(asked, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(
        UserError, match=rf"wandb:t/p/n:v0 must be asked of W&B, and {said} forbids it; unset it"
    ):
        fetch_artifact("wandb:t/p/n:v0")
    assert not asked[0]


@pytest.mark.parametrize(
    ("kind", "said"),
    [("Error", "No API key configured"), ("ValueError", "Unable to fetch"), ("OSError", "x")],
)
def test_refused_by_wandb(asked, kind, said):
    import wandb

    asked[1].answer = error = getattr(wandb if kind == "Error" else builtins, kind)(said)
    with pytest.raises(UserError, match=rf"W&B does not give wandb:t/p/n:v0: {error}\. Is there a network"):
        fetch_artifact("wandb:t/p/n:v0")


def test_without_a_key_nobody_is_asked(asked, monkeypatch):
    monkeypatch.setattr(module, "has_key", lambda _: False)
    with pytest.raises(UserError, match=r"wandb:t/p/n:v0 needs a key, and there is none: set WANDB_API_KEY"):
        fetch_artifact("wandb:t/p/n:v0")
    assert not asked[0]


@pytest.mark.parametrize("files", [(), ("model.ckpt",), ("net.safetensors",), ("a.safetensors", "b.json")])
def test_other_content(asked, files, tmp_path):
    asked[1].answer = Artifact(files=files)
    with pytest.raises(
        UserError, match=r"is no model of tlzoo: wanted one .safetensors file and its card, got"
    ):
        fetch_artifact("wandb:t/p/n:v0")
    assert not list((tmp_path / "checkpoints" / "wandb" / "t" / "p").iterdir())


@pytest.mark.parametrize(
    "reference", ["n:v0", "t/p/n", "t/p/n:v0/x", "t/p/../n:v0", "t/../n:v0", "t/p/..:v0", "t/p/n:.."]
)
def test_no_references(asked, reference):
    with pytest.raises(UserError, match=r"is no artifact[;:] "):
        fetch_artifact(f"wandb:{reference}")
    assert not asked[0]


def test_without_the_package(asked, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "wandb":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"needs the package wandb: pip install tlzoo\[wandb\]; or download"):
        fetch_artifact("wandb:t/p/n:v0")
