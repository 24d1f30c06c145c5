"""A process that measures: it prepares jobs and does them again whenever it is told to.

It reads requests from standard input and answers on standard output, one JSON object a line each. So tlzoo
and its peers, each in its own interpreter, can take turns and share what else happens on the machine. Peers
import this module too: it needs nothing but numpy.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHORTEST = 0.2  # seconds; an act that takes less is done several times in a row
STEPS = 3  # acts while memory is watched


class Job(NamedTuple):
    """Something to be timed.

    Attributes:
        act: Does the work once; may return the seconds that count as a float, else all of its time counts.
        crystals: How many crystals one act goes through.
        facts: What else is to be told, by name.
    """

    act: Callable[[], object]
    crystals: int
    facts: Mapping[str, float] = {}


@dataclass(frozen=True, eq=False)
class Table:
    """Crystals as the driver hands them over.

    Attributes:
        lattice: Row vectors in Å, ``(crystals, 3, 3)``.
        offsets: First atom of each crystal and the total, ``(crystals + 1,)``.
        numbers: Atomic numbers, ``(atoms,)``.
        frac_coords: Fractional coordinates, ``(atoms, 3)``.
        targets: Numbers of order one to learn, ``(crystals,)``.
        features: 92 features of the element of each atomic number, ``(numbers, 92)``.
    """

    lattice: NDArray[np.float64]
    offsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    frac_coords: NDArray[np.float64]
    targets: NDArray[np.float32]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.lattice)

    def write(self, path: str | Path) -> None:
        """Write to a file (.npz)."""
        np.savez(path, **vars(self))

    @classmethod
    def read(cls, path: str, first: int | None = None) -> Table:
        """Read the first crystals of a file."""
        with np.load(path) as arrays:
            table = cls(**arrays)
        stop = min(first or len(table), len(table))
        atoms = int(table.offsets[stop])
        return cls(
            table.lattice[:stop],
            table.offsets[: stop + 1],
            table.numbers[:atoms],
            table.frac_coords[:atoms],
            table.targets[:stop],
            table.features,
        )


def batches(crystals: int, size: int) -> list[NDArray[np.int64]]:
    """Cut the rows of a table into batches, in their order; the table is in random order already."""
    rows = np.arange(crystals)
    return np.split(rows, np.arange(size, crystals, size))


def serve(
    jobs: Mapping[str, Callable[..., Job]],
    answers: Mapping[str, Callable[..., dict[str, Any]]],
    *packages: str,
) -> None:
    """Serve requests until standard input ends.

    Args:
        jobs: What can be timed: from settings to a job.
        answers: What can be asked once: from settings to facts.
        packages: Whose versions are to be told.
    """
    # what libraries print must not get between the answers
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ready: dict[str, Job] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(request, jobs, answers, ready, packages)
        except Exception:  # noqa: BLE001 (whatever it is, the driver is told)
            answer = {"error": traceback.format_exc()}
        channel.write(json.dumps(answer) + "\n")
        channel.flush()


def _answer(
    request: dict[str, Any],
    jobs: Mapping[str, Callable[..., Job]],
    answers: Mapping[str, Callable[..., dict[str, Any]]],
    ready: dict[str, Job],
    packages: tuple[str, ...],
) -> dict[str, Any]:
    settings = request.get("settings", {})
    match request["do"]:
        case "prepare":
            job = ready[request["as"]] = jobs[request["name"]](**settings)
            job.act()
            return {"crystals": job.crystals, "facts": dict(job.facts)}
        case "repeat":
            return {"seconds": seconds(ready[request["as"]].act)}
        case "forget":
            ready.clear()
            return {}
        case "memory":
            return memory(jobs[request["name"]](**settings))
        case "versions":
            return {"python": sys.version.split()[0]} | {
                name: importlib.metadata.version(name) for name in packages
            }
        case _:
            return answers[request["name"]](**settings)


def seconds(act: Callable[[], object]) -> float:
    """Return the mean time of an act, done as often as it fits into the shortest time worth measuring."""
    total, acts = 0.0, 0
    while total < SHORTEST:
        start = time.perf_counter()
        own = act()
        total += own if isinstance(own, float) else time.perf_counter() - start
        acts += 1
    return total / acts


def memory(job: Job) -> dict[str, Any]:
    """Return the resident memory in MB before some acts and at its highest during them."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # free memory that the allocator keeps would hide what the acts need
    marks = Path("/proc/self/clear_refs")
    if not marks.exists():
        raise RuntimeError("peak memory is read from /proc, which only Linux has")
    before = _status("VmRSS")
    marks.write_text("5", encoding="ascii")  # forget the highest mark so far
    for _ in range(STEPS):
        job.act()
    return {"before": before, "peak": _status("VmHWM"), "crystals": job.crystals, "facts": dict(job.facts)}


def resident() -> float:
    """Return the resident memory of this process in MB."""
    return _status("VmRSS")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))
