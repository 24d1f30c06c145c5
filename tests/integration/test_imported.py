"""Weights of others and adapters on the command line: made, listed, checked, used."""

import json

import torch

from tests.unit.zoo import foreign_golden
from tlzoo.adapters import merge
from tlzoo.cards import library
from tlzoo.freezing import LoRA, prepare
from tlzoo.model import checkpoint
from tlzoo.model.trained import Model
from tlzoo.zoo.golden import golden

GOLDEN = json.loads(foreign_golden.GOLDEN.read_text(encoding="utf-8"))


def test_what_is_imported_is_a_checkpoint_like_others(tlzoo, tmp_path, monkeypatch):
    state = foreign_golden.STATES["cgcnn2"]["regression"]
    torch.save({"state_dict": state, "normalizer": foreign_golden.SCALE}, tmp_path / "net.pth.tar")
    (tmp_path / "low.cif").write_text(GOLDEN["crystals"]["low"]["cif"], encoding="utf-8")
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(tmp_path / "zoo"))
    about = ["--target", "gap", "--unit", "eV"]
    (tmp_path / "zoo").mkdir()
    assert tlzoo("zoo", "index", tmp_path / "zoo").code == 0
    made = tlzoo("zoo", "import", tmp_path / "net.pth.tar", "theirs", "--kind", "cgcnn2", *about)
    assert made.code == 0, made
    assert made.out.splitlines()[0] == "theirs: gap (eV)"
    assert (
        json.loads((tmp_path / "zoo" / "INDEX.json").read_text())["checkpoints"][0]["at"]
        == "theirs.safetensors"
    )
    listed = json.loads(tlzoo("zoo", "list", "--property", "gap", "--json").out)["checkpoints"]
    assert [(one["name"], one["kind"], one["needs"]) for one in listed] == [("theirs", "imported", "")]
    assert "gap (eV): no test of tlzoo's" in tlzoo("zoo", "info", "theirs").out
    assert "sha256 and golden predictions agree" in tlzoo("zoo", "verify", "theirs").out
    archive = tlzoo("zoo", "publish", tmp_path / "zoo" / "theirs.safetensors", "--to", tmp_path / "x.zip")
    assert "import the file with --licence and one of" in archive.err
    told = tlzoo("predict", "theirs", tmp_path / "low.cif")
    assert "not known: the file that it was imported from does not name them" in told.err
    answer = told.out.splitlines()
    wanted = GOLDEN["answers"]["cgcnn2"]["low"]["regression"]
    assert abs(float(answer[1].split(",")[1]) - wanted) < 1e-4


def test_an_adapter_is_a_model_like_others(tlzoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = checkpoint.load(library.locate("cgcnn-bg"))
    prepare(LoRA(rank=1), loaded.backbone.groups())
    for name, parameter in loaded.backbone.named_parameters():
        if "parametrizations" in name and ".b." in name:
            parameter.data += 0.05
    merge(loaded.backbone)
    origin = {"name": "cgcnn-bg", "sha256": loaded.card["sha256"]}
    facts = {"targets": ["band_gap"], "units": ["eV"], "started_from": [origin]}
    checkpoint.save("whole", loaded.backbone, loaded.head, facts)
    made = tlzoo("zoo", "adapter", "whole.safetensors", "small.safetensors")
    assert made.out.startswith("small.safetensors: ")
    for path in ("small.safetensors", "whole.safetensors"):
        again = tlzoo("zoo", "adapter", "whole.safetensors", path)
        assert (again.code, f"{path} exists; give the difference another name" in again.err) == (2, True)
    assert f"to be used with cgcnn-bg (SHA-256 {origin['sha256'][:12]}…)" in made.out
    answers = [tlzoo("predict", f"{name}.safetensors", "semiconductors").out for name in ("whole", "small")]
    whole, small = ([float(line.split(",")[1]) for line in text.splitlines()[1:]] for text in answers)
    assert torch.allclose(torch.tensor(small), torch.tensor(whole), rtol=1e-5, atol=1e-5)


def test_an_adapter_of_a_checkpoint_is_one(tlzoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = checkpoint.load(library.locate("cgcnn-bg"))
    with torch.no_grad():
        loaded.head.outs[0].bias += 0.1
    facts = loaded.card | {"name": "whole"}
    facts["golden"] = golden(Model(loaded.backbone, loaded.head, facts))
    checkpoint.save("whole", loaded.backbone, loaded.head, facts)
    assert tlzoo("zoo", "adapter", "whole.safetensors", "small.safetensors", "--base", "cgcnn-bg").code == 0
    base = library.locate("cgcnn-bg")
    pulled = tlzoo("zoo", "pull", "small.safetensors").out.splitlines()
    assert pulled == ["small.safetensors", f"{base}: what it is a difference to"]
    told = tlzoo("zoo", "info", "small.safetensors").out
    assert f"cgcnn-bg, SHA-256 {loaded.card['sha256'][:12]}…" in told
    assert "golden predictions agree" in tlzoo("zoo", "verify", "small.safetensors").out
    copied = checkpoint.load(library.locate("cgcnn-bg"))
    checkpoint.save("local", copied.backbone, copied.head, copied.card | {"name": "local"})
    made = tlzoo("zoo", "adapter", "whole.safetensors", "own.safetensors", "--base", "local.safetensors")
    assert made.code == 0, made
    refused = tlzoo("zoo", "publish", "own.safetensors", "--to", "own.zip")
    assert "a difference to local.safetensors, which others do not have" in refused.err
