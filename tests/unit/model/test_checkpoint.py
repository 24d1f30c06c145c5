"""Models as files: what is written, what is refused."""

import errno
import hashlib
import json
import os
import pickle  # noqa: TID251 (a file of the kind that is refused)
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from tlzoo.backbones import ALIGNN, CGCNN
from tlzoo.errors import UserError
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.heads import MultiProperty, Quantile, Regression
from tlzoo.model import checkpoint
from tlzoo.model import load as load_model
from tlzoo.model.domain import Domain

CARD = {"targets": ["gap"], "units": ["eV"], "metrics": {"test": {"mae": 0.1, "r2": float("nan")}}}


@pytest.fixture
def model():
    backbone = CGCNN(dim=6, depth=1, graph=GraphOptions(cutoff=5.0, neighbours=4))
    head = Regression(hidden=(3,), loss="huber").bind(6)
    head.fit(torch.tensor([[1.0], [3.0]]))
    return backbone, head


@pytest.fixture
def stored(model, tmp_path):
    checkpoint.save(tmp_path / "model", *model, CARD)
    return tmp_path / "model.safetensors"


def rewrite(stored, *, header=None, tensors=None):
    """Change a stored model and make its card's hash true again."""
    content = stored.read_bytes()
    length = int.from_bytes(content[:8], "little")
    old = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tlzoo"])
    note = {**old, **(header or {})}
    content = safetensors.torch.save(
        tensors or safetensors.torch.load(content), metadata={"tlzoo": json.dumps(note)}
    )
    stored.write_bytes(content)
    recard(stored, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), spec=note["spec"])


def recard(stored, **changes):
    card = stored.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


@pytest.mark.parametrize("suffix", ["", ".safetensors", ".json"])
def test_round_trip(model, stored, suffix):
    loaded = checkpoint.load(str(stored).removesuffix(".safetensors") + suffix)
    for before, after in zip(model, (loaded.backbone, loaded.head), strict=True):
        assert checkpoint.describe(before) == checkpoint.describe(after)
        assert not any(part.training for part in after.modules())
        torch.testing.assert_close(dict(before.state_dict()), dict(after.state_dict()), rtol=0, atol=0)
    assert loaded.backbone.graph == GraphOptions(cutoff=5.0, neighbours=4)
    assert loaded.head.scaler.fitted
    assert loaded.card["targets"] == ["gap"]
    assert loaded.card["metrics"] == {"test": {"mae": 0.1, "r2": None}}


def test_matrices_in_16_bits(model, stored, tmp_path):
    whole = checkpoint.load(stored)
    wanted = {
        name: value.half().float() if value.ndim > 1 else value.clone()
        for name, value in whole.backbone.state_dict().items()
    }
    half = checkpoint.rounded(whole)
    checkpoint.save(tmp_path / "half", half.backbone, half.head, CARD, half=True)
    again = checkpoint.load(tmp_path / "half")
    torch.testing.assert_close(dict(again.backbone.state_dict()), wanted, rtol=0, atol=0)
    kinds = {value.dtype for value in safetensors.torch.load_file(tmp_path / "half.safetensors").values()}
    assert torch.float16 in kinds
    assert (tmp_path / "half.safetensors").stat().st_size < stored.stat().st_size
    next(p for p in whole.backbone.parameters() if p.ndim > 1).data.fill_(1e5)
    with pytest.raises(UserError, match="has numbers that are too large for 16 bits: keep all 32"):
        checkpoint.rounded(whole)


