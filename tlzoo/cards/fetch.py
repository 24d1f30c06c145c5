"""Weights from the network: pinned by their hash, complete or absent, kept in the cache.

Both files of a model, ``<name>.safetensors`` and ``<name>.json`` beside it, land in one folder of the cache,
named after the SHA-256 of the weights, and with them what the card names beside them. What is there is never
fetched again.
"""

import contextlib
import errno
import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import socket
import ssl
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, Self, TypeVar
from urllib.parse import unquote, urlsplit

import tlzoo
from tlzoo.cards.beside import Beside, lacking, named_by
from tlzoo.cards.credentials import separated
from tlzoo.errors import UserError, redacted
from tlzoo.graphs.cache import default_dir

logger = logging.getLogger(__name__)

PIN = re.compile(r"sha256=(?P<hash>[0-9a-fA-F]{64})")
SUFFIX = ".safetensors"
WANTED = f"https://…/NAME{SUFFIX}#sha256=…"
SCHEMES = ("http", "https")
TIMEOUT = 30.0  # seconds without an answer
PAUSES = (1.0, 4.0)  # seconds before the second and the third attempt
CARD_LIMIT = 10_000_000  # bytes; the cards of large runs have less than 100,000
LIMIT = 10**10  # bytes of weights; those of the zoo have a few million, networks of 10⁹ weights 4 · 10⁹
# All attempts to get a file take no longer than so many seconds and its bytes at this rate, which the slowest
# lines exceed: a server that sends a byte now and then is not waited for without end.
START, SLOWEST = 120.0, 20_000
NAME_LIMIT = 200  # characters; file systems allow 255 bytes, endings included
PIECE = 2**20
T = TypeVar("T")
S = TypeVar("S", str, Path)
BUSY = {408, 425, 429, 500, 502, 503, 504}


class _AgainError(Exception):
    """An attempt failed in a way that the next one may not."""


