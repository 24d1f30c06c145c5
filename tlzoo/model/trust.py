"""What is known of how far each prediction can be trusted: elements, distance, whether it was in training."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals, symbol
from tlzoo.model.domain import Domain

Columns = dict[str, NDArray[Any]]

# Columns of a table of answers, after the answers.
TRUST: Final = "trust"
UNSEEN: Final = "unseen_elements"
DISTANCE: Final = "distance"
# What the first of them says: the first that is true, but a crystal that was learned from is just that.
IN, ELEMENTS, FAR, LIKE, UNKNOWN = (
    "in training",
    "unknown elements",
    "far from training",
    "like training",
    "not known",
)
NAMED: Final = 3  # crystals that are named in a line


def columns(
    domain: Domain, elements: Collection[str] | None, crystals: Crystals, embedding: NDArray[Any]
) -> Columns:
    """Return what is known of the predictions for crystals: the word, elements, and distance, NaN if unknown.

    Args:
        domain: What the model has learned from.
        elements: Symbols of the elements it has learned from; None if nobody can tell.
        crystals: The crystals.
        embedding: How the model sees them, ``(crystals, dim)``.
    """
    unseen = unseen_elements(crystals, elements)
    known = domain.keys.holds(crystals) if domain.keys else np.zeros(len(crystals), dtype=bool)
    distance = np.full(len(crystals), np.nan, dtype=np.float32)
    if domain.measures:
        distance = np.round(domain.distances(embedding), 3).astype(np.float32)
    words = np.full(len(crystals), UNKNOWN, dtype=object)
    words[distance <= domain.limit] = LIKE
    words[distance > domain.limit] = FAR
    words[unseen != ""] = ELEMENTS
    words[known] = IN
    return {TRUST: words, UNSEEN: unseen, DISTANCE: distance}


def unseen_elements(crystals: Crystals, elements: Collection[str] | None) -> NDArray[np.object_]:
    """Name the elements of each crystal that are not among some, ``"He, Xe"``, ``(crystals,)``."""
    found = np.full(len(crystals), "", dtype=object)
    if elements is None:
        return found
    strange = np.array([symbol(z) not in elements for z in range(256)])
    atoms = np.flatnonzero(strange[crystals.numbers])
    for row in np.unique(np.searchsorted(crystals.offsets, atoms, side="right") - 1).tolist():
        numbers = np.unique(crystals.numbers[crystals.offsets[row] : crystals.offsets[row + 1]])
        found[row] = ", ".join(symbol(z) for z in numbers.tolist() if strange[z])
    return found


def beside(answers: Columns, known: Columns) -> Columns:
    """Return answers with what is known of them; a property of the same name keeps it."""
    renamed = {}
    for name, values in known.items():
        free = name
        while free in answers:
            free += "_"
        renamed[free] = values
    return {**answers, **renamed}


def said(model: str, domain: Domain, table: Mapping[str, NDArray[Any]]) -> str:
    """Say in a line which answers of a table to trust less; empty if there is nothing to say.

    Args:
        model: Its name.
        domain: What it has learned from.
        table: The ids first, and last what :func:`columns` says of them.
    """
    return "; ".join(_said(model, domain, table))


def _said(model: str, domain: Domain, table: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    ids, *_, words, unseen, _ = table.values()
    total = f"{len(ids):,} crystal{'s' if len(ids) != 1 else ''}"
    if len(strange := np.flatnonzero(words == ELEMENTS)):
        symbols = sorted({symbol for text in unseen[strange] for symbol in text.split(", ")})
        verb = "holds" if len(strange) == 1 else "hold"
        yield (
            f"{len(strange):,} of {total} {verb} elements that {model} has never seen "
            f"({', '.join(symbols)}): {_named(ids[strange])}"
        )
    if len(far := np.flatnonzero(words == FAR)):
        verb = "is" if len(far) == 1 else "are"
        yield (
            f"{len(far):,} of {total} {verb} farther from what {model} has learned from than 99 % of that "
            f"({domain.limit:.1f}): {_named(ids[far])}"
        )
    if not domain.measures:
        yield f"how far crystals are from what {model} has learned from is not known: {domain.reason}"
    elif domain.keys is None and domain.reason:
        yield f"whether {model} has learned from any of them is not known: {domain.reason}"


def _named(ids: NDArray[Any]) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(map(str, ids[:NAMED])) + more
