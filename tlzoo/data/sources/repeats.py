"""Ids that occur in several rows: what to do about them, or that it was done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.duplicates import exact_copies
from tlzoo.data.sources.labels import is_unknown
from tlzoo.data.sources.problems import Place, Problem, option

# What becomes of rows with one id: one crystal with the mean of their numbers, if their structure is the
# same; or all but the first get a number behind their id.
SameId: TypeAlias = Literal["average", "rename"]

Flags = NDArray[np.bool_]


def one_id_each(
    crystals: Crystals,
    keep: Flags,
    same_id: SameId | None,
    *,
    places: Sequence[Place],
    labels: Sequence[Place],
) -> tuple[Crystals, Flags, list[Problem]]:
    """Average or rename crystals whose id is taken; else each is an error that says how to go on.

    Args:
        crystals: The crystals; columns of numbers are float64.
        keep: Rows without an error of their own, ``(crystals,)``.
        same_id: What to do.
        places: Where the structures are, ``(crystals,)``.
        labels: Where the columns are, ``(crystals,)``.

    Returns:
        The crystals, as many; the rows to keep, ``(crystals,)``; and errors, or a note of what was done.
    """
    several = _several(crystals.ids)
    if not several:
        return crystals, keep, []
    keep, ids = keep.copy(), crystals.ids.copy()
    columns = {name: values.copy() for name, values in crystals.columns.items()}
    problems, done, taken = [], [], set(ids)
    for name, rows in several.items():
        same = not exact_copies(crystals.select(rows)).any()
        if same_id == "rename":
            free = (new for i in count(2) if (new := f"{name}-{i}") not in taken)
            ids[rows[1:]] = [next(free) for _ in rows[1:]]
            done.append(name)
        elif same_id == "average" and same:
            _average(columns, [row for row in rows if keep[row]], keep)
            done.append(name)
        else:
            keep[rows[1:]] = False
            for row in rows[1:]:
                text = _taken(crystals, labels[rows[0]], labels[row], [rows[0], row], same=same)
                problems.append(Problem(places[row], "duplicate id", text))
    if done:
        what = "numbered" if same_id == "rename" else "one crystal each, with the mean of their numbers"
        names = ", ".join(map(str, done[:5])) + (" …" if len(done) > 5 else "")
        text = f"the rows with the same id are now {what}, for {len(done)} id(s): {names}"
        problems.append(Problem(Place(labels[0].file), "duplicate id", text, "note"))
    return replace(crystals, ids=ids, columns=columns), keep, problems


def _several(ids: Sequence[str] | NDArray[np.object_]) -> dict[str, list[int]]:
    """Return the rows of each id that has more than one."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(ids):
        rows.setdefault(name, []).append(row)
    return {name: found for name, found in rows.items() if len(found) > 1}


def _average(columns: Mapping[str, NDArray[Any]], rows: Sequence[int], keep: Flags) -> None:
    """Put the mean of the known numbers, or the first known text, into the first row; drop the others."""
    for values in columns.values():
        known = [value for value in values[rows] if not is_unknown(value)]
        if known:
            values[rows[0]] = known[0] if values.dtype == object else np.mean(known)
    keep[rows[1:]] = False


def _taken(crystals: Crystals, first: Place, place: Place, rows: Sequence[int], *, same: bool) -> str:
    """Say which rows have an id, and how to go on."""
    text = f"the id {crystals.ids[rows[0]]!r} is taken by {first} and comes again in {place}"
    if not same:
        how = "rename"
        text += "; the structures differ: give each an id of its own, or have the others numbered"
    else:
        how = "average"
        numbers = {name: v[rows].tolist() for name, v in crystals.columns.items() if v.dtype != object}
        unlike = [
            f"{name} {one:.6g} and {two:.6g}"
            for name, (one, two) in numbers.items()
            if one != two and not math.isnan(one + two)
        ]
        said = f" with {', '.join(unlike)}" if unlike else ""
        text += f"; the structure is the same{said}: remove one, or have the mean taken"
    return f"{text} {option('same_id', how)}"
