"""Labels as numbers: what a cell of a table says, what it leaves open, and what cannot be learned."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.sources.problems import Place, Problem

# Cells that say that a value is unknown, as people, pandas and spreadsheets write them; in any case.
UNKNOWN = frozenset({"", "nan", "-nan", "na", "n/a", "<na>", "#na", "#n/a", "null", "none"})
# The same where numbers are wanted; elsewhere "-" may be the opposite of "+".
NO_NUMBER = UNKNOWN | {"-", "--", "–", "—", "?"}

# Digits of other scripts, 1_000 and 0x10 are Python's; no table means them.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)

SEVERAL = "give one number, or a column for each"

# What to do about a cell that is no number, by what it looks like.
HINTS = (
    (r"[+-]?[\d.]*\d(,\d+)+(\.\d*)?", "use a decimal point, and nothing between thousands"),
    (r"[+-]?\d+(_\d+)+.*", "write it without '_'"),
    (r"[<>≤≥≲≳~≈].*\d.*", "a bound is no value"),
    (r".*\d\(\d+\)|.*\d *(±|\+/-|\+-) *\d.*", "give the value alone, its uncertainty in another column"),
    (r"[+-]?\d+(\.\d*)?( *%| +[^\W\d]\S*)", "give the number alone, without its unit"),
    (r"[\[({]?-?\d+(\.\d*)?([ ,;]+-?\d+(\.\d*)?)+[\])}]?", SEVERAL),
)

# Words for two classes: that of 0, then that of 1.
CLASSES = (("false", "true"), ("no", "yes"), ("f", "t"))

FLAG = (bool, np.bool_)

# Names of classes are not longer than these characters; sentences are.
CLASS_NAME = 30

# What float32, in which networks compute, can hold with all its digits.
SINGLE = np.finfo(np.float32)


def as_numbers(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return values as numbers, NaN where unknown, and the rows that are neither number nor unknown.

    >>> as_numbers(np.array(["1.5", "", None, "1,5", "1_000", "inf"], dtype=object))
    (array([1.5, nan, nan, nan, nan, nan]), array([3, 4, 5]))
    """
    if values.dtype != object:
        return values.astype(np.float64), np.flatnonzero(np.isinf(values.astype(np.float64)))
    numbers = np.full(len(values), np.nan)
    wrong = []
    # beside numbers, True is not 1
    flags = all(isinstance(value, FLAG) or is_unknown(value) for value in values)
    for row, value in enumerate(values):
        if is_unknown(value, NO_NUMBER):
            continue
        number = _number(value) if flags or not isinstance(value, FLAG) else None
        if number is None:
            wrong.append(row)
        else:
            numbers[row] = number
    return numbers, np.array(wrong, dtype=np.int64)


def _number(value: Any) -> float | None:  # noqa: ANN401 (whatever a cell holds)
    """Return a finite number; None if the value is none for certain."""
    if isinstance(value, str):
        value = value.strip().replace("\N{MINUS SIGN}", "-")
        if not NUMBER.fullmatch(value):
            return None
    elif isinstance(value, np.datetime64 | np.timedelta64):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def no_numbers(
    places: Sequence[Place], column: str, values: NDArray[Any], wrong: Sequence[int]
) -> list[Problem]:
    """Return a problem for each cell that is no number, or one for all if they are words that come again."""
    words = Counter(_shown(values[row]) for row in wrong)
    classes = len(words) < len(wrong) and all(len(word) <= CLASS_NAME for word in words)
    if classes and len(wrong) > 0.5 * sum(not is_unknown(value) for value in values):
        found = ", ".join(f"{word!r} ({times})" for word, times in words.most_common(10))
        said = (
            f"column {column!r} holds words where numbers are wanted: {found}"
            f"{' …' if len(words) > 10 else ''}; write classes as 0, 1, 2 …, or two as True and False, or as "
            "yes and no"
        )
        return [Problem(Place(places[wrong[0]].file), "not a number", said)]
    return [_no_number(places[row], column, values[row]) for row in wrong]


def as_text(file: Place, column: str, values: NDArray[Any]) -> list[Problem]:
    """Return a warning of a text column that would be numbers if they were written otherwise.

    Of several numbers in a cell, such as the tensors that ASE writes, a note.
    """
    known = [value for value in values if not is_unknown(value, NO_NUMBER)]
    meant = [value for value in known if _number(value) is None and _hint(value)]
    if len(meant) <= 0.5 * len(known):
        return []
    hint = _hint(meant[0])
    said = f"column {column!r} is read as text: {_shown(meant[0])!r} is no number; {hint}"
    severity: Literal["warning", "note"] = "note" if hint == SEVERAL else "warning"
    return [Problem(file, "numbers as text", said, severity)]


def _hint(value: object) -> str:
    return next((hint for look, hint in HINTS if re.fullmatch(look, str(value).strip())), "")


def _no_number(place: Place, column: str, value: object) -> Problem:
    hint = _hint(value) or "correct it"
    said = (
        f"column {column!r} holds {_shown(value)!r}, which is no finite number; {hint}, or leave it empty if "
        "unknown"
    )
    return Problem(place, "not a number", said)


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "…"


def is_unknown(value: object, words: Collection[str] = UNKNOWN) -> bool:
    """Whether a cell says that its value is unknown."""
    if isinstance(value, str):
        return value.strip().lower() in words
    return value is None or (isinstance(value, float | np.floating | Decimal) and math.isnan(value))


def with_classes(
    crystals: Crystals, targets: Sequence[str] | None, file: Place
) -> tuple[Crystals, list[Problem]]:
    """Read targets of true and false, yes and no, or t and f, in any case, as 1 and 0; a note says so.

    All known labels of a target must be of one such pair. Without ``targets``, any column that holds both
    words of one is read.
    """
    columns, said = dict(crystals.columns), []
    for name, values in crystals.columns.items():
        if values.dtype != object or (targets is not None and name not in targets):
            continue
        words = {str(value).strip() for value in values if not is_unknown(value)}
        lower = {word.lower() for word in words}
        pair = next((pair for pair in CLASSES if lower and lower <= set(pair)), None)
        if pair is None or (targets is None and len(lower) < 2):
            continue
        numbers = [
            math.nan if is_unknown(value) else float(pair.index(str(value).strip().lower()))
            for value in values
        ]
        columns[name] = np.array(numbers, dtype=np.float64)
        read = ", ".join(f"{word} is {pair.index(word.lower())}" for word in sorted(words))
        said.append(f"column {name!r} is read as two classes: {read}")
    if not said:
        return crystals, []
    return replace(crystals, columns=columns), [Problem(file, "classes", "; ".join(said), "note")]


def are_classes(labels: NDArray[np.floating[Any]]) -> bool:
    """Whether known labels are 0 and 1 alone, and both occur."""
    return set(np.unique(labels[~np.isnan(labels)]).tolist()) == {0.0, 1.0}


def unlearnable(crystals: Crystals, name: str) -> list[Problem]:
    """Return what of a column cannot be a label: numbers that float32 does not hold.

    Raises:
        UserError: There is no such column.
    """
    size = np.abs(crystals.column(name))
    rows = np.flatnonzero((size > SINGLE.max) | ((size > 0) & (size < SINGLE.tiny))).tolist()
    text = (
        "{} is {:.6g}, and single precision, in which networks compute, holds 1.2e-38 to 3.4e38: correct it, "
        "or give the column in another unit"
    )
    return [
        Problem(Place(crystals.origin(row)), "out of range", text.format(name, crystals.columns[name][row]))
        for row in rows
    ]
