"""The card of a checkpoint: every field is documented and checked, one message names what is wrong."""

import inspect
import json
import re

import msgspec
import pytest

from tlzoo.cards import card as module
from tlzoo.cards.card import Card, duration
from tlzoo.cards.schema import Record
from tlzoo.errors import UserError

KINDS = [kind for kind in Record.__subclasses__() if kind.__module__ == module.__name__]
CHANGES = [
    ("name", "Gap", "name is 'Gap', wanted a-z, 0-9"),
    ("name", "../gap", "name is '../gap', wanted a-z, 0-9"),
    ("description", " ", "description is ' ', wanted text that is not empty"),
    ("targets", "gap", "targets is 'gap', wanted a list"),
    ("targets", ["gap", 3], r"targets\[1\] is 3, wanted text"),
    ("units", ["eV"], "units has 1 entries, wanted one for each of"),
    ("spec", {"backbone": {}}, r"spec\.head is missing"),
    ("spec.head", None, r"spec\.head is None, wanted an object"),
    ("parameters", 0, "parameters is 0, wanted a positive integer"),
    ("parameters", True, "parameters is True, wanted a positive integer"),
    ("parameters", 12.0, "parameters is 12.0, wanted a positive integer"),
    ("scaler.gap.mean", float("nan"), r"scaler\.gap\.mean is nan, wanted a finite number"),
    ("scaler.gap.std", 0, r"scaler\.gap\.std is 0, wanted a finite number above 0"),
    ("scaler.gap.mean", "2", r"scaler\.gap\.mean is '2', wanted a finite number"),
    ("scaler.gap.std", -1.0, r"scaler\.gap\.std is -1.0, wanted a finite number above 0"),
    ("scaler", {}, "scaler is about , wanted gap, density"),
    ("training.train.crystals", -3, r"training\.train\.crystals is -3, wanted an integer, 0 or more"),
    (
        "training.excluded.ids_sha256",
        "abc",
        r"training\.excluded\.ids_sha256 is 'abc', wanted 64 hexadecimal",
    ),
    ("training.epoch", 3, r"training\.epoch is no field; there are: source, data_sha256, train"),
    ("recipe", [], r"recipe is \[\], wanted an object"),
    ("started_from", [{"name": "x"}], r"started_from\[0\]\.sha256 is missing"),
    ("metrics", {}, "metrics is about nothing, wanted some of gap, density"),
    ("metrics", {"mass": {"mae": 1, "rmse": 1, "r2": None, "n": 1}}, "metrics is about mass"),
    ("metrics.gap.mae", None, r"metrics\.gap\.mae is None, wanted a finite number"),
    ("golden.Cu", {"gap": 1.0}, r"golden\.Cu lacks density"),
    ("sha256", "0123456789ABCDEF" * 4, "sha256 is '0123.*…, wanted 64 hexadecimal digits"),
    ("bytes", None, "bytes is None, wanted a positive integer"),
]


def change(content, key, value):
    *parents, last = key.split(".")
    for parent in parents:
        content = content[parent]
    content[last] = value


def test_a_right_card(content):
    card = Card.of(content, "test")
    assert card.training.excluded.crystals == 12
    assert card.scaler["gap"].mean == 2.0
    assert Card.of(msgspec.to_builtins(card), "again") == card


@pytest.mark.parametrize(("key", "value", "message"), CHANGES, ids=[f"{k}-{v!r}" for k, v, _ in CHANGES])
def test_a_wrong_field_is_named(content, key, value, message):
    change(content, key, value)
    with pytest.raises(UserError, match=f"^test is no card of a published checkpoint: {message}"):
        Card.of(content, "test")


@pytest.mark.parametrize("key", [field.name for field in msgspec.structs.fields(Card) if field.required])
def test_every_field_is_needed(content, key):
    del content[key]
    with pytest.raises(UserError, match=f"{key} is missing"):
        Card.of(content, "test")


def test_further_files_are_named_with_their_hash(content):
    assert Card.of(content, "test").domain is None
    one = {"file": "tiny-gap.domain.safetensors", "sha256": "0" * 64, "bytes": 12}
    assert Card.of({**content, "domain": one}, "test").domain.bytes == 12
    for changed, message in (
        ({"file": "../x.safetensors"}, r"domain\.file is '\.\./x\.safetensors', wanted a name"),
        ({"sha256": "0"}, r"domain\.sha256 is '0', wanted 64 hexadecimal digits"),
        ({"bytes": 10**12}, r"domain\.bytes is 1000000000000, wanted a positive integer"),
    ):
        with pytest.raises(UserError, match=message):
            Card.of({**content, "domain": {**one, **changed}}, "test")


def test_what_may_be_unknown(content):
    content["training"] |= {"excluded": None, "seconds": None}
    content["metrics"]["gap"]["r2"] = None
    card = Card.of(content, "test")
    assert card.training.seconds is None
    assert "left out" not in card.text()
    assert "trained   30 epochs on a computer" in card.text()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_is_documented(kind):
    said = re.findall(r"^ {4}(\w+): ", inspect.cleandoc(kind.__doc__), re.MULTILINE)
    assert said == list(kind.__struct_fields__)


def test_files(content, tmp_path):
    path = tmp_path / "tiny-gap.json"
    path.write_text(json.dumps(content))
    assert Card.read(path).name == "tiny-gap"
    other = path.rename(tmp_path / "other.json")
    with pytest.raises(
        UserError, match=r"other\.json is no card of a published checkpoint: name is 'tiny-gap'"
    ):
        Card.read(other)
    with pytest.raises(UserError, match=r"tiny-gap\.json cannot be read: No such file"):
        Card.read(path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"tiny-gap\.json is no JSON"):
        Card.read(path)
    path.write_text("[]")
    with pytest.raises(UserError, match="wanted an object"):
        Card.read(path)


def test_text(content):
    text = Card.of(content, "test").text()
    assert text.splitlines()[0] == "tiny-gap: A network for tests"
    assert max(map(len, text.splitlines())) <= 100
    for part in (
        "CGCNN(dim=8), 1,234 parameters",
        "cutoff=8.0, neighbours=12",
        "gap (eV): MAE 0.25, RMSE 0.5, R² 0.900 on 990 crystals",
        "density: no label in the test part",
        "8,000 crystals to learn from",
        "12 crystals, listed in lists/out.csv",
        "30 epochs in 67 min on a computer",
        "other",
        "CC-BY-4.0",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(99, "99 s"), (100, "2 min"), (5_999, "100 min"), (36_000, "10.0 h")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
