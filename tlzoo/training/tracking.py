"""Runs on Weights & Biases: the only place that knows ``wandb``, and only when it is asked for.

What W&B shows is what the run directory holds: configuration, curves, groups that train, predictions, plots,
metrics and the exported model; and its lineage: the models whose weights it started from are its inputs, the
exported model and checkpoints made of it are its outputs. ``wandb-id.txt`` in the run directory names the W&B
run, so that a resumed training and a later test go on with the same one.
"""

import importlib.metadata
import logging
import os
import secrets
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from tlzoo.cards.artifact import SCHEME, has_key
from tlzoo.cards.lineage import input_artifact, model_artifact, started_from
from tlzoo.errors import UserError
from tlzoo.machine.files import write_text
from tlzoo.training import loggers
from tlzoo.training.loggers import Tracker
from tlzoo.training.run import Run, read_yaml
from tlzoo.training.task import Task

logger = logging.getLogger(__name__)

GROUP_COLUMNS = ["group", "parameters", "trains"]


class Wandb(Tracker):
    """Log a run directory to Weights & Biases; offline where there is no key.

    It belongs to the commands, which tell it the run directory. In scripts without one, take Lightning's
    ``WandbLogger``.

    Args:
        project: Project on W&B.
        entity: User or team it belongs to; the default one of the key if none is given.
        name: Name of the run; that of the run directory if none is given.
        group: Runs to show together, such as the trials of an experiment.
        tags: Words to find the run by.
    """

    def __init__(
        self,
        project: str = "tlzoo",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        try:
            # not find_spec: a folder of runs named wandb would do for it
            importlib.metadata.version("wandb")
        except importlib.metadata.PackageNotFoundError as error:
            raise UserError(
                "logging to Weights & Biases needs the package wandb: pip install tlzoo[wandb]; "
                "or go on without it: --trainer.logger false"
            ) from error
        self._project = project
        options = {"entity": entity, "name": name, "group": group, "tags": list(tags) if tags else None}
        self._options: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
        self._experiment: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str | None:
        """The id of the run on W&B, once it has begun."""
        return self._experiment.id if self._experiment else None

    @rank_zero_only
    def begin(self, run: Run) -> None:
        """Start, or go on with, the W&B run of a run directory, and log its configuration.

        Raises:
            UserError: W&B cannot be reached or does not accept the key.
        """
        import wandb

        # Copies of artifacts wait here for their upload; elsewhere an offline run would not be complete.
        os.environ.setdefault("WANDB_DATA_DIR", str((run.path / "wandb").resolve()))
        settings = wandb.Settings(silent=True, console="off")
        identity = run_id(run)
        try:
            mode = choose_mode(wandb.setup(settings).settings)
            self._experiment = wandb.init(
                project=self._project,
                dir=run.path,
                id=identity,
                resume="allow",
                mode=mode,
                settings=settings,
                **{"name": run.path.resolve().name, **self._options},
            )
        except wandb.Error as error:
            raise UserError(
                f"W&B did not start: {error}. WANDB_MODE=offline keeps the run in {run.path}"
            ) from error
        if self._experiment.offline:
            logger.warning(
                "W&B: offline%s; to upload the run later: wandb sync %s",
                "" if os.environ.get("WANDB_MODE") else ", there is no key (WANDB_API_KEY or `wandb login`)",
                run.path / "wandb" / f"offline-run-*-{identity}",
            )
        elif not self._experiment.disabled:
            logger.info("W&B: %s", self._experiment.url)
        # W&B's own steps count calls and start anew in a resumed run.
        for curves in ("train/*", "val/*"):
            self._experiment.define_metric(curves, step_metric="epoch")
        if run.config.exists():
            config = read_yaml(run.config)
            self.log_hyperparams(config)
            for origin in started_from(config.get("model", {})):
                self._start_from(origin["name"])

    def _start_from(self, name: str) -> None:
        """Declare a model as an input of the W&B run."""
        if self._experiment.disabled:
            return
        if self._experiment.offline:
            # use_artifact refuses offline, though the record that it writes can wait like any other
            self._experiment._log_artifact(input_artifact(name), is_user_created=True, use_after_commit=True)
        elif name.startswith(SCHEME):
            self._experiment.use_artifact(name.removeprefix(SCHEME))
        else:
            self._experiment.use_artifact(input_artifact(name))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Show the configuration."""
        content = vars(params) if isinstance(params, Namespace) else params
        self._experiment.config.update(content, allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a point to the curves."""
        self._experiment.log({**metrics, "trainer/global_step": step})

    @rank_zero_only
    def log_graph(self, model: nn.Module, input_array: Tensor | None = None) -> None:  # noqa: ARG002
        """Show the groups of the model, with sizes and whether they train; called when training starts."""
        if isinstance(model, Task) and model.group_rows:
            import wandb

            rows = [[row.name, row.parameters, row.trainable] for row in model.group_rows]
            self._experiment.log({"groups": wandb.Table(columns=GROUP_COLUMNS, data=rows)})

    @rank_zero_only
    def log_results(self, run: Run) -> None:
        """Log what a command left in the run directory: metrics, predictions, plots, model; and finish."""
        import wandb

        if self._experiment is None:
            self.begin(run)
        predictions = pd.read_csv(run.path / "predictions.csv", dtype={"id": str, "unit": str})
        # The test part comes last.
        predictions = predictions.tail(wandb.Table.MAX_ARTIFACT_ROWS).fillna({"unit": ""})
        plots = {path.stem: wandb.Image(str(path)) for path in sorted(run.path.glob("*.png"))}
        self._experiment.log({"predictions": wandb.Table(dataframe=predictions), **plots})
        # Beside the last values of the curves: metrics of the best epoch, in full precision.
        self._experiment.summary.update({"results": run.metrics})
        card = run.model.with_suffix(".json")
        if card.exists():
            weights = run.model.with_suffix(".safetensors")
            self._experiment.log_artifact(model_artifact(f"model-{self.version}", weights))
        self._finish(0)

    @rank_zero_only
    def log_checkpoint(self, run: Run, weights: Path) -> None:
        """Log a published checkpoint as an output of the run it was made of."""
        self.begin(run)
        self._experiment.log_artifact(model_artifact(weights.stem, weights))
        self._finish(0)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the W&B run where training stopped; after success, results are still to come."""
        if status != "success":
            self._finish(1)

    def _finish(self, code: int) -> None:
        if self._experiment is not None:
            self._experiment.finish(exit_code=code)
            self._experiment = None


# As users write it, and as the resolved configuration has it.
WANDB = ("tlzoo.tracking.Wandb", "tlzoo.training.tracking.Wandb")
# Of all trackers.
CLASS_PATHS = (*WANDB, *loggers.CLASS_PATHS)


def configured(config: Mapping[str, Any]) -> list[Wandb]:
    """Return the trackers that know checkpoints and that the resolved configuration of a run names."""
    given = (config.get("trainer") or {}).get("logger")
    each = given if isinstance(given, list) else [given]
    return [
        Wandb(**(one.get("init_args") or {}))
        for one in each
        if isinstance(one, Mapping) and one.get("class_path") in WANDB
    ]


def tell_sweep(config: Mapping[str, Any], numbers: Mapping[str, Any]) -> None:
    """Tell the sweep whose agent called this process what the run gave; texts and None are left out."""
    import wandb

    experiment = wandb.init(config=dict(config), settings=wandb.Settings(silent=True, console="off"))
    experiment.log({name: value for name, value in numbers.items() if isinstance(value, int | float)})
    experiment.finish()


def choose_mode(settings: Any) -> Literal["offline"] | None:  # noqa: ANN401 (of an optional package)
    """Return ``offline`` where there is no key, for which W&B would ask; else ``None``: as the settings say.

    Raises:
        UserError: ``WANDB_MODE`` asks to be online, but there is no key.
    """
    if settings.mode in {"offline", "dryrun", "disabled"} or has_key(settings):
        return None
    if os.environ.get("WANDB_MODE"):
        raise UserError(
            f"WANDB_MODE={settings.mode} needs a key, and there is none: set WANDB_API_KEY, "
            "call `wandb login`, or leave WANDB_MODE unset to stay offline"
        )
    return "offline"


def run_id(run: Run) -> str:
    """Return the W&B id of a run directory; a new one is written down."""
    path = run.path / "wandb-id.txt"
    if not path.exists():
        write_text(path, secrets.token_hex(4))
    return path.read_text().strip()


def trackers(trainer: pl.Trainer) -> list[Tracker]:
    """Return the loggers of a trainer that show a whole run directory."""
    return [tracker for tracker in trainer.loggers if isinstance(tracker, Tracker)]
