"""What short commands cost, against another checkout: ``python -m benchmarks startup --against PATH``.

Both are run by this interpreter, with nothing but their folder before the installed packages, in turns. A
figure is the time that processors spent, on the command and on all processes that it started: of a command
of seconds the wall says more about what else the machine does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import against
from benchmarks.against import HERE
from tlzoo.data import named

CRYSTALS = 60


class Case(NamedTuple):
    """A command, what makes its answer a matter of showing it, and what it is to cost of the other's."""

    name: str
    command: str
    target: float
    first: str = ""


QUICKSTART = (
    "finetune semiconductors --from cgcnn-mpt --head expt_gap "
    "--config {checkout}/configs/split/by-composition.yaml --run_dir quickstart"
)
CASES = (
    Case("predict one crystal", "predict cgcnn-fe one.cif -o out.csv", 0.5),
    Case("fit --help", "fit --help", 0.3),
    Case(f"check a folder of {CRYSTALS} crystals", "data check crystals", 0.4),
    Case("show the finished quickstart again", QUICKSTART, 0.25, first=QUICKSTART),
)


def measure(other: Path, repeats: int, threads: int, cases: Sequence[Case] = CASES) -> list[dict[str, Any]]:
    """Return a row per command: processor seconds of each repeat, of the other checkout and of this one."""
    found = []
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-startup-") as folder:
        sides = {"then": (other.resolve(), Path(folder) / "then"), "now": (HERE, Path(folder) / "now")}
        write(Path(folder) / "then")
        shutil.copytree(Path(folder) / "then", Path(folder) / "now")
        for case in cases:
            row: dict[str, Any] = {"name": case.name, "target": case.target, "then": [], "now": []}
            for checkout, work in sides.values():
                # once for the files that Python compiles and the system reads from disk
                cost(case.first or case.command, checkout, work, threads)
            for _ in range(repeats):
                for side, (checkout, work) in sides.items():
                    row[side].append(cost(case.command, checkout, work, threads))
            found.append(row)
    return found


def write(work: Path) -> None:
    """Write crystals of the embedded example, all in a folder and one beside it."""
    example = named.load("semiconductors")
    (work / "crystals").mkdir(parents=True)
    for number in range(CRYSTALS):
        example.structure(number).to(filename=str(work / "crystals" / f"{number}.cif"))
    example.structure(0).to(filename=str(work / "one.cif"))


def cost(command: str, checkout: Path, work: Path, threads: int) -> float:
    """Run a command of a checkout; return the processor seconds of it and its processes.

    Raises:
        RuntimeError: It failed.
    """
    words = command.format(checkout=checkout).split()
    return against.cost(words, checkout, work, threads, {"TLZOO_CACHE": str(work / "cache")}).cpu
