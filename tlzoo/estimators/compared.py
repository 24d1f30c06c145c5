"""A comparison as a function of crystals, and what it gives: model, errors, predictions, pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd

from tlzoo.cards.library import spelled
from tlzoo.crystals import with_unit
from tlzoo.data.intake import Data, crystals_from
from tlzoo.errors import UserError, no_such
from tlzoo.estimators.cross_validated import CrossValidated
from tlzoo.estimators.experiment_tree import START
from tlzoo.estimators.fitted import Plot
from tlzoo.estimators.picture import Picture, shown
from tlzoo.evaluation import plots
from tlzoo.evaluation.gain import Gain
from tlzoo.machine.argument_types import checked
from tlzoo.machine.remarks import once
from tlzoo.model.trained import Model
from tlzoo.training.run import Run, read_json
from tlzoo.transfer.finetune import compare
from tlzoo.transfer.finetune.chosen import Chosen, load
from tlzoo.transfer.finetune.finetune_request import LATEST
from tlzoo.transfer.finetune.verdict import Verdict
from tlzoo.transfer.folds import fold_comparisons

if TYPE_CHECKING:
    from tlzoo.transfer.features.saved import SavedFeatures
    from tlzoo.transfer.finetune.folded import Folded


@dataclass(frozen=True, repr=False)
class Finetuned:
    """A finished comparison; shows its result when printed or at the end of a notebook cell.

    Attributes:
        verdict: Everything that was found.
        run_dir: Directory of the comparison, as :func:`tlzoo.load` and all commands take it.
    """

    verdict: Verdict
    run_dir: Path

    def __fspath__(self) -> str:
        return str(self.run_dir)

    @cached_property
    def model(self) -> "Model | SavedFeatures | Chosen | Folded":
        """The model that validation chose: a network, a head on frozen features, or both together."""
        return load(self.run_dir)

    @property
    def gain(self) -> Gain:
        """Gain of transfer over training from scratch: ``value``, and its interval ``low`` to ``high``."""
        return self.verdict.gain

    def text(self) -> str:
        """The report that `tlzoo finetune` prints: table of errors, conclusion, warnings."""
        return self.verdict.text()

    @property
    def metrics(self) -> pd.DataFrame:
        """Errors on the test part, a row per model, and the gain of transfer over it in percent.

        ``attrs["answers"]`` names the row whose model makes the predictions, ``attrs["unit"]`` is the unit.
        """
        rows = [
            {
                "model": row.name,
                self.verdict.measure.lower().replace(" ", "_"): row.mae,
                "sd": row.sd,
                **({name: 100 * value for name, value in vars(row.gain).items()} if row.gain else {}),
            }
            for row in self.verdict.rows
        ]
        table = pd.DataFrame(rows).set_index("model")
        table = table.rename(columns={"value": "gain_percent", "low": "gain_low", "high": "gain_high"})
        table.attrs |= {"unit": self.verdict.unit, "answers": self.verdict.answering}
        return table.dropna(axis="columns", how="all")

    @property
    def run(self) -> Run:
        """The run, within the directory, of the network with the best validation error."""
        return Run(self.run_dir / self.verdict.sides[self.verdict.model].run)

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions for the test part: ``id``, ``known``, then the columns of ``model.predict``.

        Raises:
            UserError: The data are not where they were.
        """
        crystals = crystals_from(self.verdict.source, targets=[self.verdict.target])
        ids = read_json(self.run.split)["test"]
        some = crystals.select(np.flatnonzero(np.isin(crystals.ids, ids)))
        said = self.model.predict(some)
        said.insert(1, "known", some.column(self.verdict.target).astype(np.float64))
        return said

    def plot(self, kind: Plot | None = None) -> Picture:
        """Draw predictions of the test part against known values, or another picture of the network.

        Raises:
            UserError: There is no such picture.
        """
        kind = kind or ("parity" if self.verdict.measure == "MAE" else "confusion")
        if kind not in get_args(Plot):
            raise UserError(no_such("picture", kind, get_args(Plot)))
        if kind != "parity":
            path = self.run.path / f"{kind}.png"
            if not path.is_file():
                raise UserError(f"there is no picture {kind!r} of this model in {self.run.path}")
            return Picture(path)
        name, table, path = self.verdict.target, self.predictions, self.run_dir / "parity.png"
        known, said = table["known"].to_numpy(), table[name].to_numpy(dtype=np.float64)
        plots.parity(path, {"test": (known, said)}, name=name, unit=self.verdict.unit)
        return Picture(path)

    def __repr__(self) -> str:
        found = self.verdict
        row = next(row for row in found.rows if row.name == found.answering)
        error = with_unit(f"test {found.measure} {row.mae:.4g}", found.unit)
        return "\n".join(
            [
                f"{found.target} of {found.source}, from {found.origin}; in {self.run_dir}",
                f"  answers   {found.answering}: {error} on {found.test_crystals:,} crystals",
                f"  transfer  {found.conclusion}",
                f"  warnings  {len(found.warnings) or 'none'}" + "; text() says which" * bool(found.warnings),
            ]
        )

    def _repr_html_(self) -> str:
        """Show it in a notebook, with the errors of all models and a picture."""
        return shown(repr(self), self.metrics, self.plot())


