"""A card that is right, to be made wrong field by field; a folder of checkpoints."""

import copy
import hashlib
import json
from typing import Any

import pytest

from tlzoo.cards import library

SHA = "0123456789abcdef" * 4
CONTENT: dict[str, Any] = {
    "name": "tiny-gap",
    "description": "A network for tests",
    "targets": ["gap", "density"],
    "units": ["eV", "1"],
    "spec": {
        "backbone": {
            "class_path": "tlzoo.backbones.CGCNN",
            "init_args": {"dim": 8, "graph": {"cutoff": 8.0, "neighbours": 12}},
        },
        "head": {"class_path": "tlzoo.heads.MultiProperty", "init_args": {"hidden": [8]}, "in_dim": 8},
    },
    "parameters": 1234,
    "scaler": {
        "gap": {"transform": "standard", "mean": 2, "std": 1.5},
        "density": {"transform": "standard", "mean": 5.0, "std": 2.0},
    },
    "elements": ["C", "Si"],
    "training": {
        "source": "somewhere",
        "data_sha256": SHA,
        "train": {"crystals": 8000, "ids_sha256": SHA},
        "val": {"crystals": 1000, "ids_sha256": SHA},
        "test": {"crystals": 1000, "ids_sha256": SHA},
        "excluded": {"crystals": 12, "ids_sha256": SHA, "published_list": "lists/out.csv"},
        "epochs": 30,
        "seconds": 4000.0,
        "machine": "a computer, 2 thread(s)",
        "versions": {"torch": "2.6"},
        "started": "2024-01-01T00:00:00+00:00",
    },
    "recipe": {"model": {"optimizer": {"lr": 0.001}}},
    "started_from": [{"name": "other", "sha256": SHA}],
    "metrics": {"gap": {"mae": 0.25, "rmse": 0.5, "r2": 0.9, "n": 990}},
    "golden": {"NaCl": {"gap": 5.0, "density": 2.2}, "Cu": {"gap": 0.0, "density": 8.9}},
    "citation": "Somebody (2024)",
    "licence": "CC-BY-4.0",
    "created": "2024-01-02T00:00:00+00:00",
    "tlzoo": "0.1.0",
    "format": 1,
    "sha256": SHA,
    "bytes": 123456,
}


@pytest.fixture
def content() -> dict[str, Any]:
    """The content of a card, as ``json.loads`` returns it."""
    return copy.deepcopy(CONTENT)


@pytest.fixture
def put(content, tmp_path):
    """Write a card, and weights that it describes, into a folder."""

    def write(name, folder="mine", *, weights=True):
        path = tmp_path / folder / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        data = f"{folder}/{name}".encode()
        card = {**content, "name": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        path.with_suffix(".json").write_text(json.dumps(card))
        if weights:
            path.write_bytes(data)
        return path

    return write


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """Nothing but a folder of the user's."""
    monkeypatch.setattr(library, "repository", lambda: None)
    monkeypatch.setattr(library, "_installed", list)
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(tmp_path / "mine"))
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TLZOO_CHECKPOINTS_URL", raising=False)
    monkeypatch.delenv("TLZOO_OFFLINE", raising=False)
