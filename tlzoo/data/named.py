"""Named data sets: found on disk, or downloaded through matminer and converted once."""

from __future__ import annotations

import os
from pathlib import Path

from tlzoo.crystals import Crystals
from tlzoo.data.cards import DATASETS, DatasetCard
from tlzoo.errors import UserError

# names in the paper's splits
ALIASES = {"mp_band_gap": "mp"}


def load(name: str) -> Crystals:
    """Return a named data set.

    Looked for as ``<name>.parquet`` in the folder ``TLZOO_DATA``, then in the user's cache.

    Raises:
        UserError: The name is unknown, or the data set is nowhere to be had; the message says how to get it.
    """
    card = find(name)
    for folder in folders():
        path = folder / f"{card.name}.parquet"
        if path.is_file():
            return Crystals.read_parquet(path)
    raise UserError(
        f"data set {card.name!r} is in none of {', '.join(map(str, folders()))}: "
        f"put {card.name}.parquet there, or name its folder with the variable TLZOO_DATA"
    )


def find(name: str) -> DatasetCard:
    """Return the card of a data set.

    Raises:
        UserError: There is none of this name; the message lists those there are.
    """
    card = DATASETS.get(ALIASES.get(name, name))
    if card is None:
        raise UserError(f"there is no data set {name!r}; there are: {', '.join(DATASETS)}")
    return card


def folders() -> list[Path]:
    """Return where data sets are looked for, in order."""
    given = os.environ.get("TLZOO_DATA")
    return [*([Path(given).expanduser()] if given else []), cache_dir() / "datasets"]


def cache_dir() -> Path:
    """Return the user's cache: ``TLZOO_CACHE``, or ``tlzoo`` in the XDG cache folder."""
    given = os.environ.get("TLZOO_CACHE")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tlzoo"
