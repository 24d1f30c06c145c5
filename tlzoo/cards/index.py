"""The zoo of a group: checkpoints that a folder or a server offers beside those of tlzoo, ``TLZOO_ZOO``.

``INDEX.json`` lists them with their cards: it is all that is needed to search them, and each card pins the
weights, which are beside the index or somewhere else.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from msgspec import Meta

from tlzoo.cards import fetch, hub
from tlzoo.cards.beside import FILE_NAME
from tlzoo.cards.card import NAME, Card
from tlzoo.cards.package import Text
from tlzoo.cards.schema import Record, parse
from tlzoo.errors import UserError, redacted
from tlzoo.graphs.cache import default_dir
from tlzoo.machine.files import whole

logger = logging.getLogger(__name__)

FILE: Final = "INDEX.json"  # no checkpoint is called that: names have no capitals
LIMIT: Final = 10**8  # bytes; ten thousand cards of 10,000
WAIT: Final = 10.0  # seconds; what was there the last time is better than waiting


class Entry(Record, frozen=True, kw_only=True):
    """A checkpoint in the list.

    Attributes:
        at: Where its weights are: a file beside the index, an address, or ``hf:user/model@`` with a commit.
        card: Its card.
    """

    at: Text
    card: dict[str, Any]

    @classmethod
    def of(cls, at: str, card: Path) -> Self:
        """Return an entry with the card in a file.

        Raises:
            UserError: It is no card of a published checkpoint.
        """
        Card.read(card)
        return cls(at=at, card=json.loads(card.read_text(encoding="utf-8")))

    @property
    def name(self) -> str:
        """Name of the checkpoint."""
        return str(self.card.get("name"))

    @property
    def where(self) -> str:
        """Where its weights are, in full."""
        return f"{place()}/{self.at}" if FILE_NAME.fullmatch(self.at) else self.at

    def read(self) -> Card:
        """Check the card, and where the weights are said to be.

        Raises:
            UserError: Something is wrong with one of them.
        """
        card = Card.of(self.card, f"{self.name} in TLZOO_ZOO")
        self.source(card)
        return card

    def source(self, card: Card) -> fetch.Address | hub.Reference | Path:
        """Return where the weights are, by their hash.

        Raises:
            UserError: It is nothing that tlzoo fetches from.
        """
        pin = f"#sha256={card.sha256}"
        if self.at.startswith(hub.SCHEME):
            reference = hub.Reference.parse(f"{self.at}{pin}")
            if not reference.fixed:
                raise UserError(f"{self.name} in TLZOO_ZOO is at {self.at}, which names no commit")
            return reference
        if "://" in self.at:
            return fetch.Address.parse(f"{self.at}{pin}")
        if not FILE_NAME.fullmatch(self.at):
            raise UserError(
                f"{self.name} in TLZOO_ZOO is at {self.at!r}; wanted a .safetensors file beside the index, "
                f"an address or {hub.WANTED}"
            )
        return fetch.Address(self.where, card.sha256) if "://" in self.where else Path(self.where)

    def weights(self, card: Card) -> Path:
        """Return the weights, fetched if they are elsewhere.

        Raises:
            UserError: They are not there, or not those of the card.
        """
        source = self.source(card)
        if isinstance(source, hub.Reference):
            return hub.fetch_repository(source.text)
        if isinstance(source, fetch.Address):
            return fetch.fetch(source, card=json.dumps(self.card, ensure_ascii=False).encode())
        if not source.is_file():
            raise UserError(f"{source}, which {FILE} lists, is missing; call: tlzoo zoo index {place()}")
        return source


class Content(Record, frozen=True, kw_only=True):
    """What the file holds.

    Attributes:
        format: Version of the format.
        checkpoints: All that are listed.
    """

    format: Annotated[int, Meta(ge=1, le=1, description="1; update tlzoo to read a newer one")]
    checkpoints: list[Entry]


def place() -> str:
    """Return what ``TLZOO_ZOO`` names, an address or a folder; empty if it is not set.

    Raises:
        UserError: It is an address that tlzoo does not fetch from.
    """
    given = os.environ.get("TLZOO_ZOO", "").removesuffix(FILE).rstrip("/")
    if "://" not in given:
        return str(Path(given).expanduser()) if given else ""
    parts = urlsplit(given)
    if parts.scheme not in fetch.SCHEMES or not parts.hostname:
        raise UserError(f"TLZOO_ZOO is {redacted(given)}; wanted https://…, or a folder")
    return given


def folder() -> Path | None:
    """Return the folder that ``TLZOO_ZOO`` names, if it names one."""
    zoo = place()
    return Path(zoo) if zoo and "://" not in zoo else None


def listed() -> Mapping[str, Entry]:
    """Return the entries of the group's index by name; a server is asked once in a process.

    If it does not answer, what it said the last time counts.

    Raises:
        UserError: It is no index.
    """
    zoo = place()
    if not zoo:
        return {}
    if "://" in zoo:
        return _of_server(zoo, fetch.offline())
    if not Path(zoo).is_dir():
        _no_folder(zoo)
    file = Path(zoo) / FILE
    return _of_file(file, file.stat().st_mtime_ns) if file.is_file() else {}


@lru_cache(maxsize=8)
def _no_folder(zoo: str) -> None:
    """Say so, once."""
    logger.warning("TLZOO_ZOO names %s, which is no folder: no checkpoints are taken from there", zoo)


@lru_cache(maxsize=8)
def _of_file(file: Path, _changed: int) -> Mapping[str, Entry]:
    return entries(file.read_bytes(), file)


@lru_cache(maxsize=8)
def _of_server(zoo: str, offline: bool) -> Mapping[str, Entry]:
    url, shown = f"{zoo}/{FILE}", redacted(zoo)
    kept = default_dir() / "zoo" / hashlib.sha256(zoo.encode()).hexdigest()[:16] / FILE
    problem = "TLZOO_OFFLINE is set"
    if not offline:
        try:
            content = fetch.content(url, LIMIT, "index of a zoo", WAIT)
        except UserError as error:
            problem = str(error)
        else:
            found = entries(content, shown)
            fetch.place(kept.parent, lambda new: _keep(new / FILE, content))
            return found
    if kept.is_file():
        if not offline:
            logger.warning("%s; so TLZOO_ZOO is read as it was the last time", problem)
        return entries(kept.read_bytes(), kept)
    logger.warning("nothing is known of the checkpoints in TLZOO_ZOO, %s: %s", shown, problem)
    return {}


def _keep(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def entries(content: bytes, where: object) -> Mapping[str, Entry]:
    """Read an index.

    Raises:
        UserError: It is none, or an entry has no name.
    """
    try:
        found = parse(Content, json.loads(content))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is no index of a zoo ({FILE}): {error}") from error
    for entry in found.checkpoints:
        if not NAME.fullmatch(entry.name):
            raise UserError(f"{where} lists {entry.name[:60]!r}, which is no name of a checkpoint")
    return {entry.name: entry for entry in found.checkpoints}


def write(shelf: Path, added: Iterable[Entry] = ()) -> Path:
    """Write the index of a folder: the checkpoints in it, those added, and those elsewhere that it listed.

    Raises:
        UserError: A card in it, or the index that is there, is damaged.
    """
    file = shelf / FILE
    there = entries(file.read_bytes(), file) if file.is_file() else {}
    kept = {name: entry for name, entry in there.items() if not FILE_NAME.fullmatch(entry.at)}
    kept |= {entry.name: entry for entry in added}
    for path in shelf.glob("*.json"):
        if NAME.fullmatch(path.stem):
            kept[path.stem] = Entry.of(f"{path.stem}.safetensors", path)
    listing = [{"at": kept[name].at, "card": kept[name].card} for name in sorted(kept)]
    with whole(file) as partial:
        text = json.dumps({"format": 1, "checkpoints": listing}, ensure_ascii=False)
        partial.write_text(text, encoding="utf-8")
    return file
