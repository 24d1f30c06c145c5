"""Measuring as a function: what a run is worth on a part of its crystals, or a model on other ones."""

import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl

from tlzoo import plugins
from tlzoo.backbones.backbone import Backbone
from tlzoo.cards.library import spelled
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits.ids import Rows
from tlzoo.data.splits.splitter import PARTS
from tlzoo.errors import UserError
from tlzoo.heads.head import Head
from tlzoo.machine import distributed
from tlzoo.model.description import build, flatten
from tlzoo.training import cluster, record
from tlzoo.training.configuration import MEASURING, Configuration, Experiment, Tree
from tlzoo.training.external import measured
from tlzoo.training.fitting import calm, evaluate, log_results, started
from tlzoo.training.in_memory import Table
from tlzoo.training.loggers import Tracker
from tlzoo.training.resume import load_weights, resume_file
from tlzoo.training.run import Run, read_yaml
from tlzoo.training.tracking import CLASS_PATHS, trackers

logger = logging.getLogger(__name__)

Part = Literal["val", "test"]
KINDS = {"backbone": Backbone, "head": Head}


def test(
    run: Run | Configuration | str | PathLike[str],
    *,
    data: CrystalDataModule | None = None,
    on: Table | str | Path | None = None,
    trust: bool = False,
    **external: Any,  # noqa: ANN401 (of another function)
) -> Mapping[str, Any]:
    """Measure a run on its test part, next to trivial baselines; same as `tlzoo test`.

    With ``on``, measure any model on other labelled crystals; no file of the model is changed.

    Args:
        run: A run, its directory, or the result of :func:`tlzoo.fit`. With ``on``, any model that
            :func:`tlzoo.load` takes.
        data: The data module of the same data, to avoid reading it again.
        on: Other labelled crystals, as for :func:`tlzoo.fit`; all of them are used.
        trust: Build any class that the configuration of the run names. Otherwise only classes of tlzoo, of
            plug-ins and of modules that are already imported are built, because somebody else's run could
            name any code.
        **external: With ``on``: ``targets``, ``unit`` and ``output`` of
            :func:`tlzoo.training.external.measured`.

    Returns:
        The content of ``metrics.json``: the errors of each part in the units of the targets.

    Raises:
        UserError: It is no finished run, its data cannot be read or are not those that it was trained with,
            or there is no test part.
    """
    if on is not None:
        name = run.path if isinstance(run, Run) else run
        if isinstance(name, Configuration) or data is not None or trust:
            raise UserError("on goes with the name or path of a model alone")
        return measured(spelled(name), on, **external)
    if external:
        raise UserError(f"{next(iter(external))} goes with on, the crystals to measure on")
    return _measure(run, "test", data, trust=trust)


def validate(
    run: Run | Configuration | str | PathLike[str],
    *,
    data: CrystalDataModule | None = None,
    trust: bool = False,
) -> Mapping[str, Any]:
    """Measure a run on its validation part; arguments, result and errors are those of :func:`test`."""
    return _measure(run, "val", data, trust=trust)


def configuration(
    run: Run, typed: Sequence[str] = (), *, weights: Path | None = None, trust: bool = False
) -> Configuration:
    """Return what a run is measured with: its data and its model, nothing else of what trained it.

    Args:
        run: The run.
        typed: Arguments of a command line on top.
        weights: Its resume file, which describes the model; by default that of the epoch that was kept.
        trust: Take the whole configuration, with whatever classes it names.

    Raises:
        UserError: It is no run, or its model is of a class that is neither tlzoo's nor registered.
    """
    run.check_begun()
    if run.path.is_symlink():  # runs/latest, which may lead elsewhere by the time
        run = Run(run.path.parent / run.path.readlink())
    tree = read_yaml(run.config)
    alone = [f"--trainer.{key}={value}" for key, value in MEASURING.items()]
    if not trust:
        tree = _described(run, tree, weights or run.best)
    kept = [f"--config={json.dumps(tree, default=str)}", f"--run_dir={run.path}", *alone]
    try:
        return Configuration.parsed([*kept, *typed], "test")
    except UserError as error:
        if typed:
            raise
        raise UserError(f"{run.config} cannot be used: {error}") from error


