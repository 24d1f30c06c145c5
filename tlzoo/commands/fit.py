"""`tlzoo fit|validate|test`: train, and measure, in a run directory."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from tlzoo import plugins
from tlzoo.commands import say
from tlzoo.errors import UserError
from tlzoo.evaluation.results import results_table
from tlzoo.machine import distributed
from tlzoo.training import fitting, measuring
from tlzoo.training.configuration import MEASURING, Configuration
from tlzoo.training.run import Run


def main(args: Sequence[str]) -> None:
    """Run one of the three commands; ``tlzoo test RUN`` takes configuration and weights from the run."""
    command, *rest = args
    try:
        fit(rest) if command == "fit" else measure(command, rest)
    except UserError as error:
        if number := distributed.rank():
            raise UserError(f"process {number}: {error}") from error
        raise


def fit(args: Sequence[str]) -> None:
    """Train."""
    # the parser shows what it has read so far
    args = sorted(args, key=lambda arg: arg.startswith("--print_config"))
    with plugins.beside(*named_in(args)):
        config = Configuration.parsed(args)
        run = fitting.fit(config)
    if distributed.rank() == 0 and not config.values.trainer.fast_dev_run:
        say(f"{results_table(run.metrics, run.labels)}\nrun directory: {run.path}")


def named_in(args: Sequence[str]) -> list[str]:
    """Return the configurations that arguments name.

    >>> named_in(["--config", "a.yaml", "--run_dir", "runs/a", "--config=b.yaml", "--config"])
    ['a.yaml', 'b.yaml']
    """
    after = [value for name, value in itertools.pairwise(args) if name in ("--config", "-c")]
    return after + [arg.partition("=")[2] for arg in args if arg.startswith("--config=")]


def measure(command: str, args: Sequence[str]) -> None:
    """Measure a run on its validation or test part."""
    if args and not args[0].startswith("-"):
        run = Run(Path(args[0]))
        run.check_begun()
        alone = [f"--trainer.{key}={value}" for key, value in MEASURING.items()]
        args = [f"--config={run.config}", f"--run_dir={args[0]}", *alone, *args[1:]]
    config = Configuration.parsed(args, command)
    measured = getattr(measuring, command)(config)
    if distributed.rank() > 0:
        return
    say(results_table(measured, config.run.labels))
    if command == "test":
        run = config.run
        kind, plots = ("parity plot", run.parity_plots) if run.parity_plots else ("plots", run.class_plots)
        say(f"{kind}: {', '.join(map(str, plots))}\nrun directory: {run.path}")
