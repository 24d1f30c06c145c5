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
from tlzoo.data.sources.labels import are_classes
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
from tlzoo.transfer.finetune.recipes import Strategy
from tlzoo.transfer.folds import fold_trainings

SECTIONS: Final = {"model", "data", "trainer"}
Plot = Literal["parity", "learning-curve", "embedding-map", "calibration", "confusion", "roc"]


@dataclass(frozen=True, repr=False)
class Fit:
    """A finished training; shows its errors when printed or at the end of a notebook cell.

    Attributes:
        run: The run directory, with the names of the files in it.
    """

    run: Run

    def __fspath__(self) -> str:
        return str(self.run.path)

    @property
    def run_dir(self) -> Path:
        """The run directory, as :func:`tlzoo.load`, :func:`tlzoo.test` and all commands take it."""
        return self.run.path

    @cached_property
    def model(self) -> Model:
        """The trained model."""
        return load(self.run.path)

    @property
    def metrics(self) -> pd.DataFrame:
        """Errors in the units of the targets, a row per part: ``train``, ``val``, ``test`` if measured."""
        metrics = self.run.metrics
        table = pd.DataFrame({part: metrics[part] for part in PARTS if part in metrics}).T
        table.index.name = "part"
        table.attrs["units"] = metrics.get("targets", {})
        return table.astype({"crystals": int})

    @property
    def predictions(self) -> pd.DataFrame:
        """Known and predicted values of the measured parts, a row per crystal and property."""
        return read_table(self.run.predictions)

    @property
    def history(self) -> pd.DataFrame:
        """Metrics during training, a row per epoch."""
        return self.run.curves

    def test(self) -> pd.DataFrame:
        """Measure the test part, once all choices are made; return :attr:`metrics` with trivial baselines."""
        measured = measuring.test(self.run)
        if len(measured["targets"]) > 1:
            return self.metrics
        (baselines,) = measured["baselines"].values()
        rows = {name: parts["test"] for name, parts in baselines.items() if "test" in parts}
        return pd.concat([self.metrics, pd.DataFrame(rows).T])

    def plot(self, kind: Plot | None = None) -> Picture:
        """Draw predictions against known values (for classes the confusion matrix), or another picture.

        Raises:
            UserError: This model has no such picture.
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
    """Train a network on crystals, from a pretrained one or from scratch; same as `tlzoo fit`.

    Args:
        crystals: Labelled crystals: a path, the name of a data set, a data frame, a table of crystals, or
            structures that have the labels in their ``properties``. Alternatively a complete experiment: a
            mapping or YAML file with the sections ``model``, ``data`` and ``trainer`` (see `tlzoo fit
            --help`), which can be combined with ``data``, ``folds``, ``jobs``, ``run_dir`` and
            ``quiet`` only.
        target: Column to learn, or a list of several. Not needed if there is only one.
        from_: Pretrained model to start from.
        unit: Unit of the target, if the data do not state it.
        head: Class of the head. By default ``Regression``, or ``Classification`` if all labels are 0 or 1.
        backbone: Network to train from scratch, instead of ``from_``: ``CGCNN``, ``ALIGNN``, ``MomentNet``,
            or a mapping with a class and its arguments.
        strategy: Which layers of a pretrained network are trained, and how: for example ``all`` or
            ``two-body``.
        pooling: How vectors of atoms are combined to one of the crystal: ``mean``, ``max`` …; None keeps the
            pooling of the network.
        epochs: Passes over the training part; the default depends on the number of crystals.
        learning_rate: Learning rate of the optimiser.
        batch_size: Crystals per batch; the default depends on the number of crystals.
        patience: Stop after this many epochs without improvement. By default all epochs are trained.
        validation: Size of the validation part: a fraction of all crystals (below 1) or a number of crystals.
        test: Size of the test part, likewise, by default 0.1; :meth:`Fit.test` measures it. With ``folds`` it
            is in none of them, and there is none by default.
        split: How to split: ``Random``, or ``ByComposition`` (all crystals of a formula are in one part).
        folds: Train this many times, each time with another part of the crystals left out to test on. The
            models of all folds then predict together, with intervals from what each left out.
        jobs: Number of folds to train at a time; by default one per core, on a GPU one.
        seed: Seed of the split, the initial weights and the batches.
        config: Further settings: a mapping or YAML file as `tlzoo fit` takes it, which overrides the
            arguments.
        run_dir: Directory of the run. By default a new one below ``runs``; ``runs/latest`` is a link to the
            newest. Calling again with the same arguments continues a training that was stopped, and returns
            one that is finished.
        quiet: Show no progress.
        data: Crystals in memory to use for an experiment, instead of its ``data.source``.

    Returns:
        What came of it: of ``folds`` a :class:`~tlzoo.estimators.cross_validated.CrossValidated`.

    Raises:
        UserError: The data or an argument cannot be used, the directory holds another run, or the training
            was stopped or diverged.
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
