"""Memory of a screening, against another checkout: ``python -m benchmarks screening --against PATH``.

Both screen one table, with one process, one after the other: crystals of a data set in random order, so that
shards are alike, and what grows is what a long screening piles up. While a shard is computed the resident
memory rises and falls: the most of each shard, and what is left after it, are to stay the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from tlzoo.data import named

HERE = Path(__file__).parents[1]
MODEL: Final = "cgcnn-fe"
EVERY: Final = 0.01  # seconds between two looks
TARGET: Final = 0.6  # of the other's peak
GROWTH: Final = 0.03  # from the first shard to the highest of all


def measure(against: Path, data: str, crystals: int, threads: int) -> dict[str, Any]:
    """Return of the other checkout and of this one: the peak, most during and least after each shard, MB."""
    table = named.load(data)
    table = table.select(np.random.default_rng(0).permutation(len(table))[:crystals])
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-screening-") as folder:
        work = Path(folder)
        table.write_parquet(work / "pool.parquet")
        found = {}
        for side, checkout in (("then", against.resolve()), ("now", HERE)):
            found[side] = watch(checkout, work, side, threads)
    return {"crystals": len(table), "data": data, "model": MODEL, "target": TARGET, "growth": GROWTH, **found}


def watch(checkout: Path, work: Path, side: str, threads: int) -> dict[str, Any]:
    """Screen a pool and look at the memory all the time.

    Raises:
        RuntimeError: It failed.
    """
    own = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
    options = ["-o", f"{side}.parquet", "--jobs", "1"]
    command = [sys.executable, "-m", "tlzoo", "screen", MODEL, "pool.parquet", *options]
    shards = work / f"{side}.shards" / "shards"
    peak = 0.0
    most: list[float] = []
    left: list[float] = []
    with (work / f"{side}.log").open("w+b") as said:
        child = subprocess.Popen(command, cwd=work, env=os.environ | own, stdout=said, stderr=said)
        while child.poll() is None:
            number = sum(1 for _ in shards.glob("[0-9]*.parquet"))
            if memory := resident(child.pid):
                now, highest = memory
                # between two looks it may have been higher; of each thread the system counts some pages late
                peak = max(peak, highest, now)
                most += [0.0] * (number + 1 - len(most))
                left += [now] * (number + 1 - len(left))
                most[number], left[number] = max(most[number], now), min(left[number], now)
            time.sleep(EVERY)
        if child.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip()[-500:]
            raise RuntimeError(f"tlzoo screen of {checkout} ended with {child.returncode}: {last}")
    return {"peak": peak, "most": most, "left": left[1:]}


def resident(process: int) -> tuple[float, float] | None:
    """Return the resident memory of a process and the most that it ever was, MB; None if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    facts = dict(line.split(":", 1) for line in lines)
    found = [int(facts[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM") if name in facts]
    return (found[0], found[1]) if found else None