def test_names_with_dots_are_kept(model, tmp_path):
    checkpoint.save(tmp_path / "cgcnn.v1.2", *model, CARD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cgcnn.v1.2.json", "cgcnn.v1.2.safetensors"]
    checkpoint.load(tmp_path / "cgcnn.v1.2")


def test_same_model_same_bytes(model, stored, tmp_path):
    loaded = checkpoint.load(stored)
    checkpoint.save(tmp_path / "again", loaded.backbone, loaded.head, loaded.card)
    assert (tmp_path / "again.safetensors").read_bytes() == stored.read_bytes()
    assert (tmp_path / "again.json").read_text() == stored.with_suffix(".json").read_text()


def test_description_is_plain():
    spec = checkpoint.describe(Quantile(hidden=(4, 2)))
    assert spec == {
        "class_path": "tlzoo.heads.Quantile",
        "init_args": {
            "quantiles": [0.05, 0.5, 0.95],
            "hidden": [4, 2],
            "activation": "softplus",
            "dropout": 0.0,
            "transform": "standard",
            "minimum": None,
        },
    }
    graph = checkpoint.describe(ALIGNN(dim=4, alignn_layers=1, gcn_layers=1))["init_args"]["graph"]
    assert graph["symmetric"] is True
    assert json.loads(json.dumps(spec)) == spec


class Odd(nn.Module):
    def __init__(self, *, size):
        super().__init__()
        self.size = size


class Forgetful(nn.Module):
    def __init__(self, *, size):
        super().__init__()
        self.length = size


def test_description_needs_attributes_of_plain_types():
    with pytest.raises(TypeError, match=r"Odd\.size is a PosixPath, which JSON cannot hold"):
        checkpoint.describe(Odd(size=Path("x")))
    with pytest.raises(TypeError, match="Forgetful does not keep its argument 'size'"):
        checkpoint.describe(Forgetful(size=1))


@pytest.mark.parametrize(
    "class_path", ["torch.nn.Linear", "os.system", "tlzoo", "tlzoo.heads..x", "tlzoox.A", "tlzoo.heads.x-y"]
)
def test_only_classes_of_tlzoo_are_built(class_path, monkeypatch):
    def refuse(name):
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(UserError, match="is no class of tlzoo; for safety nothing else is built"):
        checkpoint.build({"class_path": class_path, "init_args": {}})


@pytest.mark.parametrize(
    ("class_path", "message"),
    [
        ("tlzoo.heads.head.Tensor", "tlzoo.heads.head.Tensor is neither a backbone nor a head"),
        ("tlzoo.heads.head.nn.Linear", "there is no class"),
        ("tlzoo.heads.head.full", "neither a backbone nor a head"),
        ("tlzoo.heads.Crystal", "there is no class tlzoo.heads.Crystal in this version"),
        ("tlzoo.future.Head", "there is no class tlzoo.future.Head in this version"),
        ("tlzoo.heads.Head", "Head cannot be built from the stored arguments"),
    ],
)
def test_other_names_of_tlzoo_are_refused(class_path, message):
    with pytest.raises(UserError, match=message):
        checkpoint.build({"class_path": class_path})


def test_arguments_that_do_not_exist():
    with pytest.raises(UserError, match=r"Regression cannot be built from the stored arguments: .*widht"):
        checkpoint.build({"class_path": "tlzoo.heads.Regression", "init_args": {"widht": 3}})
    with pytest.raises(UserError, match="GraphOptions cannot be built"):
        checkpoint.build({"class_path": "tlzoo.backbones.CGCNN", "init_args": {"graph": {"radius": 3}}})


def test_missing_files(stored):
    with pytest.raises(UserError, match=r"there is no file .*nothing\.safetensors"):
        checkpoint.load(stored.with_name("nothing"))
    stored.with_suffix(".json").unlink()
    with pytest.raises(UserError, match=r"has no card: .*model\.json is missing"):
        checkpoint.load(stored)


def test_damage(stored):
    content = stored.read_bytes()
    stored.write_bytes(content[:-100])
    with pytest.raises(UserError, match=f"is truncated: {len(content) - 100:,} of {len(content):,} bytes"):
        checkpoint.load(stored)
    stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="is not the file its card describes: SHA-256"):
        checkpoint.load(stored)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "is no card of tlzoo"),
        ('{"mae": 1}', "is no card of tlzoo"),
        ('{"format": 1, "sha256": 5, "spec": {}}', "lacks sha256, bytes"),
        ('{"format": 2}', "has format 2, this tlzoo reads format 1; update tlzoo"),
    ],
)
def test_bad_cards(stored, text, message):
    stored.with_suffix(".json").write_text(text)
    with pytest.raises(UserError, match=message):
        checkpoint.load(stored)


