"""What answers in the end: the trained network, the head on frozen features, or both.

The one place for the rule. Both answer, with weights inverse to the squares of their errors on the
validation part (Bates & Granger, Oper. Res. Q. 20, 451, 1969), unless one of them alone has the smaller
error by more than one standard error of the difference over the crystals.

The reason: the mean of two models that err differently errs less than either, or little more than the
better; and a handful of validation crystals cannot tell which is better. So the weights, too, are held near
a half where there are few.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.model.answer_record import FROZEN, NETWORK, AnswerRecord, half_widths

Values = NDArray[np.float64]

BOTH: Final = "both"
# Crystals on which both would err alike that are added to those there are: of one alone weights say nothing.
ALIKE: Final = 5


@dataclass(frozen=True)
class Decision:
    """The choice, and what it rests on.

    Attributes:
        answers: ``network``, ``frozen`` or ``both``.
        weights: Of ``network`` and ``frozen`` where both answer.
        errors: Mean absolute errors on the validation part of each of them that there is.
        crystals: Of the validation part.
        half_widths: Half widths of intervals of each by their level, in the unit of the target.
        calibrated: Crystals left out that those rest on.
    """

    answers: str
    weights: Mapping[str, float]
    errors: Mapping[str, float]
    crystals: int
    half_widths: Mapping[str, Mapping[str, float]]
    calibrated: Mapping[str, int]

    @property
    def record(self) -> AnswerRecord:
        """What is written beside the weights of the network."""
        name = self.answers
        parts = self.weights if name == BOTH else {name: 1.0}
        return AnswerRecord(parts, self.half_widths[name], self.calibrated[name])

    def both(self, network: Values, frozen: Values) -> Values:
        """Return what both say, or how far they are off, together."""
        return mixed(self.weights, network, frozen)


def decide(network: Values, frozen: Values | None = None, left_out: Values | None = None) -> Decision:
    """Choose by errors with sign on the same crystals that neither has learned from, ``(crystals,)`` each.

    Args:
        network: Errors of the network on the validation part.
        frozen: Those of the head that was fitted to the training part alone; None if there is no head.
        left_out: Errors of the head on crystals of both parts that were left out in turn, for intervals.
    """
    weights, errors = {NETWORK: 1.0}, {NETWORK: network}
    if frozen is not None:
        weights = _weights(network, frozen)
        errors |= {FROZEN: frozen, BOTH: mixed(weights, network, frozen)}
    costs = {name: np.abs(values) for name, values in errors.items()}
    # the head is fitted anew to both parts: of the network nobody knows more than the validation part shows
    rests = errors if left_out is None else {**errors, FROZEN: left_out}
    return Decision(
        answers=_answers(costs),
        weights=weights,
        errors={name: float(values.mean()) for name, values in costs.items()},
        crystals=len(network),
        half_widths={name: half_widths(values) for name, values in rests.items()},
        calibrated={name: len(values) for name, values in rests.items()},
    )


def mixed(weights: Mapping[str, float], network: Values, frozen: Values) -> Values:
    """Return the weighted mean."""
    return weights[NETWORK] * network + weights[FROZEN] * frozen


def _weights(network: Values, frozen: Values) -> dict[str, float]:
    squares = np.square([np.abs(network).mean(), np.abs(frozen).mean()])
    if not squares.all():
        return {NETWORK: 0.5, FROZEN: 0.5}
    inverse = 1 / (len(network) * squares + ALIKE * squares.mean())
    share = round(float(inverse[0] / inverse.sum()), 2)
    return {NETWORK: share, FROZEN: round(1 - share, 2)}


def _answers(costs: Mapping[str, Values]) -> str:
    if FROZEN not in costs:
        return NETWORK
    alone = min((NETWORK, FROZEN), key=lambda name: costs[name].mean())
    ahead = costs[BOTH] - costs[alone]
    doubt = float(ahead.std(ddof=1)) / np.sqrt(len(ahead)) if len(ahead) > 1 else np.inf
    return alone if ahead.mean() > doubt else BOTH
