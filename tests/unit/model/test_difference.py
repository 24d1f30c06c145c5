"""Fine-tuned networks as their difference to a named one."""

import json

import pytest
import torch

from tlzoo import adapters
from tlzoo.backbones import CGCNN
from tlzoo.errors import UserError
from tlzoo.freezing import Biases, LoRA, apply, prepare
from tlzoo.heads import Regression
from tlzoo.model import checkpoint
from tlzoo.model.difference import LEFT, RIGHT, reduced
from tlzoo.model.trained import load
from tlzoo.zoo import adapter
from tlzoo.zoo.reference import reference_crystals

CARD = {"targets": ["gap"], "units": ["eV"]}


def bound(seed, dim=32):
    torch.manual_seed(seed)
    backbone = CGCNN(dim=dim, depth=2)
    head = Regression(hidden=(16,)).bind(dim)
    head.fit(torch.tensor([[1.0], [2.0], [4.0]]))
    return backbone.eval(), head


@pytest.fixture
def base(tmp_path):
    """A checkpoint of the zoo."""
    backbone, head = bound(0)
    checkpoint.save(tmp_path / "zoo" / "base", backbone, head, CARD)
    return str(tmp_path / "zoo" / "base.safetensors")


def tuned(base, strategy):
    """Train at random what a strategy lets train, and a new head."""
    backbone, head = checkpoint.load(base).backbone, bound(1)[1]
    groups = {**backbone.groups(), **head.groups()}
    prepare(strategy, groups)
    apply(strategy, groups, 0)
    generator = torch.Generator().manual_seed(2)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    adapters.merge(backbone)
    return backbone.eval(), head


def store(tmp_path, base, strategy):
    card = {**CARD, "started_from": [{"name": base, "sha256": "0" * 64}]}
    checkpoint.save(tmp_path / "whole", *tuned(base, strategy), card)
    return tmp_path / "whole.safetensors"


@pytest.mark.parametrize("strategy", [LoRA(rank=2), Biases()])
def test_a_difference_is_small_and_the_whole_model(tmp_path, base, strategy):
    whole = store(tmp_path, base, strategy)
    small = adapter.store(str(whole), tmp_path / "small.safetensors")
    assert small.stat().st_size < 0.6 * whole.stat().st_size
    crystals = reference_crystals()
    wanted, found = (load(path).predict(crystals)["gap"].to_numpy() for path in (whole, small))
    assert wanted.std() > 1e-3
    assert found == pytest.approx(wanted, rel=1e-6)
    start = load(base)
    assert load(small).embed(crystals) != pytest.approx(start.embed(crystals), abs=1e-3)
    card = json.loads(small.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["base"]["name"] == base
    assert card["base"]["sha256"] == start.card["sha256"]


def test_a_difference_of_a_difference(tmp_path, base):
    first = adapter.store(str(store(tmp_path, base, LoRA(rank=1))), tmp_path / "first.safetensors")
    backbone, head = tuned(str(first), Biases())
    checkpoint.save(tmp_path / "second", backbone, head, CARD, base=str(first))
    found = checkpoint.load(tmp_path / "second").backbone.state_dict()
    assert all(torch.allclose(found[key], value, atol=1e-6) for key, value in backbone.state_dict().items())


def test_another_base_is_refused(tmp_path, base):
    small = adapter.store(str(store(tmp_path, base, Biases())), tmp_path / "small.safetensors")
    backbone, head = bound(7)
    checkpoint.save(base, backbone, head, CARD)
    message = r"small\.safetensors is a difference to .*base\.safetensors with the SHA-256 [0-9a-f]{12}…, and"
    with pytest.raises(UserError, match=message):
        load(small)


def test_a_missing_base_is_told(tmp_path, base):
    small = adapter.store(str(store(tmp_path, base, Biases())), tmp_path / "small.safetensors")
    (tmp_path / "zoo" / "base.safetensors").unlink()
    message = r"cannot be read here, nor is it beside, as base\.safetensors: there is no model .*base\."
    with pytest.raises(UserError, match=message):
        load(small)


def test_both_can_be_moved(tmp_path, base):
    small = adapter.store(str(store(tmp_path, base, Biases())), tmp_path / "small.safetensors")
    wanted = checkpoint.load(small).backbone.state_dict()
    moved = (tmp_path / "zoo").rename(tmp_path / "moved")
    for file in tmp_path.glob("small.*"):
        file.rename(moved / file.name)
    found = checkpoint.load(moved / "small.safetensors").backbone.state_dict()
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    checkpoint.save(moved / "base", *bound(7), CARD)
    with pytest.raises(UserError, match="the two do not belong together"):
        load(moved / "small.safetensors")


def test_a_card_cannot_name_another_base(tmp_path, base):
    small = adapter.store(str(store(tmp_path, base, Biases())), tmp_path / "small.safetensors")
    document = small.with_suffix(".json")
    card = json.loads(document.read_text(encoding="utf-8"))
    card["base"]["name"] = "cgcnn-fe"
    document.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(UserError, match="describes another model than"):
        load(small)


def test_what_was_trained_as_a_whole_is_no_difference(tmp_path, base):
    backbone, head = bound(5)
    checkpoint.save(tmp_path / "whole", backbone, head, CARD)
    with pytest.raises(UserError, match="does not say which model it started from; name the one"):
        adapter.store(str(tmp_path / "whole.safetensors"), tmp_path / "small.safetensors")
    with pytest.raises(UserError, match=r"is not stored as a difference to .*everything was trained"):
        adapter.store(str(tmp_path / "whole.safetensors"), tmp_path / "small.safetensors", base=base)
    assert not list(tmp_path.glob("small*"))
    with pytest.raises(UserError, match=r"base\.safetensors exists; give the difference another name"):
        adapter.store(base, tmp_path / "zoo" / "base.safetensors", base=base)
    with pytest.raises(UserError, match=r"is no name of a model; wanted a-z"):
        adapter.store(base, tmp_path / "Small.safetensors", base=base)


def test_only_what_is_of_low_rank_becomes_factors():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(20, 12, generator=generator)
    change = torch.randn(20, 2, generator=generator) @ torch.randn(2, 12, generator=generator)
    before = {"same": weight, "low": weight, "full": weight, "bias": weight[0]}
    after = {
        "same": weight.clone(),
        "low": weight + change,
        "full": -weight.flip(0),
        "bias": weight[1],
        "new": weight,
    }
    stored, shared = reduced(after, before)
    assert shared == ["same", "low"]
    assert set(stored) == {"low" + LEFT, "low" + RIGHT, "full", "bias", "new"}
    assert stored["low" + LEFT].shape == (20, 2)
