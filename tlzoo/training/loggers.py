"""Loggers by name: TensorBoard and MLflow, which show what the run directory holds.

What a tracker shows are the curves, an epoch a step, counted from 1, under the names of ``history.csv``; the
configuration with the units of the properties; and in the end, as ``results/PART/METRIC``, what
``metrics.json`` says. Packages are imported only when they are asked for.
"""

import importlib.metadata
import os
import time
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from tlzoo.data.splits.splitter import PARTS
from tlzoo.errors import UserError, first_line
from tlzoo.machine.files import write_text
from tlzoo.training.run import Run, read_yaml


class Tracker(Logger):
    """A logger that shows a whole run directory; the commands tell it which."""

    @abstractmethod
    def begin(self, run: Run) -> None:
        """Start, or go on with, what shows a run directory, and log its configuration."""

    @abstractmethod
    def log_results(self, run: Run) -> None:
        """Log what a command left in the run directory, and finish."""


class Beside(Tracker):
    """A tracker of Lightning's that works in or beside the run directory.

    Attributes:
        packages: Any of these it needs.
        extra: What installs one.
    """

    packages: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        if not any(map(_installed, self.packages)):
            raise UserError(
                f"logging to {type(self).__name__} needs the package {self.packages[0]}: pip install "
                f"'tlzoo[{self.extra}]'; or go on without it: --trainer.logger false"
            )
        self._inner: Any = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.extra

    @property
    def version(self) -> str | None:
        """Which of its runs, once it has begun."""
        return str(self._inner.version) if self._inner else None

    @abstractmethod
    def opened(self, run: Run) -> Any:  # noqa: ANN401 (a logger of Lightning's)
        """Return the logger of Lightning's for a run directory."""

    @rank_zero_only
    def begin(self, run: Run) -> None:
        """Start, or go on with, what shows a run directory, and log its configuration."""
        again = self.known(run)
        self._inner = self.opened(run)
        if not again and run.config.exists():
            self._inner.log_hyperparams({**read_yaml(run.config), "units": run.units})

    def known(self, run: Run) -> bool:
        """Whether it has the configuration of a run already."""
        return self.marker(run).exists()

    @abstractmethod
    def marker(self, run: Run) -> Path:
        """Return what is in the run directory once it has begun."""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Nothing: the configuration has all."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a point to the curves, at its epoch."""
        values = dict(metrics)
        if "epoch" in values:
            step = int(values.pop("epoch")) + 1
        self._inner.log_metrics(values, step)

    @rank_zero_only
    def log_results(self, run: Run) -> None:
        """Log the metrics of all parts, then files, and finish."""
        if self._inner is None:
            self.begin(run)
        epochs = len(run.curves) if run.history.exists() else 0
        self._inner.log_metrics(dict(results(run.metrics)), epochs)
        self.log_files(run, epochs)
        self._inner.finalize("success")
        self._inner = None

    @abstractmethod
    def log_files(self, run: Run, epochs: int) -> None:
        """Log pictures, and what else it can show."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End where training stopped; after success, results are still to come."""
        if status != "success" and self._inner is not None:
            self._inner.finalize(status)
            self._inner = None


class TensorBoard(Beside):
    """Log a run directory for TensorBoard, into its folder ``tensorboard``: `tensorboard --logdir runs`."""

    packages = ("tensorboardX", "tensorboard")
    extra = "tensorboard"

    def marker(self, run: Run) -> Path:
        """Return the folder."""
        return run.path / "tensorboard"

    def opened(self, run: Run) -> TensorBoardLogger:
        """Return Lightning's logger."""
        # named by the second in which it is opened: without more a test would write over a fit of that second
        own = f".{time.time_ns()}"
        return TensorBoardLogger(
            run.path, name="tensorboard", version="", default_hp_metric=False, filename_suffix=own
        )

    def log_files(self, run: Run, epochs: int) -> None:
        """Log the plots, and the units in words."""
        import matplotlib.pyplot as plt

        writer = self._inner.experiment
        for path in sorted(run.path.glob("*.png")):
            writer.add_image(path.stem, plt.imread(path), epochs, dataformats="HWC")
        units = "  \n".join(f"{name}: {unit}" for name, unit in run.units.items())
        writer.add_text("units", units, epochs)


class MLflow(Beside):
    """Log a run directory to MLflow: to ``MLFLOW_TRACKING_URI``, else into the folder ``mlruns``.

    ``mlflow-id.txt`` in the run directory names the MLflow run, so that a resumed training and a later test
    go on with the same one.

    Args:
        experiment: The MLflow experiment.
        name: Name of the run; that of the run directory if none is given.
    """

    packages = ("mlflow", "mlflow-skinny")
    extra = "mlflow"

    def __init__(self, experiment: str = "tlzoo", name: str | None = None) -> None:
        super().__init__()
        self._experiment, self._called = experiment, name

    def marker(self, run: Run) -> Path:
        """Return the file with the id."""
        return run.path / "mlflow-id.txt"

    def opened(self, run: Run) -> MLFlowLogger:
        """Return Lightning's logger, and write the id down."""
        from mlflow.exceptions import MlflowException

        marker = self.marker(run)
        # a folder needs no database and no server; since 3.7 MLflow has to be told that it is meant
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        try:
            found = MLFlowLogger(
                experiment_name=self._experiment,
                run_name=self._called or run.path.resolve().name,
                tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").resolve().as_uri(),
                run_id=marker.read_text(encoding="utf-8").strip() if marker.exists() else None,
            )
            write_text(marker, str(found.run_id))
        except MlflowException as error:
            raise UserError(f"MLflow did not start: {first_line(error)}") from error
        return found

    def log_files(self, run: Run, epochs: int) -> None:  # noqa: ARG002 (files have no epoch)
        """Log the plots, tables and the model."""
        files = [*sorted(run.path.glob("*.png")), run.predictions, *sorted(run.path.glob("model*"))]
        for path in [*files, run.path / "metrics.json"]:
            if path.is_file():
                self._inner.experiment.log_artifact(self._inner.run_id, str(path))


# As users write them, and as the resolved configuration has them.
CLASS_PATHS: Final = tuple(
    f"{module}.{name}"
    for module in ("tlzoo.tracking", "tlzoo.training.loggers")
    for name in ("TensorBoard", "MLflow")
)


def results(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what ``metrics.json`` says of each part, as ``results/PART/METRIC``."""
    for part in PARTS:
        for name, value in (metrics.get(part) or {}).items():
            if isinstance(value, int | float):
                yield f"results/{part}/{name}", float(value)


def _installed(package: str) -> bool:
    # not find_spec: a folder of that name would do for it
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
