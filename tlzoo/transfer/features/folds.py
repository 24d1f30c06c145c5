"""Which crystals are left out together."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.errors import UserError
from tlzoo.evaluation.crossval import deal

Rows = NDArray[np.int64]

LEAVE_ONE_OUT = "leave-one-out"
GROUPINGS = ("composition", "none")


def check_folds(groups: Sequence[str], cv: str) -> None:
    """Refuse words that say no folds.

    Raises:
        UserError: There is one.
    """
    if wrong := [group for group in groups if group not in GROUPINGS]:
        raise UserError(f"crystals are grouped by {' or '.join(GROUPINGS)}, got {wrong[0]!r}")
    found = re.fullmatch(r"(\d+)-fold", cv)
    if cv != LEAVE_ONE_OUT and (found is None or int(found[1]) < 2):
        raise UserError(f"cv is leave-one-out, or 5-fold with any number from 2, got {cv!r}")


def groups_of(crystals: Crystals, group: str) -> Rows:
    """Label the crystals, ``(crystals,)``; equal labels are never fitted and predicted at once.

    By ``composition``, so that polymorphs never straddle, or ``none``.

    Raises:
        UserError: Another word.
    """
    check_folds([group], LEAVE_ONE_OUT)
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
    check_folds([], cv)
    return deal(groups, int(cv.partition("-")[0]), generator)
