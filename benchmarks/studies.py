"""Speed and cost of a study's backends: ``python -m benchmarks.studies [--runs N] [--jobs N]``.

The runs are tiny (CGCNN 8 wide, on 163 crystals, an epoch unless ``--epochs`` says otherwise), so that what a
backend adds to them is seen. Each backend computes some runs first, in which its processes start and read the
data; their time is told apart. CPU time is that of this process and all below it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tlzoo.machine import runtime
from tlzoo.study.backends import Backend, Here, Processes
from tlzoo.study.job import Job
from tlzoo.study.ray_runs import Ray
from tlzoo.training.bundle import MOST

TREE: dict[str, dict[str, Any]] = {
    "model": {
        "backbone": {"class_path": "CGCNN", "init_args": {"dim": 8, "depth": 1}},
        "head": {"class_path": "Regression"},
    },
    "data": {"source": "semiconductors"},
    "trainer": {"max_epochs": 1, "accelerator": "cpu"},
}


class Cost(NamedTuple):
    """What runs took.

    Attributes:
        start: Seconds until every process had computed its first run.
        wall: Seconds per run after that.
        cpu: Seconds of CPU per run after that.
    """

    start: float
    wall: float
    cpu: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each backend and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="runs to measure (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=1, help="of each run (default: %(default)s)")
    given = parser.parse_args(arguments)
    TREE["trainer"]["max_epochs"] = given.epochs
    runtime.configure(threads=1)
    print(f"{'':14}{'start, s':>10}{'runs/hour':>12}{'CPU s/run':>12}")
    for name, backend, together in (
        ("here", Here(), 1),
        (f"here, {MOST} as one", Here(), MOST),
        (f"{given.jobs} processes", Processes(given.jobs), 1),
        (f"Ray, {given.jobs}", Ray(given.jobs), 1),
    ):
        cost = measure(backend, given.runs, together)
        print(f"{name:14}{cost.start:10.1f}{3600 / cost.wall:12,.0f}{cost.cpu:12.2f}", flush=True)


def measure(backend: Backend, runs: int, together: int) -> Cost:
    """Compute runs, so many as one, and return what they took."""
    with tempfile.TemporaryDirectory() as folder, backend:
        jobs = (
            Job(str(i), {}, {**TREE, "seed_everything": i}, (), Path(folder) / str(i)) for i in range(10**9)
        )
        begun = time.monotonic()
        compute(backend, jobs, 2 * backend.slots, 1)
        warm, used = time.monotonic(), cpu_seconds()
        compute(backend, jobs, runs, together)
        return Cost(warm - begun, (time.monotonic() - warm) / runs, (cpu_seconds() - used) / runs)


def compute(backend: Backend, jobs: Iterator[Job], runs: int, together: int) -> None:
    """Compute so many runs, each by itself or some as one."""
    submitted = done = under_way = 0
    while done < runs:
        while submitted < runs and under_way < backend.slots:
            some = [next(jobs) for _ in range(min(together, runs - submitted))]
            backend.submit(some)
            submitted += len(some)
            under_way += 1
        for returned in backend.finished():
            under_way -= 1
            assert all(outcome.row["status"] == "done" for outcome in returned.outcomes)
            assert len(returned.outcomes) == len(returned.jobs), "all of them are one training"
            done += len(returned.outcomes)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of all below it that live."""
    here = psutil.Process()
    return sum(_seconds(each) for each in (here, *here.children(recursive=True)))


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
