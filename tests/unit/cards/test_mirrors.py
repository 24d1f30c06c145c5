"""Weights that are not beside their card: from folders and servers, in the order in which they are named."""

import functools
import http.server
import json
import shutil
import threading

import pytest

from tlzoo.cards import library, mirrors
from tlzoo.cards.beside import Beside
from tlzoo.errors import UserError

DOMAIN = b"what it has learned from"


@pytest.fixture
def slim(bare, put, tmp_path):
    """A card without weights in the user's folder; both are in a clone, with what the card names."""
    card = put("net", weights=False).with_suffix(".json")
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "net.safetensors").write_bytes(b"mine/net")
    (clone / "net.domain.safetensors").write_bytes(DOMAIN)
    content = json.loads(card.read_text())
    content["domain"] = Beside.describing("net.domain.safetensors", DOMAIN).fields()
    card.write_text(json.dumps(content))
    shutil.copy(card, clone)
    return clone


@pytest.fixture
def server(slim, monkeypatch):
    """The clone's address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=slim.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/clone"
        server.shutdown()


def assert_all_is_there(weights):
    assert weights.read_bytes() == b"mine/net"
    assert weights.with_name("net.domain.safetensors").read_bytes() == DOMAIN
    assert json.loads(weights.with_suffix(".json").read_text())["name"] == "net"


def test_nobody_says_where(slim):
    with pytest.raises(UserError) as refused:
        library.locate("net")
    assert str(refused.value) == (
        "the weights of net (0.0 MB) do not come with the package, which has those of small networks alone. "
        "Fetch them once: `tlzoo zoo pull net --from PLACE`. PLACE is the folder checkpoints of a clone of "
        "tlzoo, or an address that serves its files; TLZOO_CHECKPOINTS_URL names several for good, A,B,…"
    )
    found = library.find("net")
    assert found.lacking == "needs its weights (0.0 MB): tlzoo zoo pull net --from PLACE"
    assert found.command in found.lacking
    assert library.beside("net") == found.path, "its card tells without its weights"


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_pulled_once(slim, server, kind):
    pulled = library.pulled("net", [str(slim) if kind == "folder" else server])
    assert_all_is_there(pulled)
    shutil.rmtree(slim)
    assert library.locate("net") == pulled
    assert library.pulled("net", ["elsewhere"]) == pulled
    found = library.find("net")
    assert (found.lacking, found.where) == ("", str(pulled))


def test_the_first_place_that_has_them(slim, server, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "net.safetensors").write_bytes(b"mine/nut")
    monkeypatch.setenv(mirrors.VARIABLE, f"{tmp_path / 'none'}, {other},{server}/none,{server}")
    assert library.find("net").lacking == ""
    assert_all_is_there(library.locate("net"))


def test_no_place_has_them(slim, server, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "net.safetensors").write_bytes(b"mine/nut")
    monkeypatch.setenv(mirrors.VARIABLE, f"{other},{server}/none,{tmp_path / 'none'}")
    with pytest.raises(UserError) as refused:
        library.locate("net")
    said = str(refused.value)
    assert said.startswith(
        f"the weights of net (0.0 MB) could not be fetched: {other / 'net.safetensors'} is not"
    )
    assert "none/net.safetensors could not be fetched: the server says 404" in said
    assert f"there is no file {tmp_path / 'none' / 'net.safetensors'}. Name another place: PLACE is" in said
    assert not (tmp_path / "cache").exists() or not any((tmp_path / "cache").rglob("net*"))


@pytest.mark.parametrize("below", ["", "net.safetensors"], ids=["a clone", "the file"])
def test_a_place_near_the_right_one(slim, below):
    slim = slim.rename(slim.with_name("checkpoints"))
    with pytest.raises(UserError) as refused:
        library.pulled("net", [str(slim / below if below else slim.parent)])
    assert f"net.safetensors, but there is one in {slim}. Name" in str(refused.value)
    assert "cannot be written" not in str(refused.value)


def test_a_folder_as_an_address(slim):
    folder = slim.rename(slim.with_name("my clone"))
    assert_all_is_there(library.pulled("net", [folder.as_uri()]))


def test_a_cache_that_cannot_be_written_is_no_matter_of_places(slim, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError) as refused:
        library.pulled("net", [str(slim), str(slim)])
    assert str(refused.value).count("cannot be written") == 1
    assert "set TLZOO_CACHE" in str(refused.value)
    assert "Name another place" not in str(refused.value)


def test_where_they_will_come_from(slim, server, tmp_path, monkeypatch):
    monkeypatch.setenv(mirrors.VARIABLE, str(tmp_path / "none"))
    assert library.find("net").lacking, "a folder that has them not is no help"
    monkeypatch.setenv(mirrors.VARIABLE, f"{tmp_path / 'none'},{server}")
    found = library.find("net")
    assert (found.lacking, found.where) == ("", f"{server}/net.safetensors")
    monkeypatch.setenv("TLZOO_OFFLINE", "1")
    assert library.find("net").lacking
    monkeypatch.setenv(mirrors.VARIABLE, f"{server},{slim}")
    found = library.find("net")
    assert (found.lacking, found.where) == ("", str(slim / "net.safetensors"))


def test_what_has_a_place_of_its_own(slim):
    with pytest.raises(UserError, match=r"^hf:me/net .*leave --from out: tlzoo zoo pull hf:me/net$"):
        library.pulled("hf:me/net", [str(slim)])


def test_without_what_the_card_names_they_come_all_the_same(slim, caplog):
    (slim / "net.domain.safetensors").write_bytes(b"something else")
    pulled = library.pulled("net", [str(slim)])
    assert pulled.read_bytes() == b"mine/net"
    assert not pulled.with_name("net.domain.safetensors").exists()
    assert "so nothing is known of the crystals that the model has learned from" in caplog.text


def test_an_amended_card(slim, tmp_path):
    before = library.pulled("net", [str(slim)])
    card = tmp_path / "mine" / "net.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "description": "amended"}))
    assert library.locate("net") == before
    assert "amended" not in before.with_suffix(".json").read_text(), "what was pulled belongs together"
    library.pulled("net", [str(slim)])
    assert "amended" in before.with_suffix(".json").read_text()
    assert_all_is_there(before)


def test_a_damaged_copy_is_none(slim):
    pulled = library.pulled("net", [str(slim)])
    pulled.write_bytes(b"mine/not")
    assert library.find("net").lacking
    assert_all_is_there(library.pulled("net", [str(slim)]))
