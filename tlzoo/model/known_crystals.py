"""Which crystals a model knows from its training, or from that of a model that it started from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.cards.library import beside
from tlzoo.crystals import Crystals
from tlzoo.data.learned_from import run_of
from tlzoo.data.overlap import common
from tlzoo.data.pretraining import keeps_out
from tlzoo.data.pretraining.merged import NAME as PRETRAINING
from tlzoo.errors import UserError, first_line
from tlzoo.model.seen import Seen, seen_in_training

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of that.

    Attributes:
        mask: Which crystals were in the training, ``(crystals,)``; None if nobody can tell.
        reason: Why not.
    """

    mask: NDArray[np.bool_] | None
    reason: str = ""


def known_crystals(names: Iterable[str], crystals: Crystals, rows: Rows, source: str = "") -> Known:
    """Return which of some crystals one of several models was trained with, by structure.

    Args:
        names: Models, as :func:`tlzoo.load` takes them.
        crystals: A table, for models that were trained on the same one.
        rows: Those in question, ``(rows,)``.
        source: The data set that these are of.
    """
    mask = np.zeros(len(rows), dtype=bool)
    for name in dict.fromkeys(names):
        found = _of(name, crystals, rows, source)
        if found.mask is None:
            return found
        mask |= found.mask
    return Known(mask)


def _of(name: str, crystals: Crystals, rows: Rows, source: str, sha256: object = None) -> Known:
    """Return the same of one model, which has weights of that hash, if one is given."""
    try:
        weights = beside(name)
        card: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    except (UserError, OSError, ValueError) as error:
        return Known(None, f"{name} cannot be looked at: {first_line(error)}")
    if sha256 not in {None, card.get("sha256"), card.get("rounded_from")}:
        return Known(None, f"{name} is not the model any more that training started from")
    try:
        own = _own(card, weights, crystals, rows, source)
    except (UserError, OSError, ValueError, LookupError, TypeError) as error:
        return Known(None, f"{name} cannot be looked at: {first_line(error)}")
    if own.mask is None:
        return Known(None, f"{name}: {own.note}")
    mask = own.mask
    for origin in card.get("started_from", ()):
        if origin.get("within"):
            continue
        before = _of(str(origin["name"]), crystals, rows, source, origin["sha256"])
        if before.mask is None:
            return Known(None, f"{name} started from {origin['name']}; {before.reason}")
        mask |= before.mask
    return Known(mask)


def _own(card: Mapping[str, Any], weights: Path, crystals: Crystals, rows: Rows, source: str) -> Seen:
    """Return what a model has learned itself, not what it started from."""
    training = card.get("training") or {}
    kept_out = training.get("excluded") and PRETRAINING in (training.get("source"), training.get("base"))
    if kept_out and keeps_out(source):
        return Seen(np.zeros(len(rows), dtype=bool), "all of it was kept out")
    run = run_of(weights)
    if run is not None and card.get("data_sha256") == crystals.content_hash:
        # the same table, which need not be read again
        parts = json.loads((run / "split.json").read_text(encoding="utf-8"))
        learned = crystals.select(np.flatnonzero(np.isin(crystals.ids, [*parts["train"], *parts["val"]])))
        return Seen(common(crystals.select(rows), learned)[0], "by structure")
    return seen_in_training(card, crystals.select(rows), weights)
