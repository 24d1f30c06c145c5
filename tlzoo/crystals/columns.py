"""Columns of a table: numbers with NaN for what is unknown, or objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def known_values(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values of a column are known, of the same shape."""
    if values.dtype != object:
        return np.asarray(~np.isnan(values), dtype=np.bool_)
    # NaN is not itself
    return np.array([value is not None and value == value for value in values], dtype=np.bool_)  # noqa: PLR0124


def as_column(values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Return values as float64 with NaN for unknown if all are numbers, else as objects.

    >>> as_column([1, None])
    array([ 1., nan])
    >>> as_column(["a", None])
    array(['a', None], dtype=object)
    """
    array = np.array(values, dtype=object)
    try:
        return array.astype(np.float64) if not any(isinstance(v, str | bytes) for v in array) else array
    except (TypeError, ValueError):
        return array
