"""What cannot live in the task: the history of a run."""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
from lightning.pytorch.callbacks import Checkpoint

from tlzoo.files import write_text


class History(Checkpoint):
    """One row of metrics per epoch, in ``history.csv``; a resumed run goes on where it stopped.

    A ``Checkpoint`` for Lightning, because those alone are called after the metrics of the epoch are logged.

    Args:
        folder: Where to write the file.

    Attributes:
        seconds: Time that the finished epochs took, validation included.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "history.csv"
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        self._clock = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Take the time."""
        self._clock = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Append the finished epoch, validation included, and write the table."""
        self.seconds += time.monotonic() - self._clock
        rate = trainer.optimizers[0].param_groups[-1]["lr"]
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}
        self.rows.append({"epoch": trainer.current_epoch, "learning_rate": float(rate), **metrics})
        write_text(self.path, pd.DataFrame(self.rows).to_csv(index=False))

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for the resume file."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of the interrupted run."""
        self.rows = list(state_dict["rows"])
        self.seconds = float(state_dict.get("seconds", 0.0))
