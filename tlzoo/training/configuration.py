"""What a training is of: a configuration, from a command line, a YAML file or a mapping, read and checked."""

import argparse
import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import lightning.pytorch as pl
import numpy as np
import yaml
from jsonargparse import Namespace, get_loader, set_loader
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.seed import seed_everything
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

# Importing them makes their short names known: `class_path: CGCNN`.
from tlzoo import backbones, freezing, heads, plugins  # noqa: F401
from tlzoo.data import splits  # noqa: F401
from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import UserError, first_line, no_such
from tlzoo.machine import yaml_text
from tlzoo.training import distillation, logger_names, tracking  # noqa: F401
from tlzoo.training.epoch_loop import EpochLoop
from tlzoo.training.explanation import explained
from tlzoo.training.run import Run
from tlzoo.training.task import Task

Tree = dict[str, Any]

TRAINER_DEFAULTS = {
    "devices": 1,  # several processes where they are asked for
    "log_every_n_steps": 1,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
    "enable_model_summary": False,  # the table of groups says it by name
}

# Of this one command, not of the experiment.
PASSING = ("config", "ckpt_path", "weights_only")

# Leads to the newest run in its folder; a run that nobody named a directory for goes there, too.
RUN_DIR: Final = "runs/latest"

# Measured by one process, however many trained, and in full precision, as `tlzoo predict` answers.
MEASURING = {"devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}


class TlzooCLI(LightningCLI):
    """Lightning's command line as a reader of configurations: it builds nothing and runs nothing.

    Args:
        args: Arguments of a command line, or a mapping as a YAML file holds it.
        command: The name of the command, for its help.
    """

    _built: ClassVar[LightningArgumentParser | None] = None

    def __init__(self, args: Sequence[str] | Mapping[str, Any], command: str = "fit") -> None:
        self.command = command
        plugins.load()
        super().__init__(
            Task,
            CrystalDataModule,
            args=dict(args) if isinstance(args, Mapping) else list(args),
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            trainer_defaults=TRAINER_DEFAULTS,
            parser_kwargs={"exit_on_error": False},
        )

    def setup_parser(self, *args: Any) -> None:  # noqa: ANN401 (Lightning's own arguments)
        """Build the parser once in a process: that takes as long as many epochs of a small network."""
        if TlzooCLI._built is None:
            set_loader("yaml", _bounded(get_loader("yaml")), (yaml.YAMLError,))
            super().setup_parser(*args)
            TlzooCLI._built = self.parser
        self.parser = TlzooCLI._built
        self.parser.prog = f"tlzoo {self.command}"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run directory, and where its weights come from."""
        add = parser.add_argument
        about = "Directory of the run; by default one for each configuration, and a link to the newest."
        add("--run_dir", type=str, default=RUN_DIR, help=about)
        add("--ckpt_path", type=str | None, default=None, help="Resume file to go on from, or to measure.")
        add("--weights_only", type=bool | None, default=None, help="As of Lightning's Trainer.fit.")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401 (Lightning's union)
        """Parse what was given, whatever ``sys.argv`` holds."""
        self.config = parser.parse_object(args) if isinstance(args, dict) else parser.parse_args(args)

    def _set_seed(self) -> None:
        """Leave the generators alone: reading is not training."""

    def instantiate_classes(self) -> None:
        """Build nothing."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a configuration builds: a task, its data, and arguments of Lightning's trainer."""

    task: Task
    data: CrystalDataModule
    trainer: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Configuration:
    """A configuration that has been read and checked: what the parser made of it, defaults included."""

    values: Namespace
    parser: LightningArgumentParser

    @classmethod
    def parsed(cls, args: Sequence[str] | Mapping[str, Any], command: str = "fit") -> Self:
        """Read the arguments of a command line, or a mapping as a YAML file holds it.

        Raises:
            UserError: They are no configuration; the message names the key.
        """
        given = with_loggers(_plain(args)) if isinstance(args, Mapping) else args
        with explaining(() if isinstance(given, Mapping) else given):
            cli = TlzooCLI(given, command)
        if isinstance(given, Mapping):
            sections = dict.fromkeys(action.dest.partition(".")[0] for action in cli.parser._actions)
            if unknown := [name for name in given if name not in sections]:
                raise UserError(no_such("section", unknown[0], [*sections]))
        return cls(cli.config, cli.parser)

    @property
    def run(self) -> Run:
        """The run directory."""
        return Run(Path(self.values.run_dir))

    @property
    def resolved(self) -> Tree:
        """The experiment in full, defaults included, as ``config.yaml`` of a run directory holds it."""
        text = self.parser.dump(self.values, skip_unset=False, format="yaml")
        tree: Tree = yaml.safe_load(text)
        return {key: value for key, value in tree.items() if key not in PASSING}

    def build(self) -> Experiment:
        """Seed all generators, then build what is described.

        Raises:
            UserError: A part refuses its arguments.
        """
        values = self.values
        if values.seed_everything is True:
            # a process that another one started takes its seed
            values.seed_everything = int(os.environ.get("PL_GLOBAL_SEED", secrets.randbelow(2**32)))
        if values.seed_everything is not False:
            if not 0 <= values.seed_everything < 2**32:
                raise UserError(
                    f"seed_everything must be 0 or more and less than 2**32, got {values.seed_everything}"
                )
            seed_everything(values.seed_everything, verbose=False)
        with explaining():
            try:
                built = self.parser.instantiate(self.values)
            except (ValueError, ImportError) as error:
                if isinstance(error, UserError):
                    raise
                # where a class is one of several possibilities, the parser says all that it tried
                reason: BaseException = error
                while reason.__cause__ is not None and not isinstance(reason, UserError):
                    reason = reason.__cause__
                named = re.search(r"class_path '([\w.]+)'", str(error))
                of = f"{named[1]} cannot be built: " if named else ""
                raise UserError(f"{of}{first_line(reason)}") from error
        return Experiment(built.model, built.data, dict(built.trainer))


def trainer_of(
    experiment: Experiment, callbacks: Sequence[pl.Callback], plugins: Sequence[Any], **settings: object
) -> pl.Trainer:
    """Build the trainer of an experiment: callbacks and plugins of its configuration, and ours."""
    given = {name: _listed(experiment.trainer[name]) for name in ("callbacks", "plugins")}
    ours = {"callbacks": [*given["callbacks"], *callbacks], "plugins": [*plugins, *given["plugins"]]}
    try:
        trainer = pl.Trainer(**{**experiment.trainer, **settings, **ours})
    except (MisconfigurationException, ImportError) as error:
        absent = "No supported gpu backend" in str(error)
        remedy = " This machine has none: --trainer.accelerator cpu, or leave it out" if absent else ""
        raise UserError(f"trainer: {error}{remedy}") from error
    EpochLoop.put_into(trainer)
    return trainer


def _plain(value: Any) -> Any:  # noqa: ANN401 (a tree)
    """Return a mapping as a YAML file would hold it: paths are texts, numbers of numpy are Python's."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value.item() if isinstance(value, np.generic) else value


def _bounded(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader of YAML that looks first at how much a text asks for."""

    def bounded(text: str) -> Any:  # noqa: ANN401 (what a file says)
        yaml_text.check(text)
        return with_loggers(load(text))

    return bounded


def with_loggers(tree: Any) -> Any:  # noqa: ANN401 (what a file says)
    """Return a configuration whose loggers have class paths instead of names."""
    trainer = tree.get("trainer") if isinstance(tree, dict) else None
    if not isinstance(trainer, dict) or "logger" not in trainer:
        return tree
    return {**tree, "trainer": {**trainer, "logger": logger_names.named(trainer["logger"])}}


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 (Lightning's union)
    return [] if value is None else list(value) if isinstance(value, list) else [value]


@contextlib.contextmanager
def explaining(args: Sequence[str] = ()) -> Iterator[None]:
    """Turn the parser's errors on arguments of a command line into those for users."""
    try:
        yield
    except argparse.ArgumentError as error:
        raise UserError(explained(error.message, TlzooCLI._built or argparse.ArgumentParser())) from error
    except UnicodeDecodeError as error:
        named = (Path(word.rpartition("=")[2]) for word in args)
        files = [str(path) for path in named if path.suffix and path.is_file()]
        where = " or ".join(files) or "the configuration"
        raise UserError(f"{where} cannot be read as text in UTF-8: {error}; save it so") from error
    except RecursionError as error:
        raise UserError("the configuration is nested too deep") from error