@once()
@checked("target", "unit", "head", "epochs", "run_dir")
def finetune(
    data: Data,
    target: str | None = None,
    *,
    from_: str | PathLike[str] | Sequence[str] = START,
    unit: str | None = None,
    head: str | None = None,
    epochs: int | None = None,
    run_dir: str | Path | None = None,
    **more: Any,  # noqa: ANN401 (fields of the request)
) -> Finetuned | CrossValidated:
    """Fine-tune on few crystals, and compare with training from scratch; same as `tlzoo finetune`.

    Args:
        data: Labelled crystals: a path, the name of a data set, a data frame, a table of crystals, or
            structures that have the labels in their ``properties``. Crystals in memory are saved in the run
            directory.
        target: Column to learn; not needed if there is only one.
        from_: Model to start from: a checkpoint, a run directory or a ``.safetensors`` file; or a list of
            several, from which the validation part chooses.
        unit: Unit of the target, if the data do not state it.
        head: Keep the trained head of this property, one that the model predicts, instead of a new head:
            for properties that are nearly the same.
        epochs: Passes over the training part, for transfer and from scratch alike; the default depends on the
            number of crystals.
        run_dir: Directory for the results. By default a new one below ``runs``; ``runs/finetune`` is a link
            to the newest.
        **more: Further fields of the :class:`~tlzoo.transfer.finetune.finetune_request.Request`, such as
            ``strategy``, ``rates``, ``poolings``, ``seeds`` or ``folds``.

    Returns:
        What came of it: of ``folds`` a :class:`~tlzoo.estimators.cross_validated.CrossValidated`.

    Raises:
        UserError: The data, the model or an option cannot be used, the directory holds another comparison,
            the training was stopped, or all trainings from the models or all from scratch diverged.
    """
    starts = [spelled(one) for one in from_] if isinstance(from_, list | tuple) else spelled(from_)
    given = {"target": target, "from_": starts, "head": head, "epochs": epochs, **more}
    given = {name: value for name, value in given.items() if value is not None}
    asked: Any
    if isinstance(data, str | Path):
        asked = data
        given |= {"unit": unit} if unit is not None else {}
    else:
        asked = crystals_from(data, targets=[target] if target else None)
        if unit is not None and target is not None:
            asked = replace(asked, units={**asked.units, target: unit})
    with compare.asked(asked, run_dir=LATEST if run_dir is None else run_dir, **given) as request:
        if request.folds is not None:
            return CrossValidated(fold_comparisons.compare_folds(request).folder)
        return Finetuned(compare.compare(request), request.run_dir)
