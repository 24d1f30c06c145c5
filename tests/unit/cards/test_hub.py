"""Models from a Hub on this machine: what is fetched, what is pinned, and what a repository cannot do."""

import hashlib
import json

import numpy as np
import pytest

from tests.integration.hugging_face import TOKEN, Hub
from tlzoo.cards import fetch, hub, library
from tlzoo.cards.beside import Beside
from tlzoo.cards.hub import Reference, fetch_repository
from tlzoo.errors import UserError

WEIGHTS = np.random.default_rng(0).bytes(3_000)
SHA = hashlib.sha256(WEIGHTS).hexdigest()
CARD = {"name": "tiny", "sha256": SHA, "bytes": len(WEIGHTS)}


def files(**changes):
    """What a repository holds: a model, and what has no business here."""
    card = json.dumps({**CARD, **changes}).encode()
    others = dict.fromkeys(("README.md", "modeling.py", "pytorch_model.bin", "sub/other.safetensors"), b"x")
    return {"model.safetensors": WEIGHTS, "model.json": card, **others}


@pytest.fixture
def server(monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "TLZOO_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "PAUSES", ())
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
        yield server


def left(tmp_path):
    folder = tmp_path / "cache"
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def test_weights_and_card_are_fetched_once_and_nothing_else(server, tmp_path, monkeypatch):
    commit = server.put("team/net", files())
    path = library.locate(f"hf:team/net@{commit}")
    assert path == tmp_path / "cache" / "checkpoints" / "hf" / "team" / "net" / commit / "tiny.safetensors"
    assert path.read_bytes() == WEIGHTS
    assert json.loads(path.with_suffix(".json").read_text()) == CARD
    assert left(tmp_path) == ["tiny.json", "tiny.safetensors"]
    asked = [path for _, path in server.asked]
    assert asked[1:3] == [f"/team/net/resolve/{commit}/model.{end}" for end in ("json", "safetensors")]
    assert len(asked) == 4
    monkeypatch.setenv("TLZOO_OFFLINE", "1")
    assert library.locate(f"hf:team/net@{commit}") == path
    assert library.pinned(f"hf:team/net@{commit}") == f"hf:team/net@{commit}#sha256={SHA}"
    assert len(server.asked) == 4


def test_a_branch_is_asked_for_each_time_and_pinned_where_it_is_recorded(server):
    first = server.put("team/net", files())
    assert fetch_repository("hf:team/net@main").parent.name == first
    asked = len(server.asked)
    assert fetch_repository("hf:team/net@main").parent.name == first
    assert len(server.asked) == asked + 1, "the commit is in the cache"
    second = server.put("team/net", files(description="better"))
    assert library.pinned("hf:team/net@main") == f"hf:team/net@{second}#sha256={SHA}"
    assert fetch_repository(f"hf:team/net@{first}").parent.name == first


def test_a_name_without_a_revision_is_refused_with_the_newest(server):
    commit = server.put("team/net", files())
    with pytest.raises(UserError, match=rf"names no revision, .* its newest is hf:team/net@{commit}$"):
        fetch_repository("hf:team/net")


@pytest.mark.parametrize("kept", [False, True])
def test_a_pinned_hash(server, kept, tmp_path):
    commit = server.put("team/net", files())
    if kept:
        fetch_repository(f"hf:team/net@{commit}")
    with pytest.raises(
        UserError, match=rf"is not what it pins: the SHA-256 of its weights is {SHA[:12]}…, wanted"
    ):
        fetch_repository(f"hf:team/net@{commit}#sha256={'0' * 64}")
    assert bool(left(tmp_path)) == kept
    assert fetch_repository(f"hf:team/net@{commit}#sha256={SHA}").read_bytes() == WEIGHTS


def test_what_the_card_names_comes_along(server, tmp_path):
    domain = b"what is known of training crystals"
    beside = Beside.describing("tiny.domain.safetensors", domain).fields()
    commit = server.put("team/net", {**files(domain=beside), "tiny.domain.safetensors": domain})
    fetch_repository(f"hf:team/net@{commit}")
    assert left(tmp_path) == ["tiny.domain.safetensors", "tiny.json", "tiny.safetensors"]


def test_a_private_repository_wants_a_token(server, monkeypatch, tmp_path):
    commit = server.put("team/net", files(), private=True)
    with pytest.raises(
        UserError, match=r"401 Unauthorized\. It may be misspelled, or a private one without HF_TOKEN"
    ):
        fetch_repository(f"hf:team/net@{commit}")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(f"{TOKEN}\n")
    assert fetch_repository(f"hf:team/net@{commit}").read_bytes() == WEIGHTS
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(UserError, match=r"or one that your token may not read"):
        fetch_repository("hf:team/net@main")


def test_the_token_goes_to_the_hub_alone(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    commit = server.put("team/net", files(), private=True)
    with Hub() as elsewhere:
        elsewhere.large[SHA] = WEIGHTS
        server.moved[f"/large/{SHA}"] = f"{elsewhere.url}/large/{SHA}"
        assert fetch_repository(f"hf:team/net@{commit}").read_bytes() == WEIGHTS
        assert elsewhere.tokens == {f"/large/{SHA}": None}
        assert server.tokens[f"/team/net/resolve/{commit}/model.safetensors"] == f"Bearer {TOKEN}"
        elsewhere.instead["/net.json"] = b"{}"
        assert fetch.content(f"{elsewhere.url}/net.json", 10) == b"{}"
        assert elsewhere.tokens["/net.json"] is None


@pytest.mark.parametrize("end", ["json", "safetensors"])
@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_redirects_to_other_schemes_are_not_followed(server, place, end, tmp_path):
    commit = server.put("team/net", files())
    server.moved[f"/team/net/resolve/{commit}/model.{end}"] = place
    with pytest.raises(UserError, match=r"leads to an address of ftp, which is not|'file:.*' is not allowed"):
        fetch_repository(f"hf:team/net@{commit}")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "reference",
    [
        "hf:net@main", "hf:../net@main", "hf:team/..@main", "hf:team/net/more@main", "hf:/net@main",
        "hf:team/net@", "hf:team/net@../main", "hf:team/net@a..b", "hf:team/net@a b", "hf:team/net@/main",
        "hf:.team/net@main", "hf:team/net@main#sha256=12", "hf:team/net@main?x", "hf://team/net@main",
        "hf:team/n%2e%2e@main", "hf:tëam/net@main",
    ],
)  # fmt: skip
def test_no_references(server, reference):
    with pytest.raises(
        UserError, match=r"is no model on the Hugging Face Hub; wanted hf:user|pins no hash; wanted"
    ):
        library.locate(reference)
    assert server.asked == []


def test_revisions_with_a_slash_are_one_part_of_the_address(server):
    commit = server.put("team/net", files())
    server.repositories["team/net"].names["refs/pr/1"] = commit
    assert fetch_repository("hf:team/net@refs/pr/1").parent.name == commit
    assert server.asked[0] == ("GET", "/api/models/team/net/revision/refs%2Fpr%2F1")


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["model.safetensors"],
        ["../evil.safetensors", "../evil.json"],
        ["/tmp/evil.safetensors", "/tmp/evil.json"],  # noqa: S108
        ["sub/net.safetensors", "sub/net.json"],
        ["model.bin", "model.json"],
        ["a.safetensors", "a.json", "b.safetensors", "b.json"],
        [".a.safetensors", ".a.json"],
    ],
)
def test_repositories_without_one_model(server, names, tmp_path):
    commit = server.put("team/net", dict.fromkeys(names, b"x"))
    with pytest.raises(UserError, match=r"is no model of tlzoo: wanted one \.safetensors file with its card"):
        fetch_repository(f"hf:team/net@{commit}")
    assert len(server.asked) == 1
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "", "Capital", "a" * 300])
def test_a_card_cannot_choose_another_folder(server, name, tmp_path):
    commit = server.put("team/net", files(name=name))
    assert fetch_repository(f"hf:team/net@{commit}").name == "model.safetensors"
    assert left(tmp_path) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bytes": 10**11}, r"tells of 100,000,000,000 bytes of weights; at most"),
        ({"bytes": 4_000}, r"could not be fetched, \d times?: the answer ended after 3,000 of 4,000 bytes"),
        ({"sha256": "0" * 64}, r"is not the file that was pinned"),
        ({"sha256": "../../x"}, r"model\.json is no card of a model"),
        ({"name": ["x"]}, r"model\.json is no card of a model"),
    ],
)
def test_cards_of_other_weights(server, changes, said, tmp_path):
    commit = server.put("team/net", files(**changes))
    with pytest.raises(UserError, match=said):
        fetch_repository(f"hf:team/net@{commit}")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"sha": "main", "siblings": []}', b'{"siblings": []}', b"[" * 100_000, b"\xff", b""],
)
def test_answers_that_list_nothing(server, answer):
    server.instead["/api/models/team/net/revision/main"] = answer
    with pytest.raises(UserError, match=r"is no list of files"):
        fetch_repository("hf:team/net@main")


