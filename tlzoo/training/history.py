"""What cannot live in the task: the history of a run."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
from lightning.pytorch.callbacks import Checkpoint

from tlzoo.crystals import with_unit
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.machine import distributed
from tlzoo.machine.files import write_text

logger = logging.getLogger(__name__)


class History(Checkpoint):
    """One row of metrics per epoch, in ``history.csv``; a resumed run goes on where it stopped.

    A ``Checkpoint`` for Lightning, because those alone are called after the metrics of the epoch are logged.

    Args:
        folder: Where to write the file.
        lines: Log a line per epoch, for where there is no progress bar.
        told: Called after each epoch.
        networks: How many are trained together: each has its share of the time.

    Attributes:
        seconds: Time that the finished epochs took, validation included.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lines: bool = False,
        told: Callable[[], None] | None = None,
        networks: int = 1,
    ) -> None:
        self.networks = networks
        self.path = folder / "history.csv"
        self.told = told
        self.lines = lines
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self._clock = 0.0
        self._crystals = 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Take the time."""
        self._clock = time.monotonic()
        self._crystals = 0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,  # noqa: ARG002
        pl_module: pl.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002 (Lightning's signature)
        batch: Batch,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Count the crystals."""
        self._crystals += batch[keys.NUM_CRYSTALS]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Append the finished epoch, validation included, and write the table."""
        seconds = (time.monotonic() - self._clock) / self.networks
        self.seconds += seconds
        (crystals,) = distributed.totals([self._crystals])
        rate = trainer.optimizers[0].param_groups[-1]["lr"]
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        # from 1; a run that was begun when they were counted from 0 goes on so
        epoch = self.rows[-1]["epoch"] + 1 if self.rows else trainer.current_epoch + 1
        self.rows.append({"epoch": epoch, "learning_rate": float(rate), **metrics})
        if not trainer.is_global_zero:
            return
        write_text(self.path, pd.DataFrame(self.rows).to_csv(index=False))
        if self.told is not None:
            self.told()
        if self.lines:
            logger.info(
                "epoch %d%s: %s, %.1f s, %.0f crystals/s",
                trainer.current_epoch + 1,
                f"/{trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else "",
                _measure(metrics, pl_module, trainer.datamodule.units),  # type: ignore[attr-defined]
                seconds,
                crystals / seconds,
            )

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for the resume file."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of the interrupted run."""
        self.rows = list(state_dict["rows"])
        self.seconds = float(state_dict.get("seconds", 0.0))


def _measure(metrics: Mapping[str, float], task: Any, units: Sequence[str]) -> str:  # noqa: ANN401
    """Return the metric by which epochs are compared, with its unit; else the training loss."""
    name = f"val/{task.head.monitor}"
    if name not in metrics:
        return f"train/loss {metrics['train/loss']:.4g}"
    unit = units[0] if len(units) == 1 and name == "val/mae" else ""
    return with_unit(f"{name} {metrics[name]:.4g}", unit)
