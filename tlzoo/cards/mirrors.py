"""Weights that do not come with the package, those of large networks: from the first place that has them.

A place is a folder or an address with the files of checkpoints. What came once stays in the cache.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tlzoo.cards import fetch
from tlzoo.cards.card import Card
from tlzoo.errors import UserError, redacted

VARIABLE: Final = "TLZOO_CHECKPOINTS_URL"
HOW: Final = (
    "PLACE is the folder checkpoints of a clone of tlzoo, or an address that serves its files; "
    f"{VARIABLE} names several for good, A,B,…"
)


def places() -> list[str]:
    """Return the folders and addresses that ``TLZOO_CHECKPOINTS_URL`` names, in order."""
    return [place.strip() for place in os.environ.get(VARIABLE, "").split(",") if place.strip()]


def offers(card: Card) -> list[str]:
    """Return where ``TLZOO_CHECKPOINTS_URL`` may have them: folders are looked into, servers not asked."""
    file = f"{card.name}{fetch.SUFFIX}"
    found = []
    for place in places():
        if (folder := _folder(place)) is None:
            found += [] if fetch.offline() else [redacted(f"{place.rstrip('/')}/{file}")]
        elif (folder / file).is_file():
            found.append(str(folder / file))
    return found


def command(card: Card) -> str:
    """Return the command that brings the weights."""
    return f"tlzoo zoo pull {card.name} --from PLACE"


def lacking(card: Card) -> str:
    """Say what keeps a checkpoint from being used whose weights are nowhere."""
    return f"needs its weights ({card.bytes / 1e6:.1f} MB): {command(card)}"


def kept(card: Card, text: bytes, named: Sequence[str] = ()) -> Path | None:
    """Return the weights from the cache, None if they were not pulled; arguments are those of :func:`pulled`.

    What was pulled before the card was amended is taken where no place has it with this one. Where a place is
    named, what the card names beside the weights is to be there, too.
    """
    new = (named or places()) and not fetch.offline()
    return fetch.kept(card.name, card.sha256, text if new else None, whole=bool(named and new))


def pulled(card: Card, text: bytes, named: Sequence[str] = ()) -> Path:
    """Return the weights from the cache, else from the first place that has them.

    Args:
        card: Of the checkpoint.
        text: The content of the card's file.
        named: Folders and addresses; by default those of ``TLZOO_CHECKPOINTS_URL``.

    Raises:
        UserError: No place is known, none has them, or the cache cannot be written; the message says what to
            do.
    """
    if there := kept(card, text, named):
        return there
    problems = []
    for place in named or places():
        try:
            return _from(place, card, text, whole=bool(named))
        except fetch.CacheError:
            raise
        except UserError as error:
            problems.append(str(error))
    where = f"the weights of {card.name} ({card.bytes / 1e6:.1f} MB)"
    if problems:
        raise UserError(f"{where} could not be fetched: {'; '.join(problems)}. Name another place: {HOW}")
    raise UserError(
        f"{where} do not come with the package, which has those of small networks alone. Fetch them once: "
        f"`{command(card)}`. {HOW}"
    )


def _from(place: str, card: Card, text: bytes, *, whole: bool) -> Path:
    """Return the weights that one place has."""
    file = f"{card.name}{fetch.SUFFIX}"
    if folder := _folder(place):
        return fetch.copied(folder / file, card.sha256, text)
    address = fetch.Address.parse(f"{place.rstrip('/')}/{file}#sha256={card.sha256}")
    return fetch.fetch(address, card=text, whole=whole)


def _folder(place: str) -> Path | None:
    """Return the folder that a place is, None for a server."""
    if place.startswith("file://"):
        return Path(url2pathname(urlsplit(place).path))
    return None if "://" in place else Path(place).expanduser()
