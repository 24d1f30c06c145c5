"""What answers in the end: the trained network, the head on frozen features, or the mean of both.

The one place for the rule and its reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.model.answer_record import FROZEN, NETWORK

Values = NDArray[np.float64]

BOTH: Final = "both"


@dataclass(frozen=True)
class Decision:
    """The choice, and what it rests on.

    Attributes:
        answers: ``network``, ``frozen`` or ``both``.
        errors: Mean absolute errors on the validation part of the three.
        crystals: Of the validation part.
    """

    answers: str
    errors: Mapping[str, float]
    crystals: int

    @property
    def parts(self) -> dict[str, float]:
        """The weight of each part that answers."""
        return {NETWORK: 0.5, FROZEN: 0.5} if self.answers == BOTH else {self.answers: 1.0}


def decide(network: Values, frozen: Values) -> Decision:
    """Choose by errors with sign on the same crystals that neither has learned from, ``(crystals,)`` each.

    Both answer, unless one of them alone has the smaller error, by more than one standard error of the
    difference over the crystals.
    """
    both = (network + frozen) / 2
    costs = {name: np.abs(values) for name, values in ((NETWORK, network), (FROZEN, frozen), (BOTH, both))}
    errors = {name: float(values.mean()) for name, values in costs.items()}
    alone = NETWORK if errors[NETWORK] < errors[FROZEN] else FROZEN
    ahead = costs[BOTH] - costs[alone]
    size = len(ahead)
    doubt = float(ahead.std(ddof=1)) / np.sqrt(size) if size > 1 else np.inf
    return Decision(alone if ahead.mean() > doubt else BOTH, errors, size)
