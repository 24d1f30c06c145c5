"""A finished cross-validation: models of all folds, errors, predictions, pictures."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tlzoo.errors import UserError
from tlzoo.estimators.picture import Picture, shown
from tlzoo.machine.files import read_table
from tlzoo.model import cross_conformal
from tlzoo.training.run import Run
from tlzoo.transfer.finetune.chosen import load

if TYPE_CHECKING:
    from tlzoo.transfer.finetune.folded import Folded


@dataclass(frozen=True, repr=False)
class CrossValidated:
    """What `folds` of :func:`tlzoo.fit` and :func:`tlzoo.finetune` give; printed, it says what it is worth.

    Attributes:
        run_dir: Directory of all folds: what :func:`tlzoo.load` and all commands take.
    """

    run_dir: Path

    def __fspath__(self) -> str:
        return str(self.run_dir)

    @cached_property
    def record(self) -> cross_conformal.FoldRecord:
        """What was written down of the folds."""
        return cross_conformal.read(self.run_dir)

    @cached_property
    def model(self) -> "Folded":
        """The models of all folds, which answer with their mean and intervals."""
        found: Any = load(self.run_dir)
        return found  # type: ignore[no-any-return]

    @property
    def folds(self) -> list[Path]:
        """The directory of each fold, a run or comparison of its own."""
        return [self.run_dir / name for name in self.record.folds]

    @property
    def metrics(self) -> pd.DataFrame:
        """Errors of the crystals left out, a row a model: the mean over the folds, and with `_sd` its spread.

        The units of the targets are in ``attrs["units"]``.
        """
        rows = {}
        for name, measures in self.record.facts["metrics"].items():
            row = dict[str, float]()
            for measure, values in measures.items():
                each = np.array(values, dtype=np.float64)
                row |= {measure: each.mean(), f"{measure}_sd": each.std(ddof=1)}
            rows[name] = row
        table = pd.DataFrame(rows).T
        table.index.name = "model"
        table.attrs["units"] = self.model.units
        return table

    @property
    def by_fold(self) -> pd.DataFrame:
        """The same errors of each fold: a row a fold, columns by model and measure."""
        facts = self.record.facts["metrics"]
        columns = {(name, measure): values for name, row in facts.items() for measure, values in row.items()}
        return pd.DataFrame(columns, index=pd.Index(self.record.folds, name="fold"))

    @property
    def predictions(self) -> pd.DataFrame:
        """Known values, and predictions by the model that had left the crystal out: a row each, ``fold``."""
        return read_table(Run(self.run_dir).predictions)

    def text(self) -> str:
        """The table of errors, what intervals hold, and what speaks against it."""
        return str(self.record.facts["said"])

    def plot(self) -> Picture:
        """Draw the predictions of crystals left out against what is known.

        Raises:
            UserError: There is no picture.
        """
        run = Run(self.run_dir)
        run.draw(self.model.network, run.predicted())
        if found := sorted(self.run_dir.glob("*.png")):
            return Picture(found[0])
        raise UserError(f"there is no picture in {self.run_dir}")

    def __repr__(self) -> str:
        return "\n".join([f"{len(self.folds)} folds in {self.run_dir}", *repr(self.model).splitlines()[1:]])

    def _repr_html_(self) -> str:
        """Show it in a notebook, with the errors of all models and a picture."""
        return shown(repr(self), self.metrics, self.plot())
