"""Answers as a table for people: properties with units, intervals, and what is known of each crystal."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.evaluation.results import aligned
from tlzoo.model import trust
from tlzoo.model.intervals import ENDS

Table = Mapping[str, NDArray[Any]]

# Crystals that are shown: with the lines above them they fit a screen.
ROWS: Final = 20
ID_WIDTH: Final = 40
DIGITS: Final = 4


def text(model: str, card: Mapping[str, Any], units: Mapping[str, str], table: Table) -> str:
    """Return the first answers as a table, as wide as the terminal.

    Args:
        model: Its name.
        card: That of the model.
        units: Unit of each property.
        table: Ids, answers, and what :func:`tlzoo.model.trust.columns` says of them, by column.
    """
    total, names = len(table["id"]), list(table)
    *_, word, unseen, distance = names
    some = {name: values[:ROWS] for name, values in table.items()}
    notes = list(map(_note, some[word], some[unseen], some[distance]))
    stated = [name for name in units if any(f"{name}_{end}" in table for end in ENDS)]
    held = {name: _held(card, name) for name in stated}
    columns = list(_columns(some, names[1 : -len((word, unseen, distance))], units))
    if total == 1:
        note = f", {notes[0]}" if notes[0] else ""
        lines = [f"{model}: {some['id'][0]}{note}", "", *_properties(card, units, held, columns)]
    else:
        lines = [f"{model}: {total:,} crystals", "", *_properties(card, units, held)]
        ids = ["", "id", *map(_short, some["id"])]
        columns += [["", "", *notes]] if any(notes) else []
        # notes and words are read from the left, numbers from the right
        lines += blocks(ids, columns, lambda column: "<" if column[:2] == ["", ""] else ">")
    lines += [f"… and {total - ROWS:,} more: -o FILE writes all"] if total > ROWS else []
    for line in classes(units, table):
        lines += ["", *_filled(line)]
    if stated:
        lines += [
            "",
            *_filled("± and […]: should contain 90 % of crystals like those they were measured on"),
        ]
    if stated and {trust.FAR, trust.ELEMENTS} & {*table[word]}:
        lines += _filled("Expect larger errors where a crystal is out of domain or has unknown elements")
    return "\n".join(lines)


def classes(units: Mapping[str, str], table: Table) -> Iterator[str]:
    """Say of which class a column has the probability."""
    for name in units:
        if (column := f"{name}_probability") in table:
            yield f"{column}: the probability that {name} is 1 (true, yes)"
        elif f"{name}_probability_0" in table:
            yield f"{name}_class: the most probable class; {name}_probability_N: the probability of class N"


def _properties(
    card: Mapping[str, Any],
    units: Mapping[str, str],
    held: Mapping[str, str],
    columns: Sequence[Sequence[str]] = (),
) -> list[str]:
    """Say what each property is: unit, by which method labels were had, how far off answers are.

    ``held`` is what intervals held; ``columns`` are the answers for the only crystal, if they belong here.
    """
    rows = [["property", "unit", "learned from", "mean test error", "intervals held"]]
    for name, unit in units.items():
        error = error_of(card, name)
        theory = (card.get("theory") or {}).get(name, "")
        rows.append([name, "" if unit == "1" else unit, theory, "" if error is None else f"{error:.3g}"])
        rows[-1].append(held.get(name, ""))
    if columns:
        about = {row[0]: row[2:] for row in rows}
        rows = [["property", "value", "unit", *about["property"]]]
        rows += [[name, value, unit, *about.get(name, ["", "", ""])] for name, unit, value in columns]
    kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
    names, *others = map(list, kept)
    return list(blocks(names, others, lambda column: ">" if column[0] == "value" else "<"))[1:]


def error_of(card: Mapping[str, Any], name: str) -> float | None:
    """Return the mean absolute error of a property on the test part, as far as a card says."""
    metrics = card.get("metrics") or {}
    found = metrics.get(name) or metrics.get("test") or {}
    return found.get("mae", found.get(f"mae_{name}"))


def _filled(text: str) -> list[str]:
    return wrap(text, max(20, shutil.get_terminal_size().columns))


def _held(card: Mapping[str, Any], name: str) -> str:
    """Say how many test crystals the interval of a property held, as far as a card says."""
    test = ((card.get("intervals") or {}).get(name) or {}).get("test")
    return f"{test['held']:,} of {test['crystals']:,}" if test else ""


def _columns(table: Table, names: Sequence[str], units: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield columns of text, each with its name and unit on top; an interval goes with what it is of."""
    ends = {f"{name}_{end}" for name in units for end in ENDS}
    for name in names:
        if name in ends:
            continue
        of = max((each for each in units if name == each or name.startswith(f"{each}_")), key=len, default="")
        unit = units.get(of, "") if not name.endswith(("_class", "_probability")) else ""
        values = table[name]
        low, high = (table.get(f"{name}_{end}") for end in ENDS)
        yield [name, "" if unit == "1" else unit, *_cells(values, low, high)]


def _cells(values: NDArray[Any], low: NDArray[Any] | None, high: NDArray[Any] | None) -> list[str]:
    """Return numbers with as many decimals as the largest needs, and their intervals."""
    if values.dtype.kind != "f":
        return list(map(str, values))
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 0.0
    decimals = int(np.clip(DIGITS - 1 - np.floor(np.log10(largest)), 0, 6)) if largest else DIGITS
    cells = [f"{value:.{decimals}f}" for value in values]
    if low is None or high is None:
        return cells
    if np.allclose(values - low, high - values, rtol=1e-3, atol=1e-3 * largest):
        return [
            f"{cell} ± {end - value:.{decimals}f}"
            for cell, value, end in zip(cells, values, high, strict=True)
        ]
    edges = [(f"{one:.{decimals}f}", f"{other:.{decimals}f}") for one, other in zip(low, high, strict=True)]
    left, right = (max(map(len, side)) for side in zip(*edges, strict=True))
    return [
        f"{cell} [{one:>{left}}, {other:>{right}}]" for cell, (one, other) in zip(cells, edges, strict=True)
    ]


def _note(word: str, unseen: str, distance: float) -> str:
    """Say what is known of a crystal, if it is out of the ordinary."""
    several = "s" if ", " in unseen else ""
    return {
        trust.IN: "known: in training",
        trust.ELEMENTS: f"unknown element{several}: {unseen}",
        trust.FAR: f"out of domain (distance {distance:.1f})",
    }.get(word, "")


def _short(name: object) -> str:
    text = str(name)
    return text if len(text) <= ID_WIDTH else f"{text[: ID_WIDTH - 1]}…"


def blocks(ids: list[str], columns: Sequence[list[str]], side: Callable[[list[str]], str]) -> Iterator[str]:
    """Yield the lines of the table; columns beyond the width of the terminal go below, with the ids again."""
    width, left = shutil.get_terminal_size().columns, list(columns)
    while left:
        taken = [left.pop(0)]
        room = width - max(map(len, ids))
        while left and sum(2 + max(map(len, column)) for column in [*taken, left[0]]) <= room:
            taken.append(left.pop(0))
        sides = "<" + "".join(map(side, taken))
        yield ""
        yield from (line.rstrip() for line in aligned(list(zip(ids, *taken, strict=True)), sides))
