"""What answers for the directory of a comparison, and how surely: networks, a head on frozen features, both.

Beside the weights, ``answer.json`` names the parts whose weighted mean is the answer, and the half widths of
intervals that are as wide as the errors of crystals left out ask for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.cards.card import Interval
from tlzoo.errors import UserError
from tlzoo.machine.files import write_text

FILE: Final = "answer.json"
FORMAT: Final = 1
NETWORK, FROZEN = "network", "frozen"
# What intervals hold: one deviation, what predictions show, what screening works with.
LEVELS: Final = ("0.68", "0.9", "0.95")
SHOWN: Final = "0.9"

Values = NDArray[np.float64]


@dataclass(frozen=True)
class AnswerRecord:
    """The record.

    Attributes:
        parts: Their weights, which add up to 1: ``network`` for the weights beside it, ``frozen`` for the
            folder of this name.
        half_widths: Half widths of intervals by their level, in the unit of the target.
        crystals: How many crystals, left out of training, they rest on.
    """

    parts: Mapping[str, float]
    half_widths: Mapping[str, float]
    crystals: int

    def intervals(self, targets: Sequence[str]) -> dict[str, Interval]:
        """Return the intervals as a card has them; there is one target."""
        (target,) = targets
        widths, number = dict(self.half_widths), self.crystals
        return {target: Interval(kind="absolute", widths=widths, crystals=number, left_out="left out")}


def write(model: Path, record: AnswerRecord | None) -> None:
    """Write a record beside the weights of a model; None undoes it."""
    path = model.with_name(FILE)
    if record is None:
        path.unlink(missing_ok=True)
        return
    write_text(path, json.dumps({"format": FORMAT, **asdict(record)}, indent=1) + "\n")


def read(weights: Path) -> AnswerRecord | None:
    """Return the record beside the weights of a model; None if there is none, and these answer alone.

    Raises:
        UserError: It is damaged.
    """
    path = weights.with_name(FILE)
    if weights.name != "model.safetensors" or not path.is_file():
        return None
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        record = AnswerRecord(content["parts"], content["half_widths"], int(content["crystals"]))
        sound = (
            content["format"] == FORMAT
            and set(record.parts) <= {NETWORK, FROZEN}
            and abs(sum(map(float, record.parts.values())) - 1) < 1e-9
            and all(float(record.half_widths[level]) >= 0 for level in LEVELS)
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        sound = False
    if not sound:
        raise UserError(
            f"{path} is damaged or of another version; `tlzoo finetune` writes it anew, and without it "
            f"{weights} answers alone"
        )
    return record


def half_widths(errors: Values) -> dict[str, float]:
    r"""Return half widths of intervals by their level, from errors of crystals left out, ``(crystals,)``.

    The :math:`\lceil (n + 1) p \rceil`-th smallest of n absolute errors holds the next crystal with
    probability p (split conformal prediction: Papadopoulos et al., ECML 2002). Fewer than 9 crystals do not
    reach 0.9, fewer than 19 not 0.95: then it is the largest error.
    """
    return quantiles(np.abs(errors))


def quantiles(scores: Values) -> dict[str, float]:
    """Return what the next score does not exceed, by level; see :func:`half_widths`."""
    ascending, n = np.sort(scores), len(scores)
    ranks = {level: int(np.ceil((n + 1) * float(level) - 1e-9)) for level in LEVELS}
    return {level: float(ascending[min(n, rank) - 1]) for level, rank in ranks.items()}
