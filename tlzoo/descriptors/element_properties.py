"""Fifty-eight properties of each element, and what stands in for those that nobody has measured.

The facts are in ``elements.csv`` (H to Lr; an unknown value is empty), where they come from in
``properties.csv``. A value that is unknown is replaced, openly: by the median of the known values in the same
column of the periodic table (lanthanides and actinides are columns of their own), or of all elements if
the column has none. :func:`imputed` names every one. An element of which fewer than half of the properties
are known is not covered: descriptors of it would describe its neighbours.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS

PROPERTIES: Final = Path(__file__).with_name("properties.csv")
TABLE: Final = Path(__file__).with_name("elements.csv")

LEAST: Final = 0.5  # part of the properties that must be known

Values = NDArray[np.float64]


class Elements(NamedTuple):
    """The table, ready to compute with.

    Attributes:
        names: The properties, ``(properties,)``.
        values: Of each element, unknown ones replaced, ``(elements + 1, properties)``; row Z is that of
            atomic number Z, row 0 is zero.
        known: Which of them are facts, of the same shape.
    """

    names: tuple[str, ...]
    values: Values
    known: NDArray[np.bool_]

    def column(self, name: str) -> Values:
        """Return a property of each element, ``(elements + 1,)``."""
        return self.values[:, self.names.index(name)]


@cache
def elements() -> Elements:
    """Read the table and replace what is unknown."""
    rows = read(TABLE)
    names = tuple(row["name"] for row in read(PROPERTIES))
    found = np.array([[float(row[name] or "nan") for name in names] for row in rows])
    known = ~np.isnan(found)
    columns = np.array([row["column"] for row in rows])
    medians = np.nanmedian(found, axis=0)
    values = np.where(known, found, medians)
    for column in np.unique(columns):
        of_column = columns == column
        for i in np.flatnonzero(~known[of_column].all(axis=0) & known[of_column].any(axis=0)):
            gaps = of_column & ~known[:, i]
            values[gaps, i] = np.nanmedian(found[of_column, i])
    nothing = np.zeros((1, len(names)))
    return Elements(names, np.concatenate([nothing, values]), np.concatenate([nothing.astype(bool), known]))


def covered() -> NDArray[np.bool_]:
    """Return whether there are descriptors of each element, ``(elements + 1,)``; row Z is that of Z."""
    good: NDArray[np.bool_] = elements().known.mean(axis=1) >= LEAST
    return good


def imputed() -> Mapping[str, list[str]]:
    """Return the properties of each covered element that are not known but replaced, by symbol.

    >>> imputed()["O"], imputed()["Fe"]
    (['bulk_modulus', 'evaporation_enthalpy'], [])
    """
    table = elements()
    return {
        SYMBOLS[z]: [name for name, known in zip(table.names, table.known[z], strict=True) if not known]
        for z in np.flatnonzero(covered()).tolist()
    }


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
