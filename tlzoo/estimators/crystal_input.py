"""What scikit-learn hands on as X: one crystal a row, in a list, an array or a column of a data frame."""

from dataclasses import replace
from typing import Any

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.data.intake import as_table
from tlzoo.errors import UserError

WANTED = "wanted structures: a list, an array or a column of a data frame with one structure or file a row"


def crystals_of(X: Any) -> Crystals:  # noqa: ANN401, N803 (whatever a user gives, under scikit-learn's name)
    """Return crystals, numbered from 0, without columns: what they say beside the structures is not learned.

    Args:
        X: What :func:`tlzoo.data.intake.crystals_from` takes but for paths and names, which would be tables;
            of a data frame the only column.

    Raises:
        UserError: It is something else, or a structure cannot be read; the message says which.
    """
    if isinstance(X, str):
        raise UserError(f"X is {X!r}; {WANTED}. tlzoo.read({X!r}) gives a table of crystals")
    if hasattr(X, "itertuples"):
        if X.shape[1] != 1:
            raise UserError(f"X has {X.shape[1]} columns; {WANTED}, which is X['structure'] perhaps")
        X = X.iloc[:, 0]  # noqa: N806
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()  # noqa: N806 (ids are none: two rows may have one)
    table = X if isinstance(X, Crystals) else as_table(X)
    ids = np.array([str(row) for row in range(len(table))], dtype=object)
    return replace(table, ids=ids, columns={}, units={})


def of_structures(tags: Any) -> Any:  # noqa: ANN401 (scikit-learn has no types)
    """Return the tags of an estimator after saying that X holds structures, not numbers in two dimensions."""
    tags.input_tags.two_d_array, tags.input_tags.one_d_array = False, True
    tags.input_tags.string = True  # names of files
    return tags
