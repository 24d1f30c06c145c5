"""`tlzoo study run|status|table|report FILE`: a grid of trainings, resumable, tuned on validation."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tlzoo.errors import UserError

FORMATS = ("text", "markdown", "csv")


def main(args: Sequence[str]) -> int:
    """Parse the command line and run one of the commands."""
    given = parser().parse_args(args)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": _run,
        "status": _status,
        "table": _table,
        "report": _report,
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
    running, table = commands.choices["run"], commands.choices["table"]
    running.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes, of one thread each if several"
    )
    running.add_argument("--limit", type=int, metavar="N", help="stop after so many runs")
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
    table.add_argument("--format", choices=FORMATS, default="text", help="default: %(default)s")
    commands.choices["report"].add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PAGE.html",
        help="the page; figures go beside it (default: report.html in the directory of the results)",
    )
    return parser


def _run(given: argparse.Namespace) -> int:
    for name in ("jobs", "limit"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")
    from tlzoo.study import backends, document, execution
    from tlzoo.study.folder import Folder

    study = document.load(given.file)
    folder = Folder(given.dir or study.folder)
    backend = backends.Here() if given.jobs == 1 else backends.Processes(given.jobs)
    done = execution.Execution(study, folder, backend, say, study.only(given.only), given.limit).run()
    say(f"{study.name}: {done.line()}\nresults: {folder.results}")
    return 1 if done.failed else 0


def _status(given: argparse.Namespace) -> int:
    from tlzoo.study import document
    from tlzoo.study.folder import Folder
    from tlzoo.study.progress import Progress

    study = document.load(given.file)
    folder = Folder(given.dir or study.folder)
    progress = Progress.of(study, folder.rows(), study.only(given.only))
    say(f"{study.name}: {progress.line(len(folder.claimed()))}\n\n{progress.by_axis()}")
    if failures := progress.failures():
        say(f"\nfailed:\n{failures}")
    return 0


def _table(given: argparse.Namespace) -> int:
    from tlzoo.study import document, table
    from tlzoo.study.gathering import column, results

    study = document.load(given.file)
    by, choose = study.names(given.by, "--by"), study.names(given.choose, "--choose")
    found = results(study, given.dir)
    for name, values in study.only(given.only).items():
        found = found[found[name].isin([column(study.axes[name], value) for value in values])]
    summary = table.summary(study, found, choose)
    if summary.empty:
        raise UserError(
            f"there are no results yet in {given.dir or study.folder}; begin: tlzoo study run {given.file}"
        )
    say(table.render(study, summary, by, choose, given.format))
    return 0


def _report(given: argparse.Namespace) -> int:
    if given.output is not None and given.output.suffix != ".html":
        raise UserError(f"-o {given.output}: wanted the name of a page, such as report.html")
    from tlzoo.study import document
    from tlzoo.study.folder import Folder
    from tlzoo.study.report import page

    study = document.load(given.file)
    folder = Folder(given.dir or study.folder)
    command = ["tlzoo", "study", "report", str(given.file)]
    command += ["--dir", str(given.dir)] if given.dir else []
    command += ["-o", str(given.output)] if given.output else []
    command += ["--only", *given.only] if given.only else []
    output = given.output or folder.path / "report.html"
    written = page.write(study, folder, output, study.only(given.only), shlex.join(command))
    say("\n".join(map(str, written)))
    return 0


def _names(text: str) -> list[str]:
    return text.split(",")


def say(text: str) -> None:
    """Write to standard output at once: the next line may take minutes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