def test_a_commit_is_that_commit(server):
    commit = server.put("team/net", files())
    told = json.dumps({"sha": commit, "siblings": []}).encode()
    server.instead[f"/api/models/team/net/revision/{'1' * 40}"] = told
    with pytest.raises(UserError, match=rf"is no list of the files of hf:team/net@1+, but of {commit}"):
        fetch_repository(f"hf:team/net@{'1' * 40}")


def test_what_is_too_long_is_not_read(server, monkeypatch):
    server.put("team/net", files())
    monkeypatch.setattr(hub, "LISTING", 100)
    with pytest.raises(UserError, match=r"has more than 100 bytes: it is no list of files"):
        fetch_repository("hf:team/net@main")


@pytest.mark.parametrize("name", ["TLZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(server, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(UserError, match=rf"must be asked of the Hub, and {name} forbids it"):
        fetch_repository("hf:team/net@main")
    assert server.asked == []


def test_what_was_damaged_is_fetched_again(server, tmp_path):
    commit = server.put("team/net", files())
    path = fetch_repository(f"hf:team/net@{commit}")
    path.write_bytes(b"damaged")
    assert fetch_repository(f"hf:team/net@{commit}").read_bytes() == WEIGHTS


def test_as_it_is_written():
    text = f"hf:a/b@v1#sha256={SHA}"
    assert Reference.parse(text).text == text
    assert Reference.parse("hf:a/b").text == "hf:a/b"


def test_a_hub_that_is_not_there(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        UserError, match=r"^http://127\.0\.0\.1:9/api/models/team/net/revision/main could not be f"
    ):
        fetch_repository("hf:team/net@main")
