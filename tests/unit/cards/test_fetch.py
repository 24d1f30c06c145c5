"""Weights from a server on this machine, which misbehaves in every way a server can."""

import base64
import contextlib
import errno
import hashlib
import http.server
import json
import os
import socket
import threading
from collections import Counter

import numpy as np
import pytest

from tlzoo.cards import fetch as module
from tlzoo.cards.beside import Beside, files
from tlzoo.cards.fetch import Address, fetch
from tlzoo.errors import UserError

# the same in every process: parameters of tests are made of them
WEIGHTS = np.random.default_rng(0).bytes(3_000)
SHA = hashlib.sha256(WEIGHTS).hexdigest()
CARD = json.dumps({"sha256": SHA, "bytes": len(WEIGHTS)}).encode()


class Server(http.server.ThreadingHTTPServer):
    """Answers as the test says, and counts what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/m/net.safetensors": WEIGHTS, "/m/net.json": CARD}
        self.asked = Counter()
        self.cut = {}  # path: how many answers end early
        self.busy = {}  # path: how many answers are 503
        self.moved = {}  # path: where it is now
        self.authorized = []  # what was sent of users and passwords

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/m/net.safetensors"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        self.path = self.path.partition("?")[0]
        server.asked[self.path] += 1
        if sent := self.headers.get("Authorization"):
            server.authorized.append(base64.b64decode(sent.removeprefix("Basic ")).decode())
        if server.busy.get(self.path, 0):
            server.busy[self.path] -= 1
            self.send_error(503)
            return
        if self.path in server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved[self.path])
            self.end_headers()
            return
        if self.path not in server.files:
            self.send_error(404)
            return
        content = server.files[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if server.cut.get(self.path, 0):
            server.cut[self.path] -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "TLZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """Nobody waits; what would have been waited for is noted."""
    slept = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    return slept


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path))
    return tmp_path / "checkpoints"


def address(server, sha256=SHA):
    return Address.parse(f"{server.url}#sha256={sha256}")


def left(cache):
    return [path.name for path in cache.rglob("*")] if cache.exists() else []


def test_fetched_once(server, cache):
    path = fetch(address(server))
    assert path == cache / SHA / "net.safetensors"
    assert path.read_bytes() == WEIGHTS
    assert path.with_suffix(".json").read_bytes() == CARD
    assert fetch(address(server, SHA.upper())) == path
    assert server.asked == {"/m/net.json": 1, "/m/net.safetensors": 1}
    assert sorted(left(cache)) == sorted([SHA, "net.json", "net.safetensors"])


def test_redirects_are_followed(server):
    server.files["/m/moved.json"] = CARD
    server.moved["/m/moved.safetensors"] = "/m/net.safetensors"
    path = fetch(Address(server.url.replace("net", "moved"), SHA))
    assert (path.name, path.read_bytes()) == ("moved.safetensors", WEIGHTS)


def test_a_card_that_is_known_is_not_asked_for(server):
    assert fetch(address(server), card=CARD).read_bytes() == WEIGHTS
    assert server.asked == {"/m/net.safetensors": 1}


DOMAIN = b"what is known of training crystals"


@pytest.fixture
def told(server):
    """A card that names a file beside the weights."""
    beside = Beside.describing("net.domain.safetensors", DOMAIN)
    content = {**json.loads(CARD), "domain": beside.fields()}
    server.files |= {"/m/net.json": json.dumps(content).encode(), "/m/net.domain.safetensors": DOMAIN}
    return server


def test_what_a_card_names_comes_with_it(told, cache):
    path = fetch(address(told))
    assert path.with_name("net.domain.safetensors").read_bytes() == DOMAIN
    assert sorted(path.name for path in files(path)) == sorted(p.name for p in (cache / SHA).iterdir())
    assert len(files(path)) == 3


@pytest.mark.parametrize("change", [None, b"something else", DOMAIN + b"more"])
def test_without_it_a_model_is_fetched_all_the_same(told, cache, change, caplog):
    del told.files["/m/net.domain.safetensors"]
    if change:
        told.files["/m/net.domain.safetensors"] = change
    path = fetch(address(told))
    assert path.read_bytes() == WEIGHTS
    assert sorted(left(cache / SHA)) == ["net.json", "net.safetensors"]
    assert "net.domain.safetensors" in caplog.text


def test_a_card_cannot_name_other_places(told, cache):
    for file in ("../net.safetensors", "net.safetensors"):
        beside = {**json.loads(told.files["/m/net.json"])["domain"], "file": file}
        told.files["/m/net.json"] = json.dumps({**json.loads(CARD), "domain": beside}).encode()
        with pytest.raises(UserError, match=r"file is '\.\./net|names net\.safetensors twice"):
            fetch(address(told))
        assert left(cache) == []


@pytest.mark.parametrize("damaged", ["net.safetensors", "net.json"])
def test_a_damaged_cache_is_mended(server, cache, damaged):
    fetch(address(server))
    (cache / SHA / damaged).write_bytes(b"{}")
    assert fetch(address(server)).read_bytes() == WEIGHTS
    assert (cache / SHA / "net.json").read_bytes() == CARD


def test_offline_asks_nobody(server, cache, monkeypatch):
    monkeypatch.setenv("TLZOO_OFFLINE", "1")
    with pytest.raises(
        UserError, match=r"is not in the cache, and TLZOO_OFFLINE is set: unset it, or put net"
    ):
        fetch(address(server))
    assert not server.asked
    monkeypatch.setenv("TLZOO_OFFLINE", "0")
    path = fetch(address(server))
    monkeypatch.setenv("TLZOO_OFFLINE", "1")
    assert fetch(address(server)) == path, "what is in the cache needs no network"


@pytest.mark.parametrize("path", ["/m/net.safetensors", "/m/net.json"])
def test_a_truncated_answer_is_asked_for_again(server, path, pauses):
    server.cut[path] = 2
    assert fetch(address(server)).read_bytes() == WEIGHTS
    assert server.asked[path] == 3
    assert pauses == [1.0, 4.0]


def test_truncated_always(server, cache):
    server.cut["/m/net.safetensors"] = 99
    with pytest.raises(UserError, match=r"could not be fetched, 3 times: .*try again later"):
        fetch(address(server))
    assert server.asked["/m/net.safetensors"] == 3
    assert left(cache) == []


def test_a_busy_server_is_asked_again(server):
    server.busy["/m/net.json"] = 1
    assert fetch(address(server)).read_bytes() == WEIGHTS
    assert server.asked["/m/net.json"] == 2


@pytest.mark.parametrize("change", [WEIGHTS[:-1] + b"?", WEIGHTS + b"more", bytes(5_000)])
def test_other_weights_are_refused_at_once(server, cache, change, pauses):
    server.files["/m/net.safetensors"] = change
    with pytest.raises(UserError, match=rf"is not the file that was pinned: .* wanted {SHA[:12]}…"):
        fetch(address(server))
    assert left(cache) == []
    assert not pauses


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", r"net\.json is no card of a model"),
        (b"[1]", r"net\.json is no card of a model"),
        (
            json.dumps({"sha256": "0" * 64, "bytes": 1}).encode(),
            r"is the card of other weights: its SHA-256 is 0",
        ),
        (json.dumps({"sha256": SHA, "bytes": "1"}).encode(), "is the card of other weights"),
        (b" " * 200, r"has more than 100 bytes: it is no card"),
    ],
)
def test_other_cards_are_refused(server, content, message, monkeypatch):
    monkeypatch.setattr(module, "CARD_LIMIT", 150 if len(content) < 200 else 100)
    server.files["/m/net.json"] = content
    with pytest.raises(UserError, match=message):
        fetch(address(server))
    assert server.asked["/m/net.safetensors"] == 0


@pytest.mark.parametrize("path", ["/m/net.safetensors", "/m/net.json"])
def test_a_file_that_is_not_there(server, cache, path, pauses):
    del server.files[path]
    with pytest.raises(UserError, match=rf"{path} could not be fetched: the server says 404 Not Found"):
        fetch(address(server))
    assert not pauses, "it will not be there the next time"
    assert left(cache) == []


def test_nobody_answers(pauses):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/net.safetensors"
        with pytest.raises(
            UserError, match="could not be fetched, 3 times: Connection refused; try again later"
        ):
            fetch(Address(url, SHA))
    assert pauses == [1.0, 4.0]


def test_no_such_host():
    with pytest.raises(UserError, match="could not be fetched, 3 times: "):
        fetch(Address("http://no-such-host.invalid/net.safetensors", SHA))


def test_full_disk(server, cache, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module.Path, "write_bytes", full)
        with pytest.raises(
            UserError, match=r"cannot be written: No space left on device; make room, or set TLZOO_CACHE"
        ):
            fetch(address(server))
    assert left(cache) == []
    fetch(address(server))


def test_several_processes_may_fetch_at_once(server, cache):
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(address(server)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [cache / SHA / "net.safetensors"] * 6
    assert paths[0].read_bytes() == WEIGHTS
    assert sorted(left(cache)) == sorted([SHA, "net.json", "net.safetensors"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://host/net.safetensors#sha256=" + SHA, "is no address that tlzoo fetches from; wanted https"),
        ("file:///etc/net.safetensors#sha256=" + SHA, "is no address"),
        ("https:///net.safetensors#sha256=" + SHA, "is no address"),
        (
            "https://host/net.pt#sha256=" + SHA,
            r"does not end in \.safetensors; nothing else is fetched, because pickled",
        ),
        ("https://host/net.safetensors", "has no pinned hash; add #sha256="),
        ("https://host/net.safetensors#sha256=123", "has no pinned hash"),
        ("https://host/net.safetensors#md5=" + SHA, "has no pinned hash"),
        ("https://host/net.safetensors#sha256=" + SHA + "0", "has no pinned hash"),
        (
            "http://[::1/net.safetensors#sha256=" + SHA,
            r"http://\[::1/net.* is no address: Invalid IPv6",
        ),
        ("http://[::1", "is no address: Invalid IPv6 URL; wanted https"),
        ("http://host:99999/net.safetensors#sha256=" + SHA, "is no address: Port out of range 0-65535"),
        ("http://host:x/net.safetensors#sha256=" + SHA, "is no address: Port could not be cast"),
        ("http://h o/net.safetensors#sha256=" + SHA, "has characters that no address has; write them as %20"),
        ("http://host/é.safetensors#sha256=" + SHA, "has characters that no address has"),
        ("http://host/a\nb.safetensors#sha256=" + SHA, "no address"),
        ("ftp://me:secret@host/net.safetensors", r"ftp://\*\*\*@host/net.safetensors is no address that"),
        ("http://me:secret@[::1", r"^http://\*\*\*@\[::1 is no address"),
        ("http://me:secret@host/net.pt", r"^http://\*\*\*@host/net.pt does not end in"),
        ("http://me:secret@host/net.safetensors", r"^http://\*\*\*@host/net.safetensors has no pinned hash"),
    ],
)
def test_addresses_that_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        Address.parse(text)


@pytest.mark.parametrize(
    ("url", "card", "name"),
    [
        ("https://h/a/net.safetensors", "https://h/a/net.json", "net"),
        ("https://h/net.v1.safetensors?raw=true", "https://h/net.v1.json?raw=true", "net.v1"),
        ("https://h/a%2F..%2Fb.safetensors", "https://h/a%2F..%2Fb.json", "b"),
        ("https://h/..safetensors", "https://h/..json", "model"),
        ("https://h/a%20b%5C.safetensors", "https://h/a%20b%5C.json", "a_b_"),
        (f"https://h/{'x' * 300}.safetensors", f"https://h/{'x' * 300}.json", "x" * 200),
    ],
)
def test_parts_of_an_address(url, card, name):
    found = Address.parse(f"{url}#sha256={SHA}")
    assert (found.url, found.card, found.name) == (url, card, name)


class Trickling(http.server.BaseHTTPRequestHandler):
    """Sends a byte now and then: of the body, or of a header that has no end."""

    def do_GET(self):
        header = self.path == "/header.safetensors"
        with contextlib.suppress(OSError):
            if not header:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n")
            while not self.server.over.wait(0.02):
                self.wfile.write(b"x")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("part", ["body", "header"])
def test_a_server_that_trickles_is_left_in_the_end(part, cache, monkeypatch):
    monkeypatch.setattr(module, "START", 0.3)
    monkeypatch.setattr(module, "SLOWEST", 1e30)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickling) as server:
        server.over = threading.Event()
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{part}.safetensors"
        with pytest.raises(
            UserError,
            match=rf"{part}\.safetensors could not be fetched: the server sends too little in 0\.3 s",
        ):
            fetch(Address(url, SHA), card=CARD)
        server.over.set()
        server.shutdown()
    assert left(cache) == []


def test_a_long_transfer_that_goes_on_has_its_time(server):
    """The limit grows with the size: what a slow line brings within it is taken."""
    assert fetch(address(server)).read_bytes() == WEIGHTS
    assert module.START + 3 * 10**7 / module.SLOWEST > 25 * 60  # s for 30 MB


@pytest.mark.parametrize("where", ["ftp://127.0.0.1/net.safetensors", "file:///etc/passwd", "data:,x"])
def test_redirects_lead_to_http_alone(where, server, cache, pauses):
    server.moved["/m/net.safetensors"] = where
    # of some schemes the library itself says it
    said = r"(leads to an address of ftp, which is not|could not be fetched: .* is not allowed)"
    with pytest.raises(UserError, match=rf"net\.safetensors {said}"):
        fetch(address(server))
    assert not pauses
    assert left(cache) == []


def test_redirects_in_a_circle_end(server):
    server.moved["/m/net.safetensors"] = "/m/net.safetensors"
    with pytest.raises(UserError, match="could not be fetched: the server says 302"):
        fetch(address(server))


def test_a_password_is_sent_but_not_shown(server, caplog):
    caplog.set_level("INFO")
    url = server.url.replace("://", "://me:s%40cret@")
    assert fetch(Address.parse(f"{url}?key=hidden#sha256={SHA}")).read_bytes() == WEIGHTS
    assert server.authorized == ["me:s@cret", "me:s@cret"]
    assert "http://***@127.0.0.1" in caplog.text
    del server.files["/m/net.safetensors"]
    with pytest.raises(UserError) as caught:
        fetch(Address(f"{url}?key=hidden", "0" * 64), card=CARD.replace(SHA.encode(), b"0" * 64))
    assert "net.safetensors?*** could not be fetched: the server says 404" in str(caught.value)
    for text in (caplog.text, str(caught.value)):
        assert "cret" not in text
        assert "hidden" not in text


def test_a_password_stays_with_its_host(server):
    with Server() as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.moved["/m/net.safetensors"] = other.url
        assert fetch(Address(server.url.replace("://", "://me:secret@"), SHA)).read_bytes() == WEIGHTS
        assert server.authorized == ["me:secret", "me:secret"]
        assert other.authorized == []
        other.shutdown()


def test_a_card_cannot_ask_for_any_amount(server, cache):
    server.files["/m/net.json"] = json.dumps({"sha256": SHA, "bytes": 10**15}).encode()
    with pytest.raises(UserError, match=r"tells of 1,000,000,000,000,000 bytes of weights; at most 10,0"):
        fetch(address(server))
    assert server.asked["/m/net.safetensors"] == 0


def test_a_nested_card(server):
    server.files["/m/net.json"] = b"[" * 100_000
    with pytest.raises(UserError, match=r"net\.json is no card of a model"):
        fetch(address(server))
