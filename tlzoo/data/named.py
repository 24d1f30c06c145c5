"""Named data sets: found on disk, or downloaded through matminer and converted once."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.data.cards import DATASETS, DatasetCard
from tlzoo.data.cards.convert import convert
from tlzoo.data.cards.retrieve import frame, matminer_home
from tlzoo.errors import UserError
from tlzoo.graphs.cache import default_dir as cache_dir

__all__ = ["DATASETS", "cache_dir", "find", "folders", "in_order", "known", "load"]

log = logging.getLogger(__name__)

# names in the paper's splits
ALIASES = {"mp_band_gap": "mp"}


def load(name: str) -> Crystals:
    """Return a named data set.

    Looked for as ``<name>.parquet`` in the folder ``TLZOO_DATA``, then in the user's cache. Else converted,
    once, from matminer's file in ``TLZOO_DATA/matminer``, ``MATMINER_DATA`` or the cache; else that is
    downloaded. The embedded example is always there; a data set with sources is put together once.

    Raises:
        UserError: The name is unknown, or the data set is nowhere to be had; the message says how to get it.
    """
    card = find(name)
    if card.sources:
        from tlzoo.data import pretraining

        return pretraining.load(folders())
    if not card.matminer:
        from tlzoo.data.example import semiconductors

        return semiconductors()
    for folder in folders():
        path = folder / f"{card.name}.parquet"
        if path.is_file():
            return in_order(Crystals.read_parquet(path))
    return _converted(card)


def known(name: str) -> bool:
    """Whether a data set of this name exists."""
    return ALIASES.get(name, name) in DATASETS


def in_order(crystals: Crystals) -> Crystals:
    """Return the crystals by row number where ids are row numbers: published folds count on that order."""
    ids = crystals.ids
    if not all(str(name).isdecimal() for name in ids):
        return crystals
    return crystals.select(np.argsort(ids.astype(np.int64), kind="stable"))


def _converted(card: DatasetCard) -> Crystals:
    *given, cache = folders()
    homes = [*(folder / "matminer" for folder in given), *matminer_home(), cache_dir() / "matminer"]
    crystals = convert(card, {name: frame(name, homes, wanted_for=card.name) for name in card.matminer})
    path = cache / f"{card.name}.parquet"
    try:
        crystals.write_parquet(
            path, source=f"matminer {', '.join(card.matminer)}", citation=card.citation, license=card.licence
        )
    except OSError as error:
        log.warning("%s cannot be written (%s): %s will be converted again next time", path, error, card.name)
    return crystals


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