class Address(NamedTuple):
    """Where the weights of a model are, with the card beside them, and their SHA-256."""

    url: str
    sha256: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``https://…/x.safetensors#sha256=…``.

        Raises:
            UserError: It is no such address.
        """
        shown = redacted(text)
        try:
            parts = urlsplit(text)
            good = parts.scheme in SCHEMES and parts.hostname and (parts.port or 1)
        except ValueError as error:
            raise UserError(f"{shown} is no address: {error}; wanted {WANTED}") from error
        url = text.partition("#")[0]
        if not good:
            raise UserError(f"{shown} is no address that tlzoo fetches from; wanted {WANTED}")
        if not re.fullmatch(r"[!-~]+", url):
            raise UserError(
                f"{shown} has characters that no address has; write them as %20, %C3%A9 and so on"
            )
        if not parts.path.endswith(SUFFIX):
            raise UserError(
                f"{redacted(url)} does not end in {SUFFIX}; nothing else is fetched, "
                "because pickled files (.pt, .pth, .ckpt) can run code when they are read"
            )
        pin = PIN.fullmatch(parts.fragment)
        if pin is None:
            raise UserError(
                f"{shown} has no pinned hash; add #sha256= and the 64 digits that the publisher states "
                "(the field sha256 of the card), so that you get what you trust"
            )
        return cls(url, pin["hash"].lower())

    @property
    def card(self) -> str:
        """Address of the card."""
        parts = urlsplit(self.url)
        return parts._replace(path=parts.path.removesuffix(SUFFIX) + ".json").geturl()

    def beside(self, file: str) -> str:
        """Address of another file in the same folder."""
        parts = urlsplit(self.url)
        return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{file}").geturl()

    @property
    def name(self) -> str:
        """Name of the model, safe as a file name."""
        stem = PurePosixPath(unquote(urlsplit(self.url).path)).name.removesuffix(SUFFIX)
        return re.sub(r"[^\w.-]", "_", stem).lstrip(".")[:NAME_LIMIT] or "model"


class CacheError(UserError):
    """The cache cannot be written, wherever a model comes from."""


def offline() -> bool:
    """Whether ``TLZOO_OFFLINE`` forbids to ask the network."""
    return os.environ.get("TLZOO_OFFLINE", "0") not in {"", "0"}


def cache() -> Path:
    """Return the folder of all fetched checkpoints."""
    return default_dir() / "checkpoints"


def fetch(address: Address, *, card: bytes | None = None, whole: bool = False) -> Path:
    """Return the weights of an address, from the cache or the network; their card is put beside them.

    With ``whole`` they are fetched again if a file that the card names did not come along.

    Raises:
        UserError: ``TLZOO_OFFLINE`` is set, the network or the server fails, or what comes is something else.
    """
    folder = cache() / address.sha256
    weights = folder / f"{address.name}{SUFFIX}"
    # a card may have been amended since
    if there := kept(
        address.name, address.sha256, None if offline() else card, whole=whole and not offline()
    ):
        return there
    if offline():
        raise UserError(
            f"{redacted(address.url)} is not in the cache, and TLZOO_OFFLINE is set: unset it, or put "
            f"{weights.name} and its card into {folder}"
        )

    place(folder, lambda new: receive(address, new / weights.name, card or content(address.card, CARD_LIMIT)))
    return weights


def kept(name: str, sha256: str, card: bytes | None = None, *, whole: bool = False) -> Path | None:
    """Return weights with this hash from the cache; None if they are not there, or have another card.

    With ``whole`` all that the card names is to be beside them.
    """
    weights = cache() / sha256 / f"{name}{SUFFIX}"
    same = card is None or _has(weights.with_suffix(".json"), card)
    if not same or not _complete(weights, sha256):
        return None
    if whole and lacking(weights, json.loads(weights.with_suffix(".json").read_bytes())):
        return None
    return weights


def copied(source: Path, sha256: str, card: bytes) -> Path:
    """Return weights of a file, copied into the cache with a card, and what it names beside them.

    Raises:
        CacheError: The cache cannot be written.
        UserError: There is no such file, it cannot be read, or has another hash.
    """
    weights = cache() / sha256 / source.name
    try:
        file = source.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        folder = source.parent  # or the file itself, or a clone
        near = [each for each in (folder.parent, folder / "checkpoints") if (each / source.name).is_file()]
        there = f", but there is one in {near[0]}" if near else ""
        raise UserError(f"there is no file {source}{there}") from error
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror}") from error

    def fill(new: Path) -> None:
        copy = new / source.name
        with copy.open("wb") as written:
            shutil.copyfileobj(file, written)
        if (found := _sha256(copy)) != sha256:
            raise UserError(
                f"{source} is not the file that the card pins: its SHA-256 is {found[:12]}…, wanted "
                f"{sha256[:12]}…; take a clone of the same version of tlzoo"
            )
        copy.with_suffix(".json").write_bytes(card)
        for one in named_by(json.loads(card)):
            _save_beside(one, source.with_name(one.file), one.read, new / one.file)

    with file:
        place(weights.parent, fill)
    return weights


def receive(address: Address, weights: Path, card: bytes) -> None:
    """Fetch the weights of an address into a file, put their card beside it, and what the card names.

    Raises:
        UserError: The server fails, the card is that of other weights, or what comes is something else.
    """
    size = _size(card, address.sha256, redacted(address.card))
    logger.info("fetching %s (%.1f MB)", redacted(address.url), size / 1e6)
    _save(address, weights, size)
    weights.with_suffix(".json").write_bytes(card)
    for one in named_by(json.loads(card)):
        path = weights.with_name(one.file)
        if path.exists():
            raise UserError(f"{redacted(address.card)} names {one.file} twice: it is no card of a model")
        _save_beside(one, address.beside(one.file), partial(content, limit=one.bytes), path)


def place(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make and fill a folder that appears complete or not at all; what was there before is replaced.

    Raises:
        CacheError: It cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as aside:
            new = Path(aside) / "new"
            new.mkdir()
            fill(new)
            with contextlib.suppress(FileNotFoundError):
                folder.rename(Path(aside) / "old")
            # not empty: another process was faster, with the same content
            try:
                new.rename(folder)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
    except OSError as error:
        raise CacheError(
            f"{folder} cannot be written: {error.strerror or error}; make room, or set TLZOO_CACHE to a "
            "folder on another disk"
        ) from error


def _size(card: bytes, sha256: str, where: str) -> int:
    """Return the size of the weights that a card tells.

    Raises:
        UserError: It is no card, or that of other weights.
    """
    try:
        facts = json.loads(card)
        size, stated = facts["bytes"], facts["sha256"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"{where} is no card of a model") from error
    if stated != sha256 or not isinstance(size, int):
        raise UserError(
            f"{where} is the card of other weights: its SHA-256 is {str(stated)[:12]}…, wanted {sha256[:12]}…"
        )
    if size > LIMIT:
        raise UserError(f"{where} tells of {size:,} bytes of weights; at most {LIMIT:,} are fetched")
    return size


def _save(address: Address, path: Path, size: int) -> None:
    """Fetch the weights into a file and check their hash."""

    def receive(answer: http.client.HTTPResponse) -> None:
        digest, received = hashlib.sha256(), 0
        with path.open("wb") as file:
            while received <= size and (piece := answer.read1(PIECE)):
                digest.update(piece)
                received += len(piece)
                file.write(piece)
        if received < size:
            raise _AgainError(f"the answer ended after {received:,} of {size:,} bytes")
        if digest.hexdigest() != address.sha256:
            raise UserError(
                f"{redacted(address.url)} is not the file that was pinned: its SHA-256 is "
                f"{digest.hexdigest()[:12]}…, wanted {address.sha256[:12]}…; it was changed or is another "
                "one: ask the publisher"
            )

    _ask(address.url, receive, START + size / SLOWEST)


def _save_beside(one: Beside, where: S, read: Callable[[S], bytes], path: Path) -> None:
    """Save what a card names beside the weights; a model predicts without it, and knows less."""
    try:
        found = read(where)
        one.check(found, where)
    except UserError as error:
        logger.warning("%s; so %s", error, one.lost)
    else:
        path.write_bytes(found)


def content(url: str, limit: int, noun: str = "card of a model", seconds: float = START) -> bytes:
    """Return what an address has, which is a card of a model unless ``noun`` says what else.

    Raises:
        UserError: It cannot be fetched in so many seconds, or has more bytes than ``limit``.
    """

    def read(answer: http.client.HTTPResponse) -> bytes:
        found = answer.read(limit + 1)
        if len(found) > limit:
            raise UserError(f"{redacted(url)} has more than {limit:,} bytes: it is no {noun}")
        if answer.length:
            raise _AgainError(f"the answer ended {answer.length:,} bytes early")
        return found

    return _ask(url, read, seconds)


def _ask(url: str, receive: Callable[[http.client.HTTPResponse], T], seconds: float) -> T:
    """Ask a server, up to three times but no longer than this, and return what is made of its answer.

    Raises:
        UserError: It cannot be reached, refuses, or does not finish its answer.
    """
    end = time.monotonic() + seconds
    for pause in (*PAUSES, None):
        try:
            return _attempt(url, receive, end)
        except _AgainError as error:
            reason = f", {len(PAUSES) + 1} times: {error}"
            logger.info("%s: %s%s", redacted(url), error, f"; again in {pause:g} s" if pause else "")
        if pause is not None:
            time.sleep(pause)
        if time.monotonic() >= end:
            reason = f": the server sends too little in {seconds:g} s"
            break
    raise UserError(
        f"{redacted(url)} could not be fetched{reason}; "
        "try again later, or fetch both files elsewhere and give the path"
    )


def _attempt(url: str, receive: Callable[[http.client.HTTPResponse], T], end: float) -> T:
    bare, authorization = separated(url)
    request = urllib.request.Request(bare, headers={"User-Agent": f"tlzoo/{tlzoo.__version__}"})  # noqa: S310 (http only: Address)
    if authorization:
        request.add_unredirected_header("Authorization", authorization)  # not for another host
    try:
        with _until(end) as opener, opener.open(request, timeout=TIMEOUT) as answer:
            return receive(answer)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in BUSY:
            raise _AgainError(f"the server says {error.code} {error.reason}") from error
        text = f"{url} could not be fetched: the server says {error.code} {error.reason}"
        raise UserError(redacted(text)) from error
    except urllib.error.URLError as error:
        raise _AgainError(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise _AgainError(f"{type(error).__name__} {error}".strip()) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects to http and https alone; the library's own follow ftp too."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return what to ask instead."""
        scheme = urlsplit(newurl).scheme
        if scheme not in SCHEMES:
            fp.close()
            raise UserError(
                f"{redacted(req.full_url)} leads to an address of {scheme}, which is not fetched from; only "
                "http and https are"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextlib.contextmanager
def _until(end: float) -> Iterator[urllib.request.OpenerDirector]:
    """Yield what asks servers, and cut its connections at a time of ``time.monotonic()``.

    A time-out of a socket begins anew with every byte that comes, also within a line of a header.
    """
    held: list[socket.socket] = []

    def connect(*args: Any, **kwargs: Any) -> socket.socket:  # noqa: ANN401 (those of the library)
        if time.monotonic() >= end:
            raise TimeoutError
        connection = socket.create_connection(*args, **kwargs)
        held.extend([connection, connection.dup()])  # TLS takes the first one over
        return connection

    def cut() -> None:
        for connection in held:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Opening(connect),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    timer = threading.Timer(max(0.0, end - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield opener
    finally:
        timer.cancel()
        for connection in held:
            connection.close()


class _Opening(urllib.request.HTTPHandler):
    """Opens connections by a function of one's own."""

    def __init__(self, connect: Callable[..., socket.socket]) -> None:
        super().__init__()
        self._connect = connect

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Ask by http."""
        return self.do_open(partial(self._made, http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Ask by https."""
        return self.do_open(partial(self._made, http.client.HTTPSConnection), req)

    https_request = urllib.request.HTTPHandler.http_request

    def _made(self, kind: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (the library's)
        connection = kind(*args, **kwargs)
        connection._create_connection = self._connect
        return connection


def _has(path: Path, content: bytes) -> bool:
    """Whether a file has a content."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _complete(weights: Path, sha256: str) -> bool:
    """Whether both files are in the cache as they should be."""
    try:
        _size(weights.with_suffix(".json").read_bytes(), sha256, str(weights))
        return _sha256(weights) == sha256
    except (OSError, UserError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
