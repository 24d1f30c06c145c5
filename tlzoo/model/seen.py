"""Which crystals a model has learned from: by the keys that come with it, or by the data of its training.

A checkpoint has keys (:mod:`tlzoo.data.structure_keys`), which need no data; one of an older version has not,
and a run directory knows its crystals by their ids: these are compared one by one where the data are there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.cards.library import find, names
from tlzoo.crystals import Crystals
from tlzoo.data.learned_from import run_of, training_crystals
from tlzoo.data.overlap import common
from tlzoo.errors import UserError, first_line
from tlzoo.model.domain import read


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of that.

    Attributes:
        mask: Which crystals were in the training, ``(crystals,)``; None if nobody can tell.
        note: How that is known, or why it is not.
    """

    mask: NDArray[np.bool_] | None
    note: str


def seen_in_training(
    card: Mapping[str, Any],
    crystals: Crystals,
    weights: Path | None = None,
    parts: Sequence[str] = ("train",),
) -> Seen:
    """Return which crystals have the structure of one that a model has learned from.

    Args:
        card: Of the model.
        crystals: In question.
        weights: Its weights; by default those of the checkpoint that the card names.
        parts: Of the data, where these are looked at; keys are those of the training part alone.

    Raises:
        UserError: A file beside the weights is not the one that the card pins.
    """
    if weights is None and card.get("name") in names():
        found = find(card["name"])
        weights = found.path if found.card.sha256 == card.get("sha256") else None
    by_data = None
    if weights is None or run_of(weights) is not None:
        by_data = _by_data(card, crystals, weights, parts)
        if by_data.mask is not None:
            return by_data
    keys = read(weights, card).keys if weights else None
    if keys is not None:
        return Seen(keys.holds(crystals), "by the keys of its training crystals")
    return by_data or _by_data(card, crystals, weights, parts)


def _by_data(card: Mapping[str, Any], crystals: Crystals, weights: Path | None, parts: Sequence[str]) -> Seen:
    try:
        found, compared = common(crystals, training_crystals(weights, card, parts))
    except (UserError, OSError, ValueError, LookupError, TypeError) as error:
        return Seen(None, first_line(error))
    return Seen(found, "by structure" if compared else "by composition and volume: too many to compare all")
