"""`tlzoo study COMMAND FILE`: a grid of trainings, resumable, tuned on validation."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tlzoo.errors import UserError

if TYPE_CHECKING:
    from tlzoo.study.backends import Backend

FORMATS = ("text", "markdown", "csv")


def main(args: Sequence[str]) -> int:
    """Parse the command line and run one of the commands."""
    given = parser().parse_args(args)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": _run,
        "status": _status,
        "table": _table,
        "report": _report,
        "sweep": _sweep,
        "pack": _pack,
        "unpack": _unpack,
    }
    return commands[given.command](given)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="tlzoo study", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "train and test what is not there yet; the same command goes on where it was stopped"),
        ("status", "say what is done, what failed and how long the rest takes"),
        ("table", "print mean ± standard deviation of the test errors"),
        ("report", "write a page with figures and all numbers, to look at"),
        ("sweep", "write what is not done yet as a sweep of W&B, whose agents compute it"),
        ("pack", "write what is done into one file, to hand on"),
        ("unpack", "take over what is done from such a file: it will not be computed again"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "file", type=Path, metavar="FILE", help="the study, for example configs/studies/NAME.yaml"
        )
        command.add_argument("--dir", type=Path, help="directory of the results (default: runs/studies/NAME)")
        command.add_argument(
            "--only",
            nargs="+",
            action="extend",
            default=[],
            metavar="AXIS=VALUE,VALUE",
            help="the runs with these values alone",
        )
    _add_running(commands.choices["run"])
    table = commands.choices["table"]
    table.add_argument(
        "--by", type=_names, default=[], metavar="A,B…", help="axes down the side, the others across"
    )
    table.add_argument(
        "--choose",
        type=_names,
        default=[],
        metavar="A,B…",
        help="of these axes show the value with the least mean validation error",
    )
    table.add_argument(
        "--baselines", action="store_true", help="the trivial baselines instead, on the same splits"
    )
    table.add_argument("--format", choices=FORMATS, default="text", help="default: %(default)s")
    commands.choices["report"].add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PAGE.html",
        help="the page; figures go beside it (default: report.html in the directory of the results)",
    )
    commands.choices["sweep"].add_argument(
        "-o", "--output", type=Path, required=True, metavar="SWEEP.yaml", help="the sweep, for `wandb sweep`"
    )
    commands.choices["pack"].add_argument(
        "-o", "--output", type=Path, required=True, metavar="RESULTS.parquet", help="the file"
    )
    commands.choices["unpack"].add_argument(
        "packed", type=Path, nargs="+", metavar="RESULTS.parquet", help="what `pack` wrote"
    )
    return parser


def _add_running(running: argparse.ArgumentParser) -> None:
    running.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time, of one thread each if several (default: 1; on Ray as many as fit)",
    )
    running.add_argument("--limit", type=int, metavar="N", help="stop after so many runs")
    running.add_argument("--id", metavar="ID", help="this run alone; W&B's agents call it so")
    running.add_argument(
        "--retry", action="store_true", help="also trainings that diverged, which are settled otherwise"
    )
    running.add_argument(
        "--backend", choices=["processes", "ray"], default="processes", help="default: %(default)s"
    )
    running.add_argument("--address", help="of a Ray cluster (default: $RAY_ADDRESS, else this machine)")
    running.add_argument("--cpus-per-run", type=float, metavar="X", help="cores of a run on Ray (default: 1)")
    running.add_argument(
        "--gpus-per-run",
        type=float,
        metavar="X",
        help="GPUs of a run on Ray, 0.25 for a quarter (default: 0)",
    )


def _run(given: argparse.Namespace) -> int:
    for name in ("jobs", "limit"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")
    from tlzoo.study import document, execution
    from tlzoo.study.study_folder import Folder

    study = document.load(given.file)
    folder = Folder(given.dir or study.folder)
    only = {**study.only(given.only), **(study.named(given.id) if given.id else {})}
    done = execution.Execution(study, folder, _backend(given), say, only, given.limit, given.retry).run()
    say(f"{study.name}: {done.line()}\nresults: {folder.results}")
    if given.id and os.environ.get("WANDB_SWEEP_ID"):
        from tlzoo.training import tracking

        row = folder.rows().get(given.id, {})
        tracking.tell_sweep(dict(row.get("labels", {})), row)
    return 1 if done.failed else 0


def _backend(given: argparse.Namespace) -> "Backend":
    from tlzoo.study import backends

    about_ray = {"address": given.address, "cpus": given.cpus_per_run, "gpus": given.gpus_per_run}
    options = {name: value for name, value in about_ray.items() if value is not None}
    if given.backend == "ray":
        if options.get("cpus", 1) <= 0 or options.get("gpus", 0) < 0:
            raise UserError("--cpus-per-run must be more than 0, --gpus-per-run 0 or more")
        from tlzoo.study.ray_runs import Ray

        return Ray(given.jobs, **options)
    if options:
        raise UserError("--address, --cpus-per-run and --gpus-per-run are about Ray: add --backend ray")
    return backends.Processes(given.jobs) if (given.jobs or 1) > 1 else backends.Here()


def _status(given: argparse.Namespace) -> int:
    from tlzoo.study import document
    from tlzoo.study.progress import Progress
    from tlzoo.study.study_folder import Folder

    study = document.load(given.file)
    folder = Folder(given.dir or study.folder)
    progress = Progress.of(study, folder.rows(), study.only(given.only))
    say(f"{study.name}: {progress.line(folder.claimed())}\n\n{progress.by_axis()}")
    if failures := progress.failures():
        say(f"\nfailed:\n{failures}")
    return 0


def _table(given: argparse.Namespace) -> int:
    from tlzoo.study import document, summary
    from tlzoo.study.ensembles import ensembles
    from tlzoo.study.gathering import baselines, column, results
    from tlzoo.study.study_folder import Folder

    study = document.load(given.file)
    if given.baselines:
        trivial = baselines(study, given.dir)
        if trivial.empty:
            raise UserError(
                f"there are no baselines in {given.dir or study.folder}; "
                f"say `baselines: true` in {given.file}, then run it"
            )
        say(summary.trivial(study, trivial, given.format))
        return 0
    by, choose = study.names(given.by, "--by"), study.names(given.choose, "--choose")
    found = results(study, given.dir)
    only = study.only(given.only)
    for name, values in only.items():
        found = found[found[name].isin([column(study.axes[name], value) for value in values])]
    folder = Folder(given.dir or study.folder)
    table = summary.summary(study, ensembles(study, folder, found, only), choose)
    if table.empty:
        raise UserError(
            f"there are no results yet in {given.dir or study.folder}; begin: tlzoo study run {given.file}"
        )
    say(summary.render(study, table, by, choose, given.format))
    return 0


def _report(given: argparse.Namespace) -> int:
    if given.output is not None and given.output.suffix != ".html":
        raise UserError(f"-o {given.output}: wanted the name of a page, such as report.html")
    from tlzoo.study import document
    from tlzoo.study.report import study_page
    from tlzoo.study.study_folder import Folder

    study = document.load(given.file)
    folder = Folder(given.dir or study.folder)
    command = ["tlzoo", "study", "report", str(given.file)]
    command += ["--dir", str(given.dir)] if given.dir else []
    command += ["-o", str(given.output)] if given.output else []
    command += ["--only", *given.only] if given.only else []
    output = given.output or folder.path / "report.html"
    written = study_page.write(study, folder, output, study.only(given.only), shlex.join(command))
    say("\n".join(map(str, written)))
    return 0


def _sweep(given: argparse.Namespace) -> int:
    import yaml

    from tlzoo.machine.files import write_text
    from tlzoo.study import document
    from tlzoo.study.progress import Progress
    from tlzoo.study.study_folder import Folder
    from tlzoo.study.sweep import sweep

    study = document.load(given.file)
    folder = Folder(given.dir or study.folder)
    progress = Progress.of(study, folder.rows(), study.only(given.only))
    if not progress.missing:
        raise UserError(f"nothing is left for a sweep: {progress.line()}")
    write_text(given.output, yaml.safe_dump(sweep(study, folder, progress), sort_keys=False))
    say(f"{len(progress.missing)} runs in {given.output}; begin: wandb sweep {given.output}")
    if progress.undecided:
        say(f"{len(progress.undecided)} more wait until tuning has chosen: write another one then")
    return 0


def _pack(given: argparse.Namespace) -> int:
    if given.output.suffix != ".parquet":
        raise UserError(f"-o {given.output}: wanted the name of a table, such as results.parquet")
    from tlzoo.study import document
    from tlzoo.study.packed import pack
    from tlzoo.study.study_folder import Folder

    study = document.load(given.file)
    say(f"{pack(study, Folder(given.dir or study.folder), given.output)} runs in {given.output}")
    return 0


def _unpack(given: argparse.Namespace) -> int:
    from tlzoo.study import document
    from tlzoo.study.packed import unpack
    from tlzoo.study.study_folder import Folder

    study = document.load(given.file)
    folder = Folder(given.dir or study.folder)
    for path in given.packed:
        say(f"{unpack(study, folder, path)} runs taken over from {path}")
    return _status(given)


def _names(text: str) -> list[str]:
    return text.split(",")


def say(text: str) -> None:
    """Write to standard output at once: the next line may take minutes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
