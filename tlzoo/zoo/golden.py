"""Golden predictions: what a checkpoint answers for the reference crystals, and whether it still does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import torch

from tlzoo.cards import library
from tlzoo.cards.beside import Beside, lacking, named_by
from tlzoo.errors import UserError
from tlzoo.model import Model
from tlzoo.model.checkpoint import load
from tlzoo.zoo.reference import reference_crystals

Device = Literal["cpu", "cuda"]
Precision = Literal["32-true", "bf16-mixed"]
Golden = Mapping[str, Mapping[str, float]]

# Largest deviation from the predictions of a CPU in fp32, relative to their size and spread: sums are taken
# in another order by another machine, and bfloat16 has 8 bits of mantissa.
TOLERANCE: Final[dict[tuple[Device, Precision], float]] = {
    ("cpu", "32-true"): 1e-4,
    ("cuda", "32-true"): 1e-3,
    ("cpu", "bf16-mixed"): 5e-2,
    ("cuda", "bf16-mixed"): 5e-2,
}


@dataclass(frozen=True)
class Verdict:
    """Whether a checkpoint is what its card says.

    Attributes:
        deviation: The largest :func:`deviation` of its answers.
        where: Of which crystal and column.
        lacking: What the card names and is not beside the weights: a model predicts without it.
    """

    name: str
    deviation: float
    tolerance: float
    where: str
    lacking: Sequence[Beside] = ()

    @property
    def passed(self) -> bool:
        """Whether the answers are the same; NaN are not."""
        return self.deviation <= self.tolerance

    def text(self) -> str:
        """Say it in a line."""
        if self.passed:
            agree = "sha256 and golden predictions agree"
            missing = "".join(f"; {one.file} is not there: {one.lost}" for one in self.lacking)
            return f"{self.name}: {agree} (largest deviation {self.deviation:.1e}){missing}"
        return (
            f"{self.name}: DIFFERS, its answer for {self.where} deviates by {self.deviation:.1e}, "
            f"more than {self.tolerance:.0e}"
        )


def golden(model: Model) -> dict[str, dict[str, float]]:
    """Return the predictions for the reference crystals by crystal and column, in physical units.

    Intervals are not among them: they rest on other crystals than the weights do.
    """
    table = replace(model, intervals={}).predict(reference_crystals()).set_index("id")
    return {
        str(crystal): {str(column): float(value) for column, value in row.items()}
        for crystal, row in table.iterrows()
    }


def verify(name: str, *, device: Device = "cpu", precision: Precision = "32-true") -> Verdict:
    """Compare a checkpoint with its card: hashes of all its files, golden predictions.

    Raises:
        UserError: There is no such checkpoint or device, or a file is not the one that the card names.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no GPU that torch can use; verify on the CPU: --device cpu")
    card = library.find(name).card
    weights = library.locate(name)
    loaded = load(weights)
    missing = lacking(weights, loaded.card)
    for one in named_by(loaded.card):
        if one not in missing:
            one.read(weights.with_name(one.file))
    model = Model(loaded.backbone, loaded.head, loaded.card).to(device)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
        answers = golden(model)
    worst, where = deviation(answers, card.golden)
    return Verdict(name, worst, TOLERANCE[device, precision], where, missing)


def deviation(answers: Golden, wanted: Golden) -> tuple[float, str]:
    r"""Return the largest deviation and where it is, as crystal and column.

    .. math::
        \max_{ic} \frac{|a_{ic} - g_{ic}|}{|g_{ic}| + \sigma_c}

    with answers a, golden predictions g, crystals i, columns c and the standard deviation σ over the
    crystals: relative to their size alone, predictions near zero would be held to impossible digits.

    Raises:
        UserError: They are about other crystals or columns.
    """
    columns = list(next(iter(wanted.values()), {}))
    rows = (*answers.values(), *wanted.values())
    if list(answers) != list(wanted) or any(list(row) != columns for row in rows):
        raise UserError(
            "the golden predictions of the card are about other crystals or columns than this version of "
            "tlzoo computes; take the version that made the card, or publish the checkpoint anew"
        )
    found = np.array([list(row.values()) for row in answers.values()])
    gold = np.array([list(row.values()) for row in wanted.values()])
    relative = np.abs(found - gold) / (np.abs(gold) + gold.std(axis=0) + np.finfo(np.float64).tiny)
    relative = np.nan_to_num(relative, nan=np.inf)
    row, column = np.unravel_index(int(relative.argmax()), relative.shape)
    return float(relative[row, column]), f"{list(wanted)[row]}, {columns[column]}"