@pytest.mark.parametrize("name", ["backbone.embed.linear.weight", "head.outs.0.bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(model, stored, name, value, tmp_path):
    tensors = safetensors.torch.load(stored.read_bytes())
    tensors[name].view(-1)[0] = value
    rewrite(stored, tensors=tensors)
    with pytest.raises(UserError, match=f"is no trained model: {name} is not finite"):
        checkpoint.load(stored)
    part, _, inner = name.partition(".")
    dict(zip(("backbone", "head"), model, strict=True))[part].get_parameter(inner).data.view(-1)[0] = value
    with pytest.raises(UserError, match=f"{name} is not finite, the training diverged"):
        checkpoint.save(tmp_path / "diverged", *model, CARD)
    assert not list(tmp_path.glob("diverged*"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("head.scaler.mean", float("nan"), "is not finite"),
        ("head.scaler.std", float("nan"), "is not finite"),
        ("head.scaler.std", float("inf"), "is not finite"),
        ("head.scaler.std", 0.0, "is 0, wanted a positive standard deviation"),
        ("head.scaler.std", -1.5, "is -1.5, wanted a positive standard deviation"),
        ("backbone.convs.0.norm_gate.running_var", -0.5, "is negative"),
    ],
)
def test_buffers_that_no_training_makes(model, stored, name, value, message, tmp_path):
    tensors = safetensors.torch.load(stored.read_bytes())
    tensors[name].view(-1)[0] = value
    rewrite(stored, tensors=tensors)
    with pytest.raises(UserError, match=f"is no trained model: {name} {message}"):
        checkpoint.load(stored)
    part, _, inner = name.partition(".")
    dict(zip(("backbone", "head"), model, strict=True))[part].get_buffer(inner).view(-1)[0] = value
    with pytest.raises(UserError, match=f"{name} {message}"):
        checkpoint.save(tmp_path / "diverged", *model, CARD)
    assert not list(tmp_path.glob("diverged*"))


def test_a_model_with_an_unfitted_scaler_answers_nothing(tmp_path):
    head = Regression(hidden=(3,)).bind(4)
    checkpoint.save(tmp_path / "model", CGCNN(dim=4, depth=1), head, CARD)
    with pytest.raises(UserError, match="is no trained model: its target scaler has not been fitted"):
        load_model(tmp_path / "model.safetensors")


def test_the_domain_is_a_file_that_the_card_names(model, tmp_path):
    domain = Domain.of(np.random.default_rng(0).normal(size=(20, 6)))
    checkpoint.save(tmp_path / "net.v1", *model, CARD, domain=domain)
    card = json.loads((tmp_path / "net.v1.json").read_text())
    file = tmp_path / "net.v1.domain.safetensors"
    content = file.read_bytes()
    assert card["domain"] == {
        "file": file.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)
    }  # fmt: skip
    assert load_model(tmp_path / "net.v1.safetensors").domain.content() == content
    checkpoint.save(tmp_path / "again", *model, card)
    assert "domain" not in json.loads((tmp_path / "again.json").read_text()), "it is not beside this one"


@pytest.mark.parametrize(("key", "value"), [("targets", ["mass"]), ("units", ["kcal"])])
def test_what_is_predicted_is_pinned_too(stored, key, value):
    recard(stored, **{key: value})
    with pytest.raises(UserError, match="describes another model"):
        checkpoint.load(stored)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "describes no backbone"),
        ({"backbone": "CGCNN"}, "describes no backbone"),
        (
            {"backbone": {"class_path": "os.system", "init_args": {"command": "x"}}},
            "'os.system' is no class of tlzoo",
        ),
        ({"backbone": {"class_path": "torch.nn.Linear"}}, "'torch.nn.Linear' is no class of tlzoo"),
        (
            {"backbone": {"class_path": "tlzoo.backbones.CGCNN", "init_args": {"dim": -3}}},
            "a backbone that cannot be built|must be",
        ),
        (
            {"backbone": {"class_path": "tlzoo.backbones.CGCNN", "init_args": {"dim": "8"}}},
            "a backbone that cannot be built|cannot be built from the stored",
        ),
        (
            {"backbone": {"class_path": "tlzoo.backbones.CGCNN", "init_args": 7}},
            "a backbone that cannot be built",
        ),
    ],
)
def test_headers_that_nobody_would_write(stored, spec, message):
    content = safetensors.torch.save(
        safetensors.torch.load(stored.read_bytes()),
        metadata={"tlzoo": json.dumps({"format": 1, "spec": spec, "targets": ["gap"], "units": ["eV"]})},
    )
    stored.write_bytes(content)
    recard(stored, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), spec=spec)
    with pytest.raises(UserError, match=message):
        checkpoint.load(stored)


def test_deeply_nested_json(stored):
    stored.with_suffix(".json").write_text('{"a":' * 100_000)
    with pytest.raises(UserError, match="is no JSON"):
        checkpoint.load(stored)


def test_newer_weights(stored):
    rewrite(stored, header={"format": 2})
    with pytest.raises(UserError, match=r"model\.safetensors has format 2"):
        checkpoint.load(stored)


def test_card_of_another_model(stored):
    recard(stored, spec={"backbone": {}, "head": {}})
    with pytest.raises(UserError, match="describes another model"):
        checkpoint.load(stored)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "last.ckpt", "model.pkl"])
