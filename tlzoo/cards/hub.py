"""Models in repositories of the Hugging Face Hub: ``hf:user/model@revision``.

A revision is a commit, which names one content for ever, or a branch or tag, which is asked for each time.
Only the weights, their card and what the card names are fetched; whatever else a repository holds (code,
pickled files) is left there.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

import msgspec

from tlzoo.cards import credentials, fetch
from tlzoo.cards.beside import FILE_NAME, Sha256
from tlzoo.cards.card import NAME
from tlzoo.errors import UserError

logger = logging.getLogger(__name__)

SCHEME: Final = "hf:"
WANTED: Final = f"{SCHEME}user/model@revision"
PART: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
REFERENCE: Final = re.compile(
    rf"(?P<user>{PART})/(?P<model>{PART})(?:@(?P<revision>{PART}(?:/{PART})*))?(?:#(?P<pin>.*))?"
)
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
TRUE: Final = {"1", "ON", "YES", "TRUE"}  # as the Hub's own client reads its variables
Kind = TypeVar("Kind")
LISTING: Final = 10_000_000  # bytes of what the Hub says of a repository; 100,000 names of files


class File(msgspec.Struct):
    """A file in a repository, as the Hub lists it."""

    rfilename: str


class Listing(msgspec.Struct):
    """What the Hub says of a repository at a revision: its commit and its files."""

    sha: Annotated[str, msgspec.Meta(pattern=rf"\A{COMMIT.pattern}\Z")]
    siblings: list[File]


class Facts(msgspec.Struct):
    """What is read of a card before its weights are there."""

    sha256: Sha256
    name: str = ""


class Reference(NamedTuple):
    """A model on the Hub.

    Attributes:
        repository: User or organisation, and name: ``user/model``.
        revision: Commit, branch or tag; empty if none is named.
        sha256: Of the weights; empty if it is not pinned.
    """

    repository: str
    revision: str
    sha256: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``hf:user/model@revision`` or ``hf:user/model@revision#sha256=…``.

        Raises:
            UserError: It is none of these.
        """
        match = REFERENCE.fullmatch(text.removeprefix(SCHEME))
        if match is None or ".." in text:
            raise UserError(f"{text} is no model on the Hugging Face Hub; wanted {WANTED}")
        pin = fetch.PIN.fullmatch(match["pin"]) if match["pin"] is not None else None
        if match["pin"] is not None and pin is None:
            raise UserError(f"{text} pins no hash; wanted #sha256= and 64 digits behind the revision")
        sha256 = pin["hash"].lower() if pin else ""
        return cls(f"{match['user']}/{match['model']}", match["revision"] or "", sha256)

    @property
    def text(self) -> str:
        """The reference as it is written."""
        pin = f"#sha256={self.sha256}" if self.sha256 else ""
        return f"{SCHEME}{self.repository}{'@' if self.revision else ''}{self.revision}{pin}"

    @property
    def fixed(self) -> bool:
        """Whether the revision is a commit."""
        return COMMIT.fullmatch(self.revision) is not None

    def pinned(self, weights: Path) -> str:
        """Return the reference to weights in the cache by their commit and hash."""
        return self._replace(revision=weights.parent.name, sha256=_sha256(weights)).text


def fetch_repository(text: str) -> Path:
    """Return the weights of a model on the Hub, from the cache or the Hub; their card is beside them.

    Raises:
        UserError: It is no such model, no revision is named, there is no network, the Hub refuses, or what
            comes is no model of tlzoo or not the one that is pinned.
    """
    asked = Reference.parse(text)
    home = fetch.cache() / "hf" / asked.repository
    if asked.fixed and (kept := _kept(home / asked.revision, asked)):
        return kept
    found = _listing(asked)
    commit = asked._replace(revision=found.sha)
    if not asked.revision:
        raise UserError(
            f"{text} names no revision, and what it means would change with the repository; its newest is "
            f"{commit.text}"
        )
    folder = home / commit.revision
    if kept := _kept(folder, asked):
        return kept
    stem = _stem(text, {one.rfilename for one in found.siblings})
    where = f"{credentials.hub()}/{asked.repository}/resolve/{commit.revision}/{stem}"
    if not asked.fixed:
        logger.info("%s is %s", text, commit.text)
    fetch.place(folder, lambda new: _receive(asked, where, new, stem))
    if kept := _kept(folder, asked):
        return kept
    raise UserError(f"{folder} changed while it was written; run again")


