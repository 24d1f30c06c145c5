"""Speed and cost of a study's backends: ``python -m benchmarks.studies [--runs N] [--jobs N]``.

The runs are tiny (CGCNN 8 wide, an epoch on 163 crystals), so that what a backend adds to them is seen. Each
backend computes some runs first, in which its processes start and read the data; their time is told apart.
CPU time is that of this process and all below it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from tlzoo.machine import runtime
from tlzoo.study.backends import Backend, Here, Processes
from tlzoo.study.job import Job
from tlzoo.study.ray_runs import Ray

TREE = {
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
    given = parser.parse_args(arguments)
    runtime.configure(threads=1)
    print(f"{'':14}{'start, s':>10}{'runs/hour':>12}{'CPU s/run':>12}")
    for name, backend in (
        ("here", Here()),
        (f"{given.jobs} processes", Processes(given.jobs)),
        (f"Ray, {given.jobs}", Ray(given.jobs)),
    ):
        cost = measure(backend, given.runs)
        print(f"{name:14}{cost.start:10.1f}{3600 / cost.wall:12,.0f}{cost.cpu:12.2f}", flush=True)


def measure(backend: Backend, runs: int) -> Cost:
    """Compute runs and return what they took."""
    with tempfile.TemporaryDirectory() as folder, backend:
        jobs = (
            Job(str(i), {}, {**TREE, "seed_everything": i}, (), Path(folder) / str(i)) for i in range(10**9)
        )
        begun = time.monotonic()
        compute(backend, jobs, 2 * backend.slots)
        warm, used = time.monotonic(), cpu_seconds()
        compute(backend, jobs, runs)
        return Cost(warm - begun, (time.monotonic() - warm) / runs, (cpu_seconds() - used) / runs)


def compute(backend: Backend, jobs: Iterator[Job], runs: int) -> None:
    """Compute so many runs, each by itself: what a backend adds is to be seen."""
    submitted = done = 0
    while done < runs:
        while submitted < runs and submitted - done < backend.slots:
            backend.submit([next(jobs)])
            submitted += 1
        outcomes = [outcome for returned in backend.finished() for outcome in returned.outcomes]
        assert all(outcome.row["status"] == "done" for outcome in outcomes), outcomes[0].row
        done += len(outcomes)


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