def test_pickles_are_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps({}))
    with pytest.raises(UserError, match="pickled file or archive, which can run code"):
        checkpoint.load(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"weight": 1}), "is no safetensors file"),
        (b"", "is no safetensors file"),
        (safetensors.torch.save({"w": torch.ones(1)}), "was not written by tlzoo"),
        (safetensors.torch.save({"w": torch.ones(1)}, {"tlzoo": "?"}), "is no safetensors file"),
    ],
)
def test_foreign_content(stored, content, message):
    stored.write_bytes(content)
    recard(stored, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    with pytest.raises(UserError, match=message):
        checkpoint.load(stored)


def test_weights_that_do_not_fit(stored):
    tensors = safetensors.torch.load(stored.read_bytes())
    tensors["head.outs.9.bias"] = tensors.pop("head.outs.0.bias")
    tensors["head.scaler.mean"] = torch.zeros(2)
    tensors["head.scaler.std"] = tensors["head.scaler.std"].double()
    rewrite(stored, tensors=tensors)
    with pytest.raises(UserError, match="do not fit") as error:
        checkpoint.load(stored)
    for part in (
        "head.outs.0.bias is missing",
        "head.outs.9.bias is not expected",
        "head.scaler.mean is float32[2], wanted float32[1]",
        "head.scaler.std is float64[1], wanted float32[1]",
    ):
        assert part in str(error.value)


def test_specification_of_other_parts(stored):
    spec = json.loads(stored.with_suffix(".json").read_text())["spec"]
    wide = {**spec["backbone"], "init_args": {**spec["backbone"]["init_args"], "dim": 9}}
    rewrite(stored, header={"spec": {**spec, "backbone": wide}})
    with pytest.raises(UserError, match="head reads embeddings of length 6, the backbone gives 9"):
        checkpoint.load(stored)
    rewrite(stored, header={"spec": {**spec, "backbone": spec["head"]}})
    with pytest.raises(UserError, match="does not hold a backbone and a head"):
        checkpoint.load(stored)


def test_full_disk_loses_nothing(model, stored, monkeypatch):
    before = {path.name: path.read_bytes() for path in stored.parent.iterdir()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"model\.safetensors cannot be written: No space left on device"):
        checkpoint.save(stored, *model, {"targets": ["other"]})
    assert {path.name: path.read_bytes() for path in stored.parent.iterdir()} == before


def test_card_cannot_replace_what_is_verified(model, tmp_path):
    checkpoint.save(tmp_path / "model", *model, {"sha256": "0", "format": 7, "note": "kept"})
    assert checkpoint.load(tmp_path / "model").card["note"] == "kept"


def test_unfitted_head_stays_unfitted(tmp_path):
    checkpoint.save(tmp_path / "model", CGCNN(dim=4, depth=1), MultiProperty(targets=["a", "b"]).bind(4), {})
    head = checkpoint.load(tmp_path / "model").head
    with pytest.raises(UserError, match="has not been fitted"):
        head.predict(torch.ones(1, 2))


class Foreign(Regression):
    """A head from outside the package."""


def test_classes_from_elsewhere_are_not_stored(tmp_path):
    with pytest.raises(UserError, match=r"Foreign cannot be stored: only classes of tlzoo"):
        checkpoint.save(tmp_path / "model", CGCNN(dim=4, depth=1), Foreign().bind(4), {})
    assert list(tmp_path.iterdir()) == []


def test_file_that_cannot_be_read(stored, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"model\.json cannot be read: Permission denied"):
        checkpoint.load(stored)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("backbone", {"depth": 10**9}, "asks for far more weights than the 22 tensors of "),
        ("backbone", {"dim": 10**9}, "asks for far more weights than the 22 tensors of "),
        ("head", {"hidden": [10**9]}, "asks for far more weights than the 22 tensors of "),
        ("head", {"hidden": [1] * 10_000}, "asks for far more weights than the 22 tensors of "),
        ("backbone", {"graph": None}, "CGCNN: graph is None, wanted an object"),
        (
            "backbone",
            {"graph": {"cutoff": 1e9}},
            "must be below 20 Å, as far as layers",
        ),
        ("backbone", {"graph": {"tie_tolerance": 1e9}}, "together must be below 20 Å"),
        ("backbone", {"graph": {"neighbours": 1.5}}, "neighbours is '1.5': Expected `int`, got `float`"),
        ("backbone", {"depth": True}, "depth is 'True': Expected `int`, got `bool`"),
        ("head", {"hidden": 5}, "hidden is '5': Expected `array`, got `int`"),
    ],
)
def test_what_a_header_asks_for_is_bounded(part, changes, message, stored):
    spec = json.loads(stored.with_suffix(".json").read_text())["spec"]
    changed = {**spec[part], "init_args": {**spec[part]["init_args"], **changes}}
    rewrite(stored, header={"spec": {**spec, part: changed}})
    with pytest.raises(UserError, match=re.escape(message)):
        checkpoint.load(stored)


@pytest.mark.parametrize("name", ["targets", "units"])
@pytest.mark.parametrize("value", [5, None, [1], "eV", {}])
def test_names_of_a_header_that_are_none(name, value, stored):
    rewrite(stored, header={name: value})
    recard(stored, **{name: value})
    with pytest.raises(UserError, match=rf"is no card: {name} is .*, wanted names; restore the card"):
        checkpoint.load(stored)


def test_elements_that_are_none(stored):
    recard(stored, elements=5)
    with pytest.raises(UserError, match="is no card: elements is 5, wanted names"):
        checkpoint.load(stored)
