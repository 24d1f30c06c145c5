"""Which crystals are left out together."""

import re

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.errors import UserError
from tlzoo.transfer.recommend.crossval import deal

Rows = NDArray[np.int64]

LEAVE_ONE_OUT = "leave-one-out"
GROUPINGS = ("composition", "none")


def groups_of(crystals: Crystals, group: str) -> Rows:
    """Label the crystals, ``(crystals,)``; equal labels are never fitted and predicted at once.

    By ``composition``, so that polymorphs never straddle, or ``none``.

    Raises:
        UserError: Another word.
    """
    if group not in GROUPINGS:
        raise UserError(f"crystals are grouped by {' or '.join(GROUPINGS)}, got {group!r}")
    if group == "none":
        return np.arange(len(crystals))
    return np.unique(crystals.formulas, return_inverse=True)[1].reshape(-1)


def folds_of(groups: Rows, cv: str, generator: np.random.Generator) -> Rows:
    """Return the fold of each crystal, ``(crystals,)``; whole groups.

    ``leave-one-out``: each group is a fold; ``5-fold``: they are dealt to so many, at random.

    Raises:
        UserError: Another word, or fewer groups than folds.
    """
    if cv == LEAVE_ONE_OUT:
        labels: Rows = np.unique(groups, return_inverse=True)[1].reshape(-1)
        if labels.max(initial=0) < 2:
            raise UserError(
                f"leaving one out needs at least 3 different crystals, there are {labels.max() + 1}"
            )
        return labels
    found = re.fullmatch(r"(\d+)-fold", cv)
    if found is None or int(found[1]) < 2:
        raise UserError(f"cv is leave-one-out, or 5-fold with any number from 2, got {cv!r}")
    return deal(groups, int(found[1]), generator)
