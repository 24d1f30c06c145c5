"""`tlzoo fit|validate|test`: train, and measure, in a run directory."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tlzoo import plugins
from tlzoo.commands import say
from tlzoo.errors import UserError
from tlzoo.evaluation.results import intervals_text, results_table
from tlzoo.machine import distributed, latest
from tlzoo.model.cross_conformal import is_folds
from tlzoo.training import fitting, measuring
from tlzoo.training.configuration import RUN_DIR, Configuration
from tlzoo.training.resume import directory
from tlzoo.training.run import Run


def main(args: Sequence[str]) -> None:
    """Run one of the three commands; ``tlzoo test RUN`` takes data, model and weights from the run."""
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
    (folds, jobs), args = numbers(args, "--folds", "--jobs")
    if jobs is not None and folds is None:
        raise UserError("--jobs is how many folds are trained at a time: it goes with --folds K")
    with plugins.beside(*given(args, "--config", "-c")):
        config = Configuration.parsed(args)
        if folds is not None:
            fit_folds(config, folds, jobs)
            return
        run = fitting.fit(config)
    if distributed.rank() == 0 and not config.values.trainer.fast_dev_run:
        say(told(run.metrics, run))
        name = latest.called(Path(RUN_DIR), run.path)
        say(f"next: tlzoo test {name}; tlzoo predict {name} CRYSTALS")
        say(f"run directory: {run.path}")


def fit_folds(config: Configuration, folds: int, jobs: int | None) -> None:
    """Train once for each fold, and say what they are worth."""
    from tlzoo.transfer.folds import fold_trainings  # scikit-learn takes a second to import

    found = fold_trainings.fit_folds(config, folds, jobs=jobs, say=say)
    say(f"\n{found.text}")
    say(f"next: tlzoo predict {latest.called(Path(RUN_DIR), found.folder)} CRYSTALS")
    say(f"run directory: {found.folder}")


def numbers(args: Sequence[str], *flags: str) -> tuple[list[int | None], list[str]]:
    """Return the whole numbers that options have, None of one that is not there, and the other arguments.

    >>> numbers(["--folds", "5", "--config=a.yaml"], "--folds", "--jobs")
    ([5, None], ['--config=a.yaml'])
    >>> numbers(["--folds=many"], "--folds")
    Traceback (most recent call last):
    tlzoo.errors.UserError: --folds: a whole number is wanted, got 'many'
    """
    found: dict[str, int | None] = dict.fromkeys(flags)
    rest, words = [], iter(args)
    for word in words:
        name, equals, text = word.partition("=")
        if name not in found:
            rest.append(word)
            continue
        text = text if equals else next(words, "")
        try:
            found[name] = int(text)
        except ValueError as error:
            raise UserError(f"{name}: a whole number is wanted, got {text!r}") from error
    return [*found.values()], rest


def told(metrics: Mapping[str, Any], run: Run) -> str:
    """Return the errors of a run as a table, and what its intervals hold."""
    return "\n".join(filter(None, (results_table(metrics, run.labels), intervals_text(metrics))))


def given(args: Sequence[str], *flags: str) -> list[str]:
    """Return the values of an option.

    >>> given(["--config", "a.yaml", "--run_dir", "runs/a", "--config=b.yaml", "--config"], "--config", "-c")
    ['a.yaml', 'b.yaml']
    """
    after = [value for name, value in itertools.pairwise(args) if name in flags]
    joined = (arg.partition("=") for arg in args)
    return after + [value for name, _, value in joined if name in flags and value]


def measure(command: str, args: Sequence[str]) -> None:
    """Measure a run on its validation or test part."""
    trust, args = "--trust" in args, [arg for arg in args if arg != "--trust"]
    named = Run(Path(args[0])) if args and not args[0].startswith("-") else None
    if named is not None and (text := comparison(named)):
        say(text)
        return
    # beside what is typed, but not beside what somebody else may have written
    beside = given(args, "--config", "-c") + ([str(named.config)] if named is not None and trust else [])
    with plugins.beside(*beside) if beside else nullcontext():
        if named is not None:
            weights = given(args, "--ckpt_path")
            config = measuring.configuration(
                named, args[1:], weights=Path(weights[-1]) if weights else None, trust=trust
            )
        else:
            config = Configuration.parsed(args, command)
            config.values.run_dir = str(directory(config))
        measured = getattr(measuring, command)(config)
    if distributed.rank() > 0:
        return
    say(told(measured, config.run))
    if command == "test":
        run = config.run
        kind, plots = ("parity plot", run.parity_plots) if run.parity_plots else ("plots", run.class_plots)
        say(f"{kind}: {', '.join(map(str, plots))}\nrun directory: {run.path}")


def comparison(run: Run) -> str:
    """Return what a finished comparison of `tlzoo finetune` has found, if the directory holds one."""
    path = run.path / "verdict.md"
    if run.config.exists() or not path.is_file():
        return ""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    text = "".join(letter for letter in text if letter.isprintable() or letter == "\n")
    kind = "has folds, each" if is_folds(run.path) else "is a comparison,"
    return (
        f"{text}\n\n{run.path} {kind} measured when it was made: nothing was computed. On other "
        f"labelled crystals: tlzoo test {run.path} --on DATA"
    )
