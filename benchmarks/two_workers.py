"""A screening by Ray with two workers, against one process: ``python -m benchmarks.two_workers``.

On one machine, in turns, by the wall if it does nothing else. Of two pools the difference is taken: what a
further crystal costs, without starting. What is lost is what two workers take beyond half of the time of one
process; processor time, which a busy machine changes little, is that of the command and of all below it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import numpy as np
import psutil

from tlzoo.data import named

HERE: Final = Path(__file__).parents[1]
WAYS: Final = {
    "one process": (1, ("--jobs", "1")),
    "two processes": (2, ("--jobs", "2")),
    "Ray, two workers": (2, ("--jobs", "2", "--engine", "ray")),
}
EVERY: Final = 0.2  # seconds between two looks at the processes


class Cost(NamedTuple):
    """Seconds of a command: by the wall, and of processors."""

    wall: float
    cpu: float


def cost(folder: Path, model: str, pool: Path, shard: int, options: Sequence[str]) -> Cost:
    """Screen a pool.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryDirectory(dir=folder) as own:
        command = [sys.executable, "-m", "tlzoo", "screen", model, str(pool), "-o", f"{own}/best.parquet"]
        command += ["--shard", str(shard), *options]
        environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        environment.pop("RAY_ADDRESS", None)
        begun, used = time.monotonic(), {}
        with (Path(own) / "log").open("w+b") as said:
            child = psutil.Popen(command, cwd=own, env=environment, stdout=said, stderr=subprocess.STDOUT)
            while child.poll() is None:
                used |= seconds(child)
                time.sleep(EVERY)
            if child.returncode:
                said.seek(0)
                raise RuntimeError(said.read().decode(errors="replace").strip()[-500:])
    return Cost(time.monotonic() - begun, sum(used.values()))


def seconds(process: psutil.Process) -> dict[int, float]:
    """Return the processor seconds of a process and of all below it, by number."""
    found = {}
    try:
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            found[each.pid] = times.user + times.system
    except psutil.NoSuchProcess:
        pass
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_workers", description=__doc__)
    parser.add_argument("--data", default="mp", help="data set to screen (default: mp)")
    parser.add_argument("--model", default="cgcnn-fe", help="default: cgcnn-fe")
    parser.add_argument("--crystals", type=int, nargs=2, default=(8192, 40960), help="sizes of the pools")
    parser.add_argument("--shard", type=int, default=2048, help="crystals of a shard (default: 2048)")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    given = parser.parse_args(arguments)
    table = named.load(given.data)
    order = np.random.default_rng(0).permutation(len(table))
    found: dict[tuple[str, int], list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-workers-") as name:
        folder = Path(name)
        for number in given.crystals:
            table.select(order[:number]).write_parquet(folder / f"{number}.parquet")
        for _ in range(given.repeats):
            for way, (_, options) in WAYS.items():
                for number in given.crystals:
                    pool = folder / f"{number}.parquet"
                    each = cost(folder, given.model, pool, given.shard, options)
                    found.setdefault((way, number), []).append(each)
    few, many = given.crystals
    each = {
        (way, kind): (
            median(getattr(one, kind) for one in found[way, many])
            - median(getattr(one, kind) for one in found[way, few])
        )
        / (many - few)
        * 1e6
        for way in WAYS
        for kind in Cost._fields
    }
    print(
        f"{'seconds per million further crystals':40}{'wall':>9}{'CPU':>9}{'lost, wall':>12}{'lost, CPU':>12}"
    )
    for way, (workers, _) in WAYS.items():
        wall, cpu = (each[way, kind] for kind in Cost._fields)
        lost = (
            wall * workers / each["one process", "wall"] - 1,
            cpu / each["one process", "cpu"] - 1,
        )
        print(f"{way:40}{wall:9,.0f}{cpu:9,.0f}" + "".join(f"{100 * part:10.0f} %" for part in lost))
    return 0


if __name__ == "__main__":
    sys.exit(main())
