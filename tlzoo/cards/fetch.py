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
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self, TypeVar
from urllib.parse import unquote, urlsplit

import tlzoo
from tlzoo.cards.beside import Beside, named_by
from tlzoo.errors import UserError
from tlzoo.graphs.cache import default_dir

logger = logging.getLogger(__name__)

PIN = re.compile(r"sha256=(?P<hash>[0-9a-fA-F]{64})")
SUFFIX = ".safetensors"
TIMEOUT = 30.0  # seconds without an answer
PAUSES = (1.0, 4.0)  # seconds before the second and the third attempt
CARD_LIMIT = 10_000_000  # bytes; the cards of large runs have less than 100,000
PIECE = 2**20
T = TypeVar("T")
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
        parts = urlsplit(text)
        url = text.partition("#")[0]
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise UserError(
                f"{text} is no address that tlzoo fetches from; wanted https://…/NAME{SUFFIX}#sha256=…"
            )
        if not parts.path.endswith(SUFFIX):
            raise UserError(
                f"{url} does not end in {SUFFIX}; nothing else is fetched, "
                "because pickled files (.pt, .pth, .ckpt) can run code when they are read"
            )
        pin = PIN.fullmatch(parts.fragment)
        if pin is None:
            raise UserError(
                f"{text} has no pinned hash; add #sha256= and the 64 digits that the publisher states "
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
        return re.sub(r"[^\w.-]", "_", stem).lstrip(".") or "model"


def offline() -> bool:
    """Whether ``TLZOO_OFFLINE`` forbids to ask the network."""
    return os.environ.get("TLZOO_OFFLINE", "0") not in {"", "0"}


def cache() -> Path:
    """Return the folder of all fetched checkpoints."""
    return default_dir() / "checkpoints"


def fetch(address: Address, *, card: bytes | None = None) -> Path:
    """Return the weights of an address, from the cache or the network; their card is put beside them.

    Raises:
        UserError: ``TLZOO_OFFLINE`` is set, the network or the server fails, or what comes is something else.
    """
    folder = cache() / address.sha256
    weights = folder / f"{address.name}{SUFFIX}"
    if _complete(weights, address):
        return weights
    if offline():
        raise UserError(
            f"{address.url} is not in the cache, and TLZOO_OFFLINE is set: unset it, or put "
            f"{weights.name} and its card into {folder}"
        )

    def fill(new: Path) -> None:
        content = card or _get(address.card, CARD_LIMIT)
        size = _size(content, address)
        logger.info("fetching %s (%.1f MB)", address.url, size / 1e6)
        _save(address, new / weights.name, size)
        (new / weights.with_suffix(".json").name).write_bytes(content)
        for one in named_by(json.loads(content)):
            _save_beside(address, one, new / one.file)

    place(folder, fill)
    return weights


def place(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make and fill a folder that appears complete or not at all; what was there before is replaced.

    Raises:
        UserError: It cannot be written.
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
        raise UserError(
            f"{folder} cannot be written: {error.strerror or error}; make room, or set TLZOO_CACHE to a "
            "folder on another disk"
        ) from error


def _size(content: bytes, address: Address) -> int:
    """Return the size of the weights that a card tells.

    Raises:
        UserError: It is no card, or that of other weights.
    """
    try:
        card = json.loads(content)
        size, sha256 = card["bytes"], card["sha256"]
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{address.card} is no card of a model") from error
    if sha256 != address.sha256 or not isinstance(size, int):
        raise UserError(
            f"{address.card} is the card of other weights: its SHA-256 is {str(sha256)[:12]}…, "
            f"wanted {address.sha256[:12]}…"
        )
    return size


def _save(address: Address, path: Path, size: int) -> None:
    """Fetch the weights into a file and check their hash."""

    def receive(answer: http.client.HTTPResponse) -> None:
        digest, received = hashlib.sha256(), 0
        with path.open("wb") as file:
            while received <= size and (piece := answer.read(PIECE)):
                digest.update(piece)
                received += len(piece)
                file.write(piece)
        if received < size:
            raise _AgainError(f"the answer ended after {received:,} of {size:,} bytes")
        if digest.hexdigest() != address.sha256:
            raise UserError(
                f"{address.url} is not the file that was pinned: its SHA-256 is {digest.hexdigest()[:12]}…, "
                f"wanted {address.sha256[:12]}…; it was changed or is another one: ask the publisher"
            )

    _ask(address.url, receive)


def _save_beside(address: Address, one: Beside, path: Path) -> None:
    """Fetch what a card names beside the weights; a model predicts without it, and knows less."""
    url = address.beside(one.file)
    if path.exists():
        raise UserError(f"{address.card} names {one.file} twice: it is no card of a model")
    try:
        content = _get(url, one.bytes)
        one.check(content, url)
    except UserError as error:
        logger.warning("%s; so predictions are not told from those for crystals unlike its own", error)
    else:
        path.write_bytes(content)


def _get(url: str, limit: int) -> bytes:
    def receive(answer: http.client.HTTPResponse) -> bytes:
        content = answer.read(limit + 1)
        if len(content) > limit:
            raise UserError(f"{url} has more than {limit:,} bytes: it is no card of a model")
        if answer.length:
            raise _AgainError(f"the answer ended {answer.length:,} bytes early")
        return content

    return _ask(url, receive)


def _ask(url: str, receive: Callable[[http.client.HTTPResponse], T]) -> T:
    """Ask a server, up to three times, and return what is made of its answer.

    Raises:
        UserError: It cannot be reached, refuses, or does not finish its answer.
    """
    reason = ""
    for pause in (*PAUSES, None):
        try:
            return _attempt(url, receive)
        except _AgainError as error:
            reason = str(error)
        if pause is not None:
            logger.info("%s: %s; again in %g s", url, reason, pause)
            time.sleep(pause)
    raise UserError(
        f"{url} could not be fetched, {len(PAUSES) + 1} times: {reason}; "
        "try again later, or fetch both files elsewhere and give the path"
    )


def _attempt(url: str, receive: Callable[[http.client.HTTPResponse], T]) -> T:
    request = urllib.request.Request(url, headers={"User-Agent": f"tlzoo/{tlzoo.__version__}"})  # noqa: S310 (http only: Address)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 (the same)
            return receive(answer)
    except urllib.error.HTTPError as error:
        if error.code in BUSY:
            raise _AgainError(f"the server says {error.code} {error.reason}") from error
        raise UserError(f"{url} could not be fetched: the server says {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _AgainError(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise _AgainError(f"{type(error).__name__} {error}".strip()) from error


def _complete(weights: Path, address: Address) -> bool:
    """Whether both files are in the cache as they should be."""
    try:
        _size(weights.with_suffix(".json").read_bytes(), address)
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == address.sha256
    except (OSError, UserError):
        return False
