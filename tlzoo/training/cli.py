"""`tlzoo fit|validate|test`: LightningCLI on a run directory."""

import argparse
import inspect
import itertools
import logging
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

# Importing them makes their short names known: `class_path: CGCNN`.
from tlzoo import backbones, freezing, heads, plugins
from tlzoo.data import splits
from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import UserError
from tlzoo.evaluation.results import results_table
from tlzoo.machine import distributed
from tlzoo.machine.files import write_text
from tlzoo.machine.runtime import multiplies_bf16
from tlzoo.model import checkpoint
from tlzoo.training import cluster
from tlzoo.training.history import History
from tlzoo.training.resume import Keep, ResumeFiles, load_weights, refuse_changes, resume_file, stopped
from tlzoo.training.run import Run
from tlzoo.training.task import Task
from tlzoo.training.tracking import trackers

logger = logging.getLogger(__name__)

# What an argument can be.
KINDS = {
    "model.backbone": backbones.Backbone,
    "model.head": heads.Head,
    "model.freezing": freezing.Freezing,
    "data.split": splits.Splitter,
}


class TlzooCLI(LightningCLI):
    """The three commands that train and measure, each working on a run directory."""

    def __init__(self, args: Sequence[str]) -> None:
        plugins.load()
        common = {"exit_on_error": False}
        super().__init__(
            Task,
            CrystalDataModule,
            args=list(args),
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults={
                "devices": 1,  # several processes where they are asked for
                "log_every_n_steps": 1,
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,
                "enable_model_summary": False,  # the table of groups says it by name
            },
            parser_kwargs={**common, **{name: dict(common) for name in self.subcommands()}},
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """The commands, and which of the trainer's arguments they do not take."""
        commands = LightningCLI.subcommands()
        return {name: commands[name] for name in ("fit", "validate", "test")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run directory."""
        parser.add_argument("--run_dir", type=str, default="runs/latest", help="Directory of the run.")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401 (Lightning's union)
        """Parse what was given, whatever ``sys.argv`` holds."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: what the user typed is never overridden by a checkpoint."""

    @property
    def run(self) -> Run:
        """The run directory of this command."""
        return Run(Path(self._get(self.config, "run_dir")))

    def before_instantiate_classes(self) -> None:
        """Resume a run that is there; measure its best epoch unless another is named."""
        config = self.config[self.subcommand]
        if self.subcommand == "fit":
            if self.run.last.exists():
                refuse_changes(self.run, self._resolved())
                config.ckpt_path = config.ckpt_path or str(self.run.last)
            if config.ckpt_path is not None:
                resume_file(Path(config.ckpt_path))
        else:
            # Measured in full precision, as `tlzoo predict` answers.
            config.trainer.precision = "32-true"
            config.verbose = False
            self.weights = Path(config.ckpt_path or self.run.best)
            config.ckpt_path = None
            resume_file(self.weights)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:  # noqa: ANN401 (the trainer's own arguments)
        """Build the trainer; resume files and history go to the run directory."""
        folder = self.run.path
        if self._get(self.config, "trainer.logger") in (None, True):
            kwargs["logger"] = False
        kwargs["default_root_dir"] = folder
        if self._get(self.config, "trainer.enable_progress_bar") is None:
            # in a file of a batch job a bar is thousands of lines
            kwargs["enable_progress_bar"] = sys.stdout.isatty()
        bar = kwargs.get("enable_progress_bar", self._get(self.config, "trainer.enable_progress_bar"))
        if self.subcommand == "fit":
            given = self._get(self.config_init, "trainer.plugins") or []
            given = given if isinstance(given, list) else [given]
            kwargs["plugins"] = [ResumeFiles(), *cluster.plugins(), *given]
            self.trainer_defaults["callbacks"] = [
                History(folder, lines=not bar),
                Keep(folder, "best", monitor=self.model.monitor),
                Keep(folder, "last"),
                cluster.Stop(lambda: stopped(self.run)),
            ]
        else:
            kwargs["enable_checkpointing"] = False
        with cluster.explained():
            trainer = super().instantiate_trainer(**kwargs)
        cluster.check_start(trainer, self.subcommand)
        cluster.share_threads(trainer)
        if not trainer.is_global_zero:
            # what is true of all is said once
            logging.getLogger("tlzoo").setLevel(logging.ERROR)
            warnings.simplefilter("ignore")
        on_cpu = trainer.strategy.root_device.type == "cpu"
        if on_cpu and trainer.precision.startswith("bf16") and not multiplies_bf16():
            logger.warning(
                "this processor has no instructions for bf16: a training takes several times as long as in "
                "fp32, which is more precise; leave trainer.precision out"
            )
        self.trackers = trackers(trainer)
        if self.subcommand != "fit":
            # Curves belong to training; trackers are told the results.
            trainer.loggers = []
        return trainer

    def _resolved(self) -> dict[str, Any]:
        text = self.parser.dump(self.config, skip_unset=False, format="yaml")
        resolved: dict[str, Any] = yaml.safe_load(text)[self.subcommand]
        return {
            key: value
            for key, value in resolved.items()
            if key not in ("config", "ckpt_path", "weights_only")
        }

    def before_fit(self) -> None:
        """Refuse what could not be stored afterwards; write what is known before training."""
        checkpoint.check_storable(self.model.backbone, self.model.head, export=self.model.export)
        if not self.trainer.is_global_zero:
            return
        self.run.open(self.datamodule, int(self._get(self.config, "seed_everything")))
        write_text(self.run.config, yaml.safe_dump(self._resolved(), sort_keys=False))
        for tracker in self.trackers:
            tracker.begin(self.run)

    def fit(self, **kwargs: Any) -> None:  # noqa: ANN401 (Trainer.fit's own arguments)
        """Train, then say where the state is if training was interrupted."""
        try:
            self.trainer.fit(**kwargs)
        except (KeyboardInterrupt, SystemExit) as stop:
            raise UserError(stopped(self.run)) from stop

    def after_fit(self) -> None:
        """Take the best epoch, predict training and validation part, export the model."""
        if self._get(self.config, "trainer.fast_dev_run"):
            return
        load_weights(self.model, self.run.best)
        metrics = self._evaluate("train", "val")
        if distributed.rank() > 0:
            return
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        self.run.close(sum(callback.seconds for callback in callbacks if isinstance(callback, History)))
        self.run.export(self.model, self.datamodule)
        say(results_table(metrics))
        say(f"run directory: {self.run.path}")
        self._track()

    def _track(self) -> None:
        for tracker in self.trackers:
            tracker.log_results(self.run)

    def _open(self) -> None:
        """Take the best epoch, or the one that was named; open the data."""
        load_weights(self.model, self.weights)
        data = self.datamodule
        with distributed.first():
            rows = data.used_rows
        self.model.head.check(data.target_values(rows), data.targets)
        data.open_graphs(self.model.backbone.graph)

    def _evaluate(self, *parts: str) -> dict[str, Any]:
        """Predict parts of the split, where the trainer would: its own loop would only do the same before."""
        self.model.to(self.trainer.strategy.root_device)
        metrics = self.run.evaluate(self.model, self.datamodule, parts)
        self.model.cpu()
        return metrics

    def validate(self, **_: Any) -> None:  # noqa: ANN401 (Trainer.validate's arguments)
        """Record the validation part."""
        cluster.in_all(self.trainer, self._validate)

    def _validate(self) -> None:
        self._open()
        metrics = self._evaluate("val")
        if distributed.rank() == 0:
            say(results_table(metrics))
            self._track()

    def test(self, **_: Any) -> None:  # noqa: ANN401 (Trainer.test's arguments)
        """Record the test part beside the trivial baselines of the same split."""
        cluster.in_all(self.trainer, self._test)

    def _test(self) -> None:
        self._open()
        self.datamodule.test_dataloader()  # refuses a split without a test part
        self._evaluate("test")
        if distributed.rank() > 0:
            return
        metrics = self.run.add_baselines(self.model, self.datamodule)
        self.run.export(self.model, self.datamodule)
        say(results_table(metrics))
        say(f"parity plot: {', '.join(map(str, self.run.parity_plots))}\nrun directory: {self.run.path}")
        self._track()


def say(text: str) -> None:
    """Write to standard output."""
    sys.stdout.write(text + "\n")


def quieten() -> None:
    """Leave on the screen what a user can act on."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("tlzoo").setLevel(logging.INFO)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # https://github.com/Lightning-AI/pytorch-lightning/issues/21326
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    # frozen parts are in eval mode on purpose
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    # a run directory is there to be resumed
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # batches are one gather from a memory map: workers would only copy them
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


def main(args: Sequence[str]) -> None:
    """Run one of the three commands; ``tlzoo test RUN`` takes configuration and weights from the run."""
    quieten()
    command, *rest = args
    if command != "fit" and rest and not rest[0].startswith("-"):
        run = Run(Path(rest[0]))
        if not run.config.is_file():
            raise UserError(f"{rest[0]} is no run directory: it has no config.yaml")
        # measured by one process, however many trained
        alone = ["--trainer.devices", "1", "--trainer.num_nodes", "1", "--trainer.strategy", "auto"]
        rest = ["--config", str(run.config), "--run_dir", rest[0], *alone, *rest[1:]]
    try:
        with plugins.beside(*(configs(rest) if command == "fit" else ())):
            TlzooCLI([command, *rest])
    except argparse.ArgumentError as error:
        raise UserError(explained(error.message)) from error
    except UserError as error:
        if number := distributed.rank():
            raise UserError(f"process {number}: {error}") from error
        raise


def configs(args: Sequence[str]) -> list[str]:
    """Return the configurations that arguments name.

    >>> configs(["--config", "a.yaml", "--run_dir", "runs/a", "--config=b.yaml", "--config"])
    ['a.yaml', 'b.yaml']
    """
    after = [value for name, value in itertools.pairwise(args) if name in ("--config", "-c")]
    return after + [arg.partition("=")[2] for arg in args if arg.startswith("--config=")]


def explained(message: str) -> str:
    """Add to the parser's message on a class that it does not know which ones there are."""
    unknown = re.search(r'key "(?P<key>[\w.]+)":.*dot import path string: (?P<name>\S+)', message, re.DOTALL)
    if unknown is None or unknown["key"] not in KINDS:
        return message
    there = sorted(kind.__name__ for kind in concrete(KINDS[unknown["key"]]))
    broken = "".join(f"; {problem}" for problem in plugins.load())
    return f"{unknown['key']}: there is no class {unknown['name']!r}; there are: {', '.join(there)}{broken}"


def concrete(kind: type) -> list[type]:
    """All classes of tlzoo and of plug-ins below another that can be built."""
    return [cls for cls in _below(kind) if not inspect.isabstract(cls)] + plugins.classes(kind)


def _below(kind: type) -> list[type]:
    children: list[type] = list(filter(plugins.is_own, kind.__subclasses__()))
    return children + [cls for child in children for cls in _below(child)]
