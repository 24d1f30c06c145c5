"""Showing crystals with a rare label more often, so that most batches have one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError

# More is no longer a little help for the rare, but another data set.
MOST = 0.5


def repeated(known: NDArray[np.bool_], share: float) -> NDArray[np.int64]:
    """Return the crystals of an epoch, in order; those with a rare label several times in succession.

    A target that fewer than ``share`` of the crystals have is brought up to it: its crystals come as often as
    that takes, rounded up. A crystal with several rare labels comes as often as the rarest of them asks.

    Args:
        known: Whether a crystal has a label, ``(crystals, targets)``.
        share: The part of the crystals that is to have each target, 0 for no repetition.

    Returns:
        Positions, ``(crystals of an epoch,)``.

    Raises:
        UserError: The share is not from 0 to 0.5.

    >>> repeated(np.array([[True, False]] * 9 + [[True, True]]), share=0.2)
    array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9])
    """
    if not 0 <= share <= MOST:
        raise UserError(f"oversample is a part of the crystals, from 0 to {MOST}, got {share}")
    labels = known.sum(axis=0)
    times = np.ceil(share * len(known) / np.maximum(labels, 1)).clip(min=1).astype(np.int64)
    return np.repeat(np.arange(len(known)), np.where(known, times, 1).max(axis=1))