def _described(run: Run, tree: Tree, weights: Path) -> Tree:
    """Return the configuration of a run without what only training needs: no class of that is ever built."""
    sections = {name: tree.get(name) or {} for name in ("model", "data", "trainer")}
    if wrong := [name for name, section in sections.items() if not isinstance(section, dict)]:
        raise UserError(f"{run.config} is damaged: {wrong[0]} is no section; restore it")
    model, data, trainer = sections.values()
    spec = resume_file(weights).get("spec")
    if not isinstance(spec, Mapping):
        raise UserError(
            f"{weights} does not describe its model; if you trust who made {run.path}: --trust takes the "
            "description in its config.yaml"
        )
    loggers = trainer.get("logger")
    loggers = loggers if isinstance(loggers, list) else [loggers]
    told = [each for each in loggers if isinstance(each, Mapping) and each.get("class_path") in CLASS_PATHS]
    accelerator = trainer.get("accelerator")
    return {
        "seed_everything": tree.get("seed_everything", 0),
        "model": {
            **{name: _known(spec.get(name), name, run) for name in KINDS},
            "export": model.get("export", True),
            # intervals tell whether validation has chosen it
            "keep": model.get("keep", "best"),
        },
        # who is in which part is written down
        "data": {key: value for key, value in data.items() if key != "split"},
        "trainer": {"logger": told or False}
        # a name such as cpu, no path of a class
        | ({"accelerator": accelerator} if isinstance(accelerator, str) and accelerator.isalnum() else {}),
    }


def _known(part: Any, name: str, run: Run) -> Tree:  # noqa: ANN401 (whatever a file holds)
    """Return the description of a module that may be built: of tlzoo, a plug-in, or an imported module."""
    if not isinstance(part, Mapping) or not isinstance(part.get("class_path"), str):
        raise UserError(f"the resume files of {run.path} are damaged: they do not describe a {name}")
    path, arguments = part["class_path"], part.get("init_args") or {}
    if not isinstance(arguments, Mapping) or any(
        "class_path" in key.split(".") for key in flatten(arguments)
    ):
        raise UserError(f"the resume files of {run.path} describe a {name} whose arguments are no plain data")
    described = {"class_path": path, "init_args": dict(arguments)}
    module, _, called = path.rpartition(".")
    there = getattr(sys.modules.get(module), called, None)
    if not (isinstance(there, type) and issubclass(there, KINDS[name]) and not plugins.is_own(there)):
        try:
            build(described)
        except UserError as error:
            if path.startswith("tlzoo."):
                raise
            raise UserError(
                f"{error}. If {run.path} is your own, or you trust who made it, --trust builds all that its "
                f"config.yaml names; where {module} lies in a folder of its own, PYTHONPATH=FOLDER finds it"
            ) from error
    return described


def _measure(
    run: Run | Configuration | str | PathLike[str],
    part: Part,
    known: CrystalDataModule | None,
    *,
    trust: bool,
) -> Mapping[str, Any]:
    if not isinstance(run, Configuration):
        run = configuration(run if isinstance(run, Run) else Run(Path(spelled(run))), trust=trust)
    run.values.trainer.precision = MEASURING["precision"]
    weights = Path(run.values.ckpt_path or run.run.best)
    resume_file(weights)
    split = record.written(run.run, weights)
    if split is None:
        logger.warning("nothing beside %s says which crystals it was trained on: these may be some", weights)
    split_given = run.values.data.split is not None
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

        def work() -> None:
            load_weights(experiment.task, weights)
            with distributed.first():
                if split is not None:
                    record.restore(split, experiment.data, split_given=split_given)
                rows = experiment.data.used_rows
            _record(run.run, experiment, trainer, part, rows, told)

        with run.run.held() if trainer.is_global_zero else contextlib.nullcontext():
            cluster.in_all(trainer, work)
    return run.run.metrics


def _record(
    run: Run, experiment: Experiment, trainer: pl.Trainer, part: Part, rows: Rows, told: list[Tracker]
) -> None:
    """Predict the part, and bring the files of the run up to date."""
    task, data = experiment.task, experiment.data
    task.head.check(data.target_values(rows), data.targets)
    data.open_graphs(task.backbone.graph)
    if part == "test":
        data.test_dataloader()  # refuses a split without a test part
    evaluate(run, experiment, trainer, part)
    if distributed.rank() > 0:
        return
    if part == "test":
        run.add_baselines(task, data)
        run.draw_map(task, data, PARTS)
        run.export(task, data)
    log_results(told, run)
