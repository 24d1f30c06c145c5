"""How far a model is off on the test part: absolute errors of numbers, the balanced error of two classes."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# Of the labels, where a property ends; in the tail of one that goes on, hardly any two are equal.
AT_THE_END: Final = 0.05


@dataclass(frozen=True)
class Measure:
    """What is compared, crystal by crystal; its mean over the crystals is the error of a model.

    Attributes:
        truth: Labels of the test part, ``(crystals,)``.
        classes: Whether they are the classes 0 and 1, of which models predict the probability of 1.
    """

    truth: Values
    classes: bool = False

    @property
    def name(self) -> str:
        """Of the mean, for people."""
        return "balanced error" if self.classes else "MAE"

    def __call__(self, errors: Values, kept: NDArray[np.bool_] | None = None) -> Values:
        """Return what each crystal costs, ``(..., crystals)``.

        For classes 1 where the wrong one has the larger probability, else 0, times a weight by which both
        classes count the same: the mean is 1 minus the balanced accuracy, 0.5 for a coin and for always the
        same answer.

        Args:
            errors: Predicted minus true, ``(..., crystals)``.
            kept: The crystals to look at; all by default.
        """
        rows = slice(None) if kept is None else kept
        errors = errors[..., rows]
        if not self.classes:
            return np.abs(errors)
        truth = self.truth[rows].astype(np.int64)
        counts = np.bincount(truth, minlength=2)
        weights: Values = len(truth) / (np.count_nonzero(counts) * counts[truth])
        return weights * ((errors > 0.5) | (errors <= -0.5))


def end(labels: Values, train: NDArray[np.int64]) -> float | None:
    """Return 0 if a property cannot be less, as gaps: no label is, and some to train on are 0 exactly.

    ``labels`` are those of the whole table, NaN where none is known: what is negative anywhere may be so.
    """
    learned = labels[train]
    known = learned[~np.isnan(learned)]
    goes_on = bool((labels < 0).any())
    return 0.0 if not goes_on and known.size and np.mean(known == 0) >= AT_THE_END else None
