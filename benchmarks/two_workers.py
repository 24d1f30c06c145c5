"""A screening by Ray with two workers, against one process: ``python -m benchmarks.two_workers``.

On one machine, in turns. Of two pools the difference is taken: what a further crystal costs, without
starting and warming up; of the differences, the median. Processor time is that of the command and of all
below it, told apart by whose it is; a busy machine changes it little. What is lost of it, workers have spent
on something else than one process. By the wall, which counts on a machine that does nothing else, what they
waited is lost, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
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
EVERY: Final = 0.1  # seconds between two looks at the processes, of which the last is lost
# Whose processor time is.
COMMAND, WORKERS, SERVICE = "command", "workers", "Ray's own"


class Cost(NamedTuple):
    """Seconds of a command: by the wall, and of processors, by whose they are."""

    wall: float
    cpu: dict[str, float]


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
        whose = Counter[str]()
        for who, spent in used.values():
            whose[who] += spent
    return Cost(time.monotonic() - begun, dict(whose))


def seconds(process: psutil.Process) -> dict[int, tuple[str, float]]:
    """Return whose a process and all below it are, and their processor seconds, by number."""
    found = {}
    for each in (process, *_below(process)):
        try:
            times, words = each.cpu_times(), " ".join(each.cmdline())
        except psutil.NoSuchProcess:
            continue
        found[each.pid] = (
            COMMAND if each == process else WORKERS if _computes(words) else SERVICE,
            times.user + times.system,
        )
    return found


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _computes(words: str) -> bool:
    """Whether a command line is that of a worker: of ours, or of an actor with shards to compute."""
    ray = "/ray/" in words or words.startswith("ray::")
    return not ray or ("ray::" in words and "MapWorker" in words)


def further(few: Sequence[Cost], many: Sequence[Cost], crystals: int) -> dict[str, float]:
    """Return the seconds of a million further crystals, by the wall and by whose: medians over the turns.

    >>> one, two = Cost(3.0, {"command": 2.0}), Cost(5.0, {"command": 3.0, "workers": 0.5})
    >>> further([one], [two], 1000)
    {'wall': 2000.0, 'command': 1000.0, 'workers': 500.0, "Ray's own": 0.0, 'CPU': 1500.0}
    """
    pairs = list(zip(few, many, strict=True))
    found = {"wall": [more.wall - less.wall for less, more in pairs]}
    for who in (COMMAND, WORKERS, SERVICE):
        found[who] = [more.cpu.get(who, 0.0) - less.cpu.get(who, 0.0) for less, more in pairs]
    found["CPU"] = [sum(more.cpu.values()) - sum(less.cpu.values()) for less, more in pairs]
    return {name: median(each) / crystals * 1e6 for name, each in found.items()}


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
    each = {way: further(found[way, few], found[way, many], many - few) for way in WAYS}
    columns = list(each["one process"])
    print(f"{'seconds per million further crystals':38}" + "".join(f"{name:>11}" for name in columns))
    for way, (workers, _) in WAYS.items():
        here, one = each[way], each["one process"]
        lost = here["wall"] * workers / one["wall"] - 1, here["CPU"] / one["CPU"] - 1
        print(f"{way:38}" + "".join(f"{here[name]:11,.0f}" for name in columns))
        if workers > 1:
            print(f"  lost: {100 * lost[0]:.0f} % by the wall, {100 * lost[1]:.0f} % of processors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
