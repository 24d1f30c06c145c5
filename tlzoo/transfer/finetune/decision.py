"""What answers in the end: the trained network, the head on frozen features, or the mean of both.

The one place for the rule and its reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.model.answer_record import FROZEN, NETWORK, AnswerRecord, half_widths

Values = NDArray[np.float64]

BOTH: Final = "both"
# The weight of each part in an answer.
PARTS: Final[Mapping[str, Mapping[str, float]]] = {
    NETWORK: {NETWORK: 1.0},
    FROZEN: {FROZEN: 1.0},
    BOTH: {NETWORK: 0.5, FROZEN: 0.5},
}


@dataclass(frozen=True)
class Decision:
    """The choice, and what it rests on.

    Attributes:
        answers: ``network``, ``frozen`` or ``both``.
        errors: Mean absolute errors on the validation part of each of them that there is.
        crystals: Of the validation part.
        half_widths: Half widths of intervals of each by their level, in the unit of the target.
        calibrated: Crystals left out that those rest on.
    """

    answers: str
    errors: Mapping[str, float]
    crystals: int
    half_widths: Mapping[str, Mapping[str, float]]
    calibrated: Mapping[str, int]

    @property
    def record(self) -> AnswerRecord:
        """What is written beside the weights."""
        name = self.answers
        return AnswerRecord(PARTS[name], self.half_widths[name], self.calibrated[name])


def decide(network: Values, frozen: Values | None = None, left_out: Values | None = None) -> Decision:
    """Choose by errors with sign on the same crystals that neither has learned from, ``(crystals,)`` each.

    Both answer, unless one of them alone has the smaller error, by more than one standard error of the
    difference over the crystals.

    Args:
        network: Errors of the network on the validation part.
        frozen: Those of the head that was fitted to the training part alone; None if there is no head.
        left_out: Errors of the head on crystals of both parts that were left out in turn, for intervals.
    """
    errors = {NETWORK: network}
    if frozen is not None:
        errors |= {FROZEN: frozen, BOTH: (network + frozen) / 2}
    costs = {name: np.abs(values) for name, values in errors.items()}
    # the head is fitted anew to both parts: of the network nobody knows more than the validation part shows
    rests = errors if left_out is None else {**errors, FROZEN: left_out}
    return Decision(
        answers=_answers(costs),
        errors={name: float(values.mean()) for name, values in costs.items()},
        crystals=len(network),
        half_widths={name: half_widths(values) for name, values in rests.items()},
        calibrated={name: len(values) for name, values in rests.items()},
    )


def _answers(costs: Mapping[str, Values]) -> str:
    if FROZEN not in costs:
        return NETWORK
    alone = min((NETWORK, FROZEN), key=lambda name: costs[name].mean())
    ahead = costs[BOTH] - costs[alone]
    doubt = float(ahead.std(ddof=1)) / np.sqrt(len(ahead)) if len(ahead) > 1 else np.inf
    return alone if ahead.mean() > doubt else BOTH
