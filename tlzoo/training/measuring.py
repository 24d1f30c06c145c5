"""Measuring as a function: what a run is worth on its validation or test part."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl

from tlzoo.data.module import CrystalDataModule
from tlzoo.machine import distributed
from tlzoo.training import cluster
from tlzoo.training.configuration import MEASURING, Configuration, Experiment, read_yaml
from tlzoo.training.fitting import calm, evaluate, log_results, started
from tlzoo.training.resume import load_weights, resume_file
from tlzoo.training.run import Run
from tlzoo.training.tracking import Wandb, trackers

Part = Literal["val", "test"]


def test(
    run: Run | Configuration | str | Path, *, data: CrystalDataModule | None = None
) -> Mapping[str, Any]:
    """Measure a run on its test part, beside the trivial baselines of the same split; what `tlzoo test` does.

    Args:
        run: The run, or its directory.
        data: The data module of the same data, so that nothing is read again.

    Returns:
        The content of ``metrics.json``: the errors of each part in the units of the targets.

    Raises:
        UserError: It is no finished run, its data cannot be read, or there is no test part.
    """
    return _measure(run, "test", data)


def validate(
    run: Run | Configuration | str | Path, *, data: CrystalDataModule | None = None
) -> Mapping[str, Any]:
    """Measure a run on its validation part; arguments, result and errors of :func:`test`."""
    return _measure(run, "val", data)


def _measure(
    run: Run | Configuration | str | Path, part: Part, known: CrystalDataModule | None
) -> Mapping[str, Any]:
    if not isinstance(run, Configuration):
        run = run if isinstance(run, Run) else Run(Path(run))
        run.check_begun()
        tree = read_yaml(run.config)
        alone = {**tree.get("trainer", {}), **MEASURING}
        run = Configuration.parsed({**tree, "run_dir": str(run.path), "trainer": alone})
    run.values.trainer.precision = MEASURING["precision"]
    weights = Path(run.values.ckpt_path or run.run.best)
    resume_file(weights)
    with calm():
        experiment = run.build()
        if known is not None:
            experiment.data.share(known)
        command = "test" if part == "test" else "validate"
        trainer = started(
            experiment, command, [], [], default_root_dir=run.run.path, enable_checkpointing=False
        )
        told = trackers(trainer)
        # curves belong to training; trackers are told the results
        trainer.loggers = []
        cluster.in_all(trainer, lambda: _record(run.run, experiment, trainer, part, weights, told))
    return run.run.metrics


def _record(
    run: Run, experiment: Experiment, trainer: pl.Trainer, part: Part, weights: Path, told: list[Wandb]
) -> None:
    """Predict the part with the weights, and bring the files of the run up to date."""
    task, data = experiment.task, experiment.data
    load_weights(task, weights)
    with distributed.first():
        rows = data.used_rows
    task.head.check(data.target_values(rows), data.targets)
    data.open_graphs(task.backbone.graph)
    if part == "test":
        data.test_dataloader()  # refuses a split without a test part
    evaluate(run, experiment, trainer, part)
    if distributed.rank() > 0:
        return
    if part == "test":
        run.add_baselines(task, data)
        run.export(task, data)
    log_results(told, run)
