r"""Intervals around what a network predicts, as wide as its errors on crystals that it has not learned from.

Each of n such crystals has a score, and intervals reach as far as the :math:`\lceil (n + 1) p \rceil`-th
smallest: they hold the next crystal with probability p, however errors are distributed (split conformal
prediction: Papadopoulos et al., ECML 2002). The score depends on what the head says:

- ``absolute``: :math:`|y - \hat y|`, in the unit of the property;
- ``factor``: :math:`|\log_{10} y - \log_{10} \hat y|`, where the logarithm was learned;
- ``std``: :math:`|y - \hat y| / \sigma`, where it states a standard deviation;
- ``quantiles``: :math:`\max(q_5 - y, y - q_{95})`, where it states these (Romano et al., NeurIPS 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlzoo.cards.card import Interval, Kind
from tlzoo.cards.schema import parse
from tlzoo.errors import UserError
from tlzoo.heads import Classification
from tlzoo.heads.head import Head
from tlzoo.model.answer_record import LEVELS, SHOWN, quantiles

# Names of the ends of an interval that holds 90 %: as much lies below as above.
ENDS: Final = ("q5", "q95")

Intervals = Mapping[str, Interval]
Values = NDArray[np.float64]
# By property what is known of some crystals, and said: target, prediction, and std or q5 and q95.
Said = Mapping[str, Mapping[str, Values]]


def measured(head: Head, said: Said, left_out: str) -> dict[str, Interval]:
    """Return how wide intervals must be, for each property that is known of a crystal.

    Args:
        head: What predicts; of a classification there are none.
        said: Of crystals that it has not learned from, ``(crystals,)`` each; NaN where unknown.
        left_out: Which crystals these are, in words.
    """
    found = {}
    for name, kind in kinds(head, list(said)).items():
        known = scores(kind, said[name])
        known = known[np.isfinite(known)]
        if len(known):
            found[name] = Interval(kind=kind, widths=quantiles(known), crystals=len(known), left_out=left_out)
    return found


def kinds(head: Head, targets: Sequence[str]) -> dict[str, Kind]:
    """Return the kind of the score of each property."""
    if isinstance(head, Classification):
        return {}
    columns = head.columns(targets)
    found: dict[str, Kind] = {}
    for name, transform in zip(targets, head.scaler.transforms, strict=True):
        if all(f"{name}_{end}" in columns for end in ENDS):
            found[name] = "quantiles"
        elif f"{name}_std" in columns:
            found[name] = "std"
        else:
            found[name] = "factor" if transform == "log10" else "absolute"
    return found


def widened(
    intervals: Intervals, head: Head, targets: Sequence[str], answer: Tensor, level: str = SHOWN
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the ends of the intervals that hold 90 %, or another level, ``(crystals,)`` each, by property.

    ``answer`` is what the head says, ``(crystals, columns)``.
    """
    said = dict(zip(head.columns(targets), answer.unbind(dim=1), strict=True))
    found = {}
    for name, least in zip(targets, head.least, strict=True):
        if name not in intervals:
            continue
        low, high = _ends(intervals[name], level, name, said)
        # less than nature allows no crystal can have; and an interval holds what is predicted
        low = torch.maximum(low, least)
        found[name] = torch.minimum(low, said[name]), torch.maximum(high, said[name])
    return found


def held(intervals: Intervals, head: Head, said: Said) -> dict[str, tuple[int, int]]:
    """Return by property how many of how many known crystals the intervals hold; arguments of `measured`."""
    targets = list(said)
    columns = head.columns(targets)
    found = {}
    for name in intervals:
        if name not in said:
            continue
        each = {f"{name}_{key}": values for key, values in said[name].items()} | {
            name: said[name]["prediction"]
        }
        nothing = np.full_like(said[name]["target"], np.nan)
        answer = torch.from_numpy(np.stack([each.get(column, nothing) for column in columns], axis=1))
        low, high = (end.numpy() for end in widened(intervals, head, targets, answer)[name])
        truth = said[name]["target"]
        known = np.isfinite(truth)
        inside = (low <= truth) & (truth <= high) & known
        found[name] = int(inside.sum()), int(known.sum())
    return found


def read(card: Mapping[str, Any], head: Head, where: object) -> dict[str, Interval]:
    """Return the intervals that a card states of what a head predicts.

    Raises:
        UserError: It states something else.
    """
    try:
        stated = parse(dict[str, Any], card.get("intervals") or {})
        right = kinds(head, card["targets"]) if stated else {}
        return {name: _checked(name, one, right) for name, one in stated.items()}
    except UserError as error:
        raise UserError(f"the card of {where} is damaged: intervals: {error}; restore it") from error


def _checked(name: str, stated: object, right: Mapping[str, Kind]) -> Interval:
    try:
        found = parse(Interval, stated)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    if lacking := [level for level in LEVELS if level not in found.widths]:
        raise UserError(f"{name} lacks {lacking[0]}")
    if found.kind != right.get(name):
        wanted = right.get(name) or f"those of {', '.join(right) or 'nothing: these are classes'}"
        raise UserError(f"{name} is {found.kind}, wanted {wanted}")
    return found


def scores(kind: Kind, said: Mapping[str, Values]) -> Values:
    """Return the score of each crystal, ``(crystals,)``; NaN where the target is unknown."""
    truth, value = said["target"], said["prediction"]
    if kind == "quantiles":
        found: Values = np.maximum(said["q5"] - truth, truth - said["q95"])
    elif kind == "factor":
        found = np.abs(np.log10(truth) - np.log10(value))
    else:
        found = np.abs(truth - value) / (said["std"] if kind == "std" else 1.0)
    return found


def _ends(interval: Interval, level: str, name: str, said: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    width, value = interval.widths[level], said[name]
    if interval.kind == "quantiles":
        return said[f"{name}_q5"] - width, said[f"{name}_q95"] + width
    if interval.kind == "factor":
        return value * 10**-width, value * 10**width
    half = width * said[f"{name}_std"] if interval.kind == "std" else torch.full_like(value, width)
    return value - half, value + half
