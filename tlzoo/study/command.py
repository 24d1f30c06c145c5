"""`tlzoo study run|status|table FILE`: a grid of trainings, resumable, tuned on validation."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(args: Sequence[str]) -> int:
    """Parse the command line and run one of the commands."""
    given = parser().parse_args(args)
    from tlzoo.study import execution, grid
    from tlzoo.study.backends import Here, Processes
    from tlzoo.study.folder import Folder

    study = grid.load(given.file)
    folder = Folder(given.dir or study.folder)
    only = study.only(given.only)
    backend = Here() if given.jobs == 1 else Processes(given.jobs)
    done = execution.Execution(study, folder, backend, say, only, given.limit).run()
    say(f"{done.done} of {done.total} runs are done, {done.failed} failed; results: {folder.results}")
    return 1 if done.failed else 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="tlzoo study", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="train and test what is not there yet")
    running.add_argument("file", type=Path, metavar="FILE")
    running.add_argument("--dir", type=Path)
    running.add_argument("--jobs", type=int, default=1)
    running.add_argument("--only", nargs="+", action="extend", default=[])
    running.add_argument("--limit", type=int)
    return parser


def say(text: str) -> None:
    """Write to standard output at once: the next line may take minutes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
