"""Whether crystals consist of elements that the networks know."""

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS, Crystals, symbol
from tlzoo.errors import UserError
from tlzoo.nn.elements import covered


def uncovered_rows(crystals: Crystals) -> NDArray[np.int64]:
    """Return the rows of crystals with an element that has no features, ascending."""
    strange = np.flatnonzero(~np.isin(crystals.numbers, covered()))
    return np.unique(np.searchsorted(crystals.offsets, strange, side="right") - 1)


def uncovered_text(crystals: Crystals, row: int) -> str:
    """Say which elements of a crystal have no features."""
    numbers = crystals.numbers[crystals.offsets[row] : crystals.offsets[row + 1]]
    names = ", ".join(map(symbol, sorted(set(numbers.tolist()) - set(covered()))))
    last = SYMBOLS[max(covered())]
    return f"the model has no features for {names or 'its elements'}; it covers H to {last}"


def check_elements(crystals: Crystals) -> None:
    """Refuse crystals with elements that have no features.

    Raises:
        UserError: Names the crystals (the first ten) and their elements.
    """
    rows = uncovered_rows(crystals)
    if len(rows):
        lines = [f"{crystals.origin(row)}: {uncovered_text(crystals, row)}" for row in rows[:10]]
        lines += [f"and {len(rows) - 10} more"] if len(rows) > 10 else []
        raise UserError("\n  ".join(["some crystals have unknown elements; leave them out:", *lines]))


def symbols(crystals: Crystals) -> list[str]:
    """Return the elements that occur, in order of Z."""
    return [SYMBOLS[z] for z in np.unique(crystals.numbers)]
