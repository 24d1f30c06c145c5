"""One training as a function of crystals, and what it gives: model, errors, predictions, pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlzoo.data.intake import Data, crystals_from
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits.splitter import PARTS
from tlzoo.errors import UserError, no_such
from tlzoo.estimators.cross_validated import CrossValidated
from tlzoo.estimators.experiment_tree import START, Described, Plain, Tree, learned_from, names_of, splitter
from tlzoo.estimators.picture import Picture, shown
from tlzoo.machine.argument_types import checked
from tlzoo.machine.files import read_table
from tlzoo.machine.remarks import once
from tlzoo.model.trained import Model, load
from tlzoo.nn import AnyPooling
from tlzoo.training import fitting, measuring
from tlzoo.training.in_memory import Table
from tlzoo.training.run import Run
from tlzoo.transfer.finetune.finetune_request import check_folds
from tlzoo.transfer.finetune.measure import are_classes
from tlzoo.transfer.finetune.recipes import Strategy
from tlzoo.transfer.folds import fold_trainings

SECTIONS: Final = {"model", "data", "trainer"}
Plot = Literal["parity", "learning-curve", "confusion", "roc"]


@dataclass(frozen=True, repr=False)
class Fit:
    """A finished training; printed, and in a notebook, it says what it is worth.

    Attributes:
        run: Its run directory, with the names of all files in it.
    """

    run: Run

    def __fspath__(self) -> str:
        return str(self.run.path)

    @property
    def run_dir(self) -> Path:
        """The run directory: what :func:`tlzoo.load`, :func:`tlzoo.test` and all commands take."""
        return self.run.path

    @cached_property
    def model(self) -> Model:
        """The trained model."""
        return load(self.run.path)

    @property
    def metrics(self) -> pd.DataFrame:
        """Errors in the units of the targets, a row for ``train``, ``val`` and, once measured, ``test``."""
        metrics = self.run.metrics
        table = pd.DataFrame({part: metrics[part] for part in PARTS if part in metrics}).T
        table.index.name = "part"
        table.attrs["units"] = metrics.get("targets", {})
        return table.astype({"crystals": int})

    @property
    def predictions(self) -> pd.DataFrame:
        """Known and predicted values of the parts measured so far: a row a crystal and property."""
        return read_table(self.run.predictions)

    @property
    def history(self) -> pd.DataFrame:
        """What was measured while it trained, an epoch a row."""
        return self.run.curves

    def test(self) -> pd.DataFrame:
        """Measure the test part, when all choices are made; return :attr:`metrics` with trivial baselines."""
        measured = measuring.test(self.run)
        if len(measured["targets"]) > 1:
            return self.metrics
        (baselines,) = measured["baselines"].values()
        rows = {name: parts["test"] for name, parts in baselines.items() if "test" in parts}
        return pd.concat([self.metrics, pd.DataFrame(rows).T])

    def plot(self, kind: Plot | None = None) -> Picture:
        """Draw predictions against known values, of classes which was taken for which; or another picture.

        Raises:
            UserError: There is no such picture of this model.
        """
        self.run.draw(self.model, self.run.predicted())
        there = {path.stem: path for path in sorted(self.run.path.glob("*.png"))}
        first = next((name for name in there if name.startswith(kind or ("parity", "confusion"))), None)
        if first is None:
            raise UserError(no_such("picture", kind or "parity", there))
        return Picture(there[first])

    def __repr__(self) -> str:
        return "\n".join([f"Fit in {self.run.path}", *repr(self.model).splitlines()[1:]])

    def _repr_html_(self) -> str:
        """Show it in a notebook, with the errors of each part and a picture."""
        return shown(repr(self), self.metrics, self.plot())


@once()
@checked("unit", "config", "run_dir", "quiet", "folds", "jobs")
def fit(
    crystals: Data | Mapping[str, Any],
    /,
    target: str | Sequence[str] | None = None,
    *,
    from_: str | PathLike[str] | None = START,
    unit: str | None = None,
    head: Described | None = None,
    backbone: Described | None = None,
    strategy: Strategy = "all",
    pooling: AnyPooling | None = None,
    epochs: int | None = None,
    learning_rate: float = Plain.learning_rate,
    batch_size: int | None = None,
    patience: int | None = None,
    validation: float = 0.1,
    test: float | None = None,
    split: str = "Random",
    folds: int | None = None,
    jobs: int | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | str | Path | None = None,
    run_dir: str | Path | None = None,
    quiet: bool = False,
    data: Data | None = None,
) -> Fit | CrossValidated:
    """Train a network on crystals, from a pretrained one or from scratch; what `tlzoo fit` does.

    Args:
        crystals: Labelled crystals: a path, the name of a data set, a data frame, a table of crystals, or
            structures whose ``properties`` are the labels. Or an experiment, a mapping or YAML file with the
            sections ``model``, ``data`` and ``trainer`` that `tlzoo fit --help` lists; then only ``data``,
            ``folds``, ``jobs``, ``run_dir`` and ``quiet`` go with it.
        target: Column to learn, or several; not needed if there is only one.
        from_: The model to start from.
        unit: Unit of the target, where the data do not say.
        head: Class of the head: ``Regression``, of labels 0 and 1 ``Classification``, by default.
        backbone: A network to train from scratch, instead of ``from_``: ``CGCNN``, ``ALIGNN``, ``MomentNet``,
            or a mapping with its arguments.
        strategy: What is trained of a network that has learned before, such as ``all`` or ``two-body``.
        pooling: From atoms to the crystal: None for what the network has.
        epochs: Passes over the training part; by default what is usual for so many crystals.
        learning_rate: Of the optimiser.
        batch_size: Crystals in a batch.
        patience: Stop early, and keep the best epoch; by default it trains to the end.
        validation: Validation part: a fraction of all crystals (below 1) or a count.
        test: Test part, likewise, 0.1 by default; :meth:`Fit.test` measures it. With ``folds`` it is in none
            of them, and there is none by default.
        split: ``Random``, or ``ByComposition``: no formula is in two parts.
        folds: Train so many times, each time with another part of the crystals left out to test on. The
            models of all folds answer together then, with intervals by what each has left out.
        jobs: Folds that are trained at a time; by default as many as there are cores, on a GPU one.
        seed: Of the split, of weights and of batches.
        config: A mapping or YAML file on top, as `tlzoo fit` takes it.
        run_dir: Directory of the run; by default one below ``runs``, to the newest of which ``runs/latest``
            leads. The same call goes on with a training that was stopped, and does nothing again.
        quiet: Say nothing of groups and epochs.
        data: Crystals in memory, in place of ``data.source`` of an experiment.

    Returns:
        What came of it: of ``folds`` a :class:`~tlzoo.estimators.cross_validated.CrossValidated`.

    Raises:
        UserError: The data or an argument cannot be used, the directory holds another run, or training was
            stopped or diverged.
    """
    check_folds(folds)
    if jobs is not None and folds is None:
        raise UserError("jobs is how many folds are trained at a time: it goes with folds")
    if is_experiment(crystals):
        if target is not None or config is not None:
            raise UserError("an experiment says itself what is learned: leave target and config out")
        experiment, table = cast("Mapping[str, Any]", crystals), cast("Table | None", data)
        return _trained(experiment, table, run_dir, quiet=quiet, folds=folds, jobs=jobs)
    if data is not None:
        raise UserError("data goes with an experiment, which was not given: give the crystals alone")
    names = names_of(target)
    units = {names[0]: unit} if unit is not None and names else None
    if unit is not None and not units:
        raise UserError(f"unit {unit} needs the name of the target")
    test = (0.1 if folds is None else 0) if test is None else test
    parts, section = splitter(split, validation=validation, test=test, seed=seed)
    sources: Tree = {"source": str(crystals)} if isinstance(crystals, str | Path) else {}
    given = None if sources else crystals_from(crystals, targets=names, units=units)
    options: Tree = {"targets": names, "split": parts, "units": units}
    if given is not None:
        module = CrystalDataModule.from_crystals(given, **options)
    else:
        module = CrystalDataModule(**sources, **options)
    labels = module.table.labels(np.arange(len(module.crystals)))
    plain = Plain(
        from_=from_,
        backbone=backbone,
        head=head or _head(module.targets, labels),
        strategy=strategy,
        pooling=pooling,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        patience=patience,
        seed=seed,
        config=config,
    )
    about = {"targets": module.targets, "split": section, **({"units": units} if units else {})}
    known = int((~np.isnan(labels)).any(axis=1).sum())
    tree = plain.tree({**sources, **about}, learned_from(known, validation, test))
    # what was read need not be read again, unless the configuration on top says how
    kept = given if given is not None else module if config is None else None
    return _trained(tree, kept, run_dir, quiet=quiet, folds=folds, jobs=jobs)


def _trained(
    tree: Mapping[str, Any] | str | Path,
    data: "Table | CrystalDataModule | None",
    run_dir: str | Path | None,
    *,
    quiet: bool,
    folds: int | None,
    jobs: int | None,
) -> Fit | CrossValidated:
    """Train once, or once for each fold."""
    if folds is None:
        return Fit(fitting.fit(tree, data=data, run_dir=run_dir, quiet=quiet))
    known = data if isinstance(data, CrystalDataModule) else None
    with fitting.configured(tree, data, run_dir, folds=folds) as (found, _):
        return CrossValidated(fold_trainings.fit_folds(found, folds, jobs=jobs, known=known).folder)


def is_experiment(data: object) -> bool:
    """Whether something is an experiment, not crystals: a mapping with its sections, or a YAML file."""
    if isinstance(data, Mapping):
        return bool(SECTIONS & set(data))
    return isinstance(data, str | Path) and Path(data).suffix in {".yaml", ".yml"}


def _head(targets: Sequence[str], labels: NDArray[np.float32]) -> Described:
    """Return the head for labels, ``(crystals, targets)``."""
    if len(targets) > 1:
        return {"class_path": "MultiProperty", "init_args": {"targets": list(targets)}}
    return "Classification" if are_classes(labels[:, 0].astype(np.float64)) else "Regression"