def _receive(asked: Reference, where: str, new: Path, stem: str) -> None:
    """Fetch card and weights into a folder; they get the name that the card says."""
    content = fetch.content(f"{where}.json", fetch.CARD_LIMIT)
    facts = _read(content, Facts, f"{where}.json", "card of a model")
    _check(asked, facts.sha256)
    own = NAME.fullmatch(facts.name) and len(facts.name) <= fetch.NAME_LIMIT
    address = fetch.Address(f"{where}{fetch.SUFFIX}", facts.sha256)
    fetch.receive(address, new / f"{facts.name if own else stem}{fetch.SUFFIX}", content)


def _check(asked: Reference, sha256: str) -> None:
    """Refuse weights with another hash than the one that is pinned."""
    if asked.sha256 not in {"", sha256}:
        raise UserError(
            f"{asked.text} is not what it pins: the SHA-256 of its weights is {sha256[:12]}…, wanted "
            f"{asked.sha256[:12]}…; ask the publisher"
        )


def _listing(asked: Reference) -> Listing:
    """Return what the Hub says of a revision."""
    how = f"{WANTED} with a commit that is in the cache, or the path of the files"
    if fetch.offline() or os.environ.get("HF_HUB_OFFLINE", "").upper() in TRUE:
        name = "TLZOO_OFFLINE" if fetch.offline() else "HF_HUB_OFFLINE"
        raise UserError(
            f"{asked.text} must be asked of the Hub, and {name} forbids it; unset it or give {how}"
        )
    url = f"{credentials.hub()}/api/models/{asked.repository}"
    url += f"/revision/{quote(asked.revision, safe='')}" if asked.revision else ""
    try:
        content = fetch.content(url, LISTING, "list of files")
    except UserError as error:
        if "the server says" not in str(error):
            raise
        mine = "one that your token may not read" if credentials.token() else "a private one without HF_TOKEN"
        raise UserError(
            f"{asked.text} is not to be had: {error}. It may be misspelled, or {mine}; else give {how}"
        ) from error
    found = _read(content, Listing, url, "list of files")
    if asked.fixed and found.sha != asked.revision:
        raise UserError(f"{url} is no list of the files of {asked.text}, but of {found.sha}")
    return found


def _stem(text: str, there: Collection[str]) -> str:
    """Return the name, without its ending, of the file of weights that has a card beside it."""
    weights = {name.removesuffix(fetch.SUFFIX) for name in there if FILE_NAME.fullmatch(name)}
    found = [stem for stem in weights if f"{stem}.json" in there]
    if len(found) == 1:
        return found[0]
    raise UserError(
        f"{text} is no model of tlzoo: wanted one .safetensors file with its card, a .json file of the same "
        f"name, got {', '.join(sorted(there)[:9]) or 'nothing'}"
    )


def _read(content: bytes, kind: type[Kind], url: str, noun: str) -> Kind:
    """Return what a server sent, of which tlzoo reads some fields."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UserError(f"{url} is no {noun}: {error}") from error


def _kept(folder: Path, asked: Reference) -> Path | None:
    """Return the weights in a folder of the cache if they are those of their card.

    Raises:
        UserError: They are, and they are not those that are pinned.
    """
    for weights in folder.glob(f"*{fetch.SUFFIX}"):
        try:
            stated = json.loads(weights.with_suffix(".json").read_bytes())["sha256"]
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if stated != _sha256(weights):
            continue
        _check(asked, stated)
        return weights
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
