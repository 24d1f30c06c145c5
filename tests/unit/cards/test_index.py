"""The zoo of a group: found by name, searched without fetching, and nothing but what its cards pin."""

import functools
import hashlib
import http.server
import json
import threading

import pytest

from tests.integration.hugging_face import Hub
from tlzoo.cards import fetch, index, library
from tlzoo.cards.catalogue import Catalogue
from tlzoo.errors import UserError


class Server(http.server.ThreadingHTTPServer):
    """A web server for one folder, as anybody has, which counts what it is asked."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.asked = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.asked.append(self.path)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No checkpoints but those of the group."""
    monkeypatch.setattr(library, "repository", lambda: None)
    monkeypatch.setattr(library, "_installed", list)
    monkeypatch.setattr(fetch, "PAUSES", ())
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("TLZOO_OFFLINE", "TLZOO_CHECKPOINTS", "TLZOO_CHECKPOINTS_URL", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shelf(content, tmp_path):
    """A folder with two checkpoints, and its index."""
    for name, mae, elements in (("gap-one", 0.25, ["C", "Si"]), ("gap-two", 0.5, ["C", "Si", "O"])):
        weights = name.encode()
        metrics = {"gap": {**content["metrics"]["gap"], "mae": mae}}
        card = {**content, "name": name, "metrics": metrics, "elements": elements, "bytes": len(weights)}
        card["sha256"] = hashlib.sha256(weights).hexdigest()
        (tmp_path / "zoo").mkdir(exist_ok=True)
        (tmp_path / "zoo" / f"{name}.json").write_text(json.dumps(card))
        (tmp_path / "zoo" / f"{name}.safetensors").write_bytes(weights)
    index.write(tmp_path / "zoo")
    return tmp_path / "zoo"


@pytest.fixture
def server(shelf, monkeypatch):
    with Server(shelf) as server:
        monkeypatch.setenv("TLZOO_ZOO", f"{server.url}/")
        yield server


def test_a_server_is_asked_once_and_searched_without_weights(server, tmp_path):
    assert library.names() == ["gap-one", "gap-two"]
    everything = Catalogue.read()
    assert [card.name for card in everything.narrowed("gap", None, (), None).cards] == ["gap-one", "gap-two"]
    assert [card.name for card in everything.narrowed("gap", None, (), 0.3).cards] == ["gap-one"]
    assert [card.name for card in everything.narrowed(None, None, ("O",)).cards] == ["gap-two"]
    assert server.asked == ["/INDEX.json"]
    path = library.locate("gap-two")
    assert path.read_bytes() == b"gap-two"
    assert json.loads(path.with_suffix(".json").read_text())["name"] == "gap-two"
    assert library.locate("gap-two") == path
    assert server.asked == ["/INDEX.json", "/gap-two.safetensors"]
    assert library.find("gap-two").where == f"{server.url}/gap-two.safetensors"


def test_an_error_is_that_of_one_property(server):
    everything = Catalogue.read()
    with pytest.raises(UserError, match="say of which property the error is: --property NAME"):
        everything.narrowed(None, None, (), 0.3)
    with pytest.raises(UserError, match=r"\* has several units, eV, 1: name one property"):
        everything.narrowed("*", None, (), 0.3)


def test_folders_win_and_ask_nobody(server, shelf, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir()
    for end in ("json", "safetensors"):
        (mine / f"gap-one.{end}").write_bytes((shelf / f"gap-one.{end}").read_bytes())
    monkeypatch.setenv("TLZOO_CHECKPOINTS", str(mine))
    assert library.locate("gap-one") == mine / "gap-one.safetensors"
    assert library.is_checkpoint("gap-one")
    assert not library.is_checkpoint("runs/mine")
    assert server.asked == []
    assert library.locate("gap-two").read_bytes() == b"gap-two"


def test_other_weights_are_refused(server, shelf, tmp_path):
    (shelf / "gap-one.safetensors").write_bytes(b"gap-0ne")
    with pytest.raises(UserError, match=r"is not the file that was pinned"):
        library.locate("gap-one")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_without_its_server_the_last_index_counts(server, monkeypatch, caplog):
    assert library.names() == ["gap-one", "gap-two"]
    path = library.locate("gap-one")
    index._of_server.cache_clear()
    monkeypatch.setenv("TLZOO_OFFLINE", "1")
    assert library.locate("gap-one") == path
    with pytest.raises(
        UserError, match=r"gap-two\.safetensors is not in the cache, and TLZOO_OFFLINE is set"
    ):
        library.locate("gap-two")
    monkeypatch.delenv("TLZOO_OFFLINE")
    server.__exit__()
    assert library.locate("gap-one") == path
    assert "so TLZOO_ZOO is read as it was the last time" in caplog.text


def test_a_server_that_was_never_there_is_told_of(monkeypatch, caplog):
    monkeypatch.setenv("TLZOO_ZOO", "http://me:secret@127.0.0.1:9/zoo")
    assert library.names() == []
    assert "nothing is known of the checkpoints in TLZOO_ZOO, http://***@127.0.0.1:9/zoo" in caplog.text
    assert "secret" not in caplog.text
    with pytest.raises(UserError, match=r"there is no checkpoint 'gap-one'"):
        library.find("gap-one")


def test_a_folder_that_is_not_there_is_told_of(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TLZOO_ZOO", str(tmp_path / "gruop"))
    with pytest.raises(UserError, match="ours is no model"):
        library.locate("ours")
    assert "gruop, which is no folder" in caplog.text


def test_an_amended_card_replaces_the_old_one(server, shelf, monkeypatch):
    path = library.locate("gap-one")
    card = json.loads((shelf / "gap-one.json").read_text())
    (shelf / "gap-one.json").write_text(json.dumps({**card, "description": "better"}))
    index.write(shelf)
    index._of_server.cache_clear()
    assert library.locate("gap-one") == path
    assert json.loads(path.with_suffix(".json").read_text())["description"] == "better"


def test_a_folder_needs_no_index(shelf, monkeypatch):
    (shelf / index.FILE).unlink()
    monkeypatch.setenv("TLZOO_ZOO", str(shelf))
    assert library.names() == ["gap-one", "gap-two"]
    assert library.locate("gap-one") == shelf / "gap-one.safetensors"
    assert library.shelf() == shelf


def test_models_elsewhere_stay_there(shelf, tmp_path, monkeypatch, caplog):
    """A folder lists one on the Hub; what is added later does not lose it."""
    weights = b"somewhere"
    card = {**json.loads((shelf / "gap-one.json").read_text()), "name": "gap-far", "bytes": len(weights)}
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    (tmp_path / "gap-far.json").write_text(json.dumps(card))
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        files = {"model.safetensors": weights, "model.json": json.dumps(card).encode()}
        at = f"hf:team/far@{hub.put('team/far', files)}"
        index.write(shelf, [index.Entry.of(at, tmp_path / "gap-far.json")])
        index.write(shelf)
        monkeypatch.setenv("TLZOO_ZOO", str(shelf))
        assert library.names() == ["gap-far", "gap-one", "gap-two"]
        assert library.find("gap-far").where == at
        assert library.locate("gap-far").read_bytes() == weights
        monkeypatch.setattr(fetch, "offline", lambda: True)
        assert library.locate("gap-far").name == "gap-far.safetensors"


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("../gap-one.safetensors", r"is at '\.\./gap-one\.safetensors'; wanted a \.safetensors file beside"),
        ("/etc/net.safetensors", r"is at '/etc/net\.safetensors'; wanted"),
        ("gap-one.bin", r"is at 'gap-one\.bin'; wanted"),
        ("file:///etc/net.safetensors", r"is no address that tlzoo fetches from"),
        ("https://host/net.pt", r"does not end in \.safetensors"),
        ("hf:team/net@main", r"is at hf:team/net@main, which names no commit"),
        ("hf:../net@main", r"is no model on the Hugging Face Hub"),
    ],
)
def test_places_that_nothing_is_fetched_from(server, shelf, at, said):
    listing = json.loads((shelf / index.FILE).read_text())
    listing["checkpoints"][0]["at"] = at
    (shelf / index.FILE).write_text(json.dumps(listing))
    with pytest.raises(UserError, match=said):
        library.locate("gap-one")
    assert [card.name for card in Catalogue.read().cards] == ["gap-two"]
    assert list(Catalogue.read().damaged) == ["gap-one"]
    assert server.asked == ["/INDEX.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"<html>", r"is no index of a zoo \(INDEX\.json\): Expecting value"),
        (b"[" * 100_000, r"is no index of a zoo"),
        (b'{"format": 2, "checkpoints": []}', r"format is 2, wanted 1; update tlzoo"),
        (b'{"format": 1}', r"checkpoints is missing"),
        (b'{"format": 1, "checkpoints": [{"at": "x"}]}', r"card is missing"),
        (
            b'{"format": 1, "checkpoints": [{"at": "x", "card": {"name": "../x"}}]}',
            r"lists '\.\./x', which is",
        ),
    ],
)
def test_no_index(server, shelf, text, said):
    (shelf / index.FILE).write_bytes(text)
    with pytest.raises(UserError, match=said):
        library.names()


@pytest.mark.parametrize("zoo", ["file:///zoo", "ftp://host/zoo", "https:///zoo"])
def test_no_place_for_a_zoo(monkeypatch, zoo):
    monkeypatch.setenv("TLZOO_ZOO", zoo)
    with pytest.raises(UserError, match=r"TLZOO_ZOO is .*; wanted https://…, or a folder"):
        library.names()
