"""Ray with two workers against one process: ``python -m benchmarks.two_workers [WORK…]``.

What a million crystals cost to learn from (fine-tuning), to screen, and to compute a teacher's features of
their atoms for; and how much of two cores Ray loses. Work comes in equal pieces; what is done once the first
of each worker is finished counts, so that starting does not, and ways take turns. By the wall the machine
must have nothing else to do; seconds of processors, told apart by whose they are, say also on a busy one what
the workers spend on something else than one process. What two processes without Ray lose, too, is the
machine's: its cores share memory; the rest is Ray's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple
from unittest.mock import patch

import numpy as np
import psutil

from tlzoo.data import named
from tlzoo.machine import ray_cluster, runtime
from tlzoo.machine.ray_cluster import Place
from tlzoo.model.answering import alone
from tlzoo.model.trained import load
from tlzoo.screen import atom_embedding, local, ray_shards
from tlzoo.screen.screen_request import Request
from tlzoo.screen.screening import Screening
from tlzoo.screen.shards import Shards
from tlzoo.study.backends import Backend, Here, Processes
from tlzoo.study.job import Job
from tlzoo.study.ray_runs import Ray

ONE, TWO, RAY = "one process", "two processes", "Ray, two workers"
WORKERS: Final = {ONE: 1, TWO: 2, RAY: 2}
AGAINST: Final = {ONE: (), TWO: (ONE,), RAY: (ONE, TWO)}  # what each is compared with
FEW, MANY = 2, 8  # pieces of work, as many for one worker as for the other: those to start with, and all
# Whose processor time is.
COMMAND, THEIRS, SERVICE = "command", "workers", "Ray's own"

# Networks on 800 crystals each: start, data, epochs, crystals in a batch.
START, TUNED, EPOCHS, BATCH = "cgcnn-fe", "phonons", 3, 16
LEARNED, SPLIT = 800, {"class_path": "Random", "init_args": {"val": 80, "test": 385}}
# A screening, and a table of what a potential says of atoms: model, data, crystals in a piece.
MODEL, POOL, SHARD = "cgcnn-fe", "mp", 2048
TEACHER, TAUGHT, PART = "sevennet-l3i5", "phonons", 48


class Cost(NamedTuple):
    """Seconds of a crystal: by the wall, and of processors, by whose they are."""

    wall: float
    cpu: dict[str, float]


def fine_tuning(way: str, pieces: int, folder: Path) -> Iterator[int]:
    """Train and test networks, one after another in each process; yield the crystals each has seen."""
    tree = {
        "model": {
            "backbone": {"class_path": "tlzoo.zoo.backbone", "init_args": {"name": START}},
            "head": {"class_path": "Regression"},
        },
        "data": {"source": TUNED, "split": SPLIT, "batch_size": BATCH},
        "trainer": {"max_epochs": EPOCHS, "accelerator": "cpu"},
        "seed_everything": 0,
    }
    jobs = [Job(str(i), {}, tree, (), folder / str(i)) for i in range(pieces)]
    backend: Backend = {ONE: Here, TWO: partial(Processes, 2), RAY: partial(Ray, 2)}[way]()
    with backend:
        for job in jobs[: backend.slots]:
            backend.submit([job])
        waiting, done = deque(jobs[backend.slots :]), 0
        while done < pieces:
            for returned in backend.finished():
                (outcome,) = returned.outcomes
                if outcome.row["status"] != "done":
                    raise RuntimeError(str(outcome.row))
                if waiting:
                    backend.submit([waiting.popleft()])
                done += 1
                yield EPOCHS * LEARNED


def screening(way: str, pieces: int, folder: Path) -> Iterator[int]:
    """Screen the same crystals again and again; yield how many."""
    pool = repeated(POOL, SHARD, folder / "pool.parquet")
    screening = Screening(Request(models=[MODEL], pool=str(pool), shard=SHARD), Shards(folder / "shards"))
    screening.shards.path.joinpath("shards").mkdir(parents=True)
    screening.open_domains()
    run = ray_shards.run if way == RAY else local.run
    return run(screening, range(pieces), WORKERS[way])


def teaching(way: str, pieces: int, folder: Path) -> Iterator[int]:
    """Compute what a potential says of atoms, of the same crystals again and again; yield how many.

    `tlzoo embed` does not know Ray; here its pieces are given to two workers of Ray as they become free.
    """
    pool = repeated(TAUGHT, PART, folder / "pool.parquet")
    if way == RAY:
        return _by_ray(pool, pieces, folder)
    atoms = teacher(pool, folder)
    return local.run(atoms, range(pieces), WORKERS[way])


def teacher(pool: Path, folder: Path) -> atom_embedding.Atoms:
    """Return a potential, ready to be asked for its layers."""
    atoms = atom_embedding.Atoms(load(TEACHER), TEACHER, [str(pool)])
    atoms.shards = atom_embedding.AtomShards(folder / "table")
    (folder / "table" / "shards").mkdir(parents=True, exist_ok=True)
    return atoms


class Teacher:
    """Computes pieces in a process of Ray's."""

    def __init__(self, place: Place, pool: Path, folder: Path) -> None:
        place.settle(threads=1)
        patch.object(atom_embedding, "SHARD", PART).start()
        self._atoms = teacher(pool, folder)

    def compute(self, number: int) -> int:
        """Write a piece; return how many crystals it has."""
        (part,) = self._atoms.slices([number])
        self._atoms.shards.write(number, self._atoms.table(part, alone))
        return len(part.crystals)


def _by_ray(pool: Path, pieces: int, folder: Path) -> Iterator[int]:
    import ray
    from ray.util import ActorPool

    ray_cluster.start(2)
    try:
        actor = ray.remote(Teacher).options(num_cpus=1)
        workers = ActorPool([actor.remote(Place.here(), pool, folder) for _ in range(2)])
        yield from workers.map_unordered(lambda worker, number: worker.compute.remote(number), range(pieces))
    finally:
        ray.shutdown()


def repeated(data: str, size: int, path: Path) -> Path:
    """Write the same random crystals of a data set again and again, for pieces of work that are equal."""
    table = named.load(data)
    rows = np.random.default_rng(0).permutation(len(table))[:size]
    some = table.select(np.tile(rows, MANY))
    ids = [f"{name}-{place // size}" for place, name in enumerate(some.ids)]
    replace(some, ids=np.array(ids, dtype=object)).write_parquet(path)
    return path


WORK: Final[dict[str, Callable[[str, int, Path], Iterator[int]]]] = {
    "fine-tuning": fine_tuning,
    "screening": screening,
    "teaching": teaching,
}


def cost(work: str, way: str, folder: Path) -> Cost:
    """Return what a crystal costs, once each worker has finished its first piece."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        done = WORK[work](way, MANY, Path(own))
        deque(islice(done, FEW), maxlen=0)
        begun, before = time.monotonic(), spent()
        crystals = sum(islice(done, MANY - FEW))
        # the workers have not ended yet
        wall, after = time.monotonic() - begun, spent()
        deque(done, maxlen=0)
    cpu = dict.fromkeys((COMMAND, THEIRS, SERVICE), 0.0)
    for process, (who, seconds) in after.items():
        cpu[who] += (seconds - before.get(process, (who, 0.0))[1]) / crystals
    return Cost(wall / crystals, cpu)


def spent() -> dict[int, tuple[str, float]]:
    """Return of this process and all below it whose they are, and their processor seconds, by number."""
    here = psutil.Process()
    found = {}
    for each in (here, *here.children(recursive=True)):
        try:
            times, words = each.cpu_times(), " ".join(each.cmdline())
        except psutil.NoSuchProcess:
            continue
        found[each.pid] = COMMAND if each == here else whose(words), times.user + times.system
    return found


def whose(words: str) -> str:
    """Say whose a process is by its command line: a worker's, ours or in an actor of Ray's, or Ray's own."""
    if words.startswith("ray::"):
        return SERVICE if words.startswith("ray::IDLE") else THEIRS
    return SERVICE if "/ray/" in words else THEIRS


def lost(one: Cost, other: Cost, workers: float) -> tuple[float, float]:
    """Return what part of the time does not go into the work: by the wall, and of processors.

    Args:
        one: What the work costs.
        other: What it costs by the way that loses.
        workers: How many times as many work there.
    """
    return (
        1 - one.wall / (workers * other.wall),
        1 - sum(one.cpu.values()) / sum(other.cpu.values()),
    )


def said(values: Sequence[float], scale: float) -> str:
    """Return median and range."""
    low, middle, high = (f"{scale * each:,.0f}" for each in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_workers", description=__doc__)
    parser.add_argument("work", nargs="*", metavar="WORK", help=f"{', '.join(WORK)} (default: all)")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    given = parser.parse_args(arguments)
    if unknown := set(given.work) - set(WORK):
        parser.error(f"no work {', '.join(sorted(unknown))}; there is: {', '.join(WORK)}")
    runtime.configure(threads=1)
    os.environ.setdefault("RAY_worker_niceness", "0")  # else a busy machine holds up Ray alone
    print(f"seconds of a million crystals, median and range of {given.repeats}; most to be lost: 15 %")
    for work in given.work or WORK:
        found: dict[str, list[Cost]] = {way: [] for way in WORKERS}
        with (
            tempfile.TemporaryDirectory(prefix="tlzoo-bench-workers-") as folder,
            patch.object(atom_embedding, "SHARD", PART),
        ):
            for _ in range(given.repeats):
                for way, costs in found.items():
                    costs.append(cost(work, way, Path(folder)))
                    used = sum(costs[-1].cpu.values())
                    print(
                        f"{work}, {way}: {1e6 * costs[-1].wall:,.0f} s, {1e6 * used:,.0f} of processors",
                        file=sys.stderr,
                    )
        print(work)
        for way, costs in found.items():
            print(f"  {way:18} wall {said([each.wall for each in costs], 1e6)}", end="")
            print(f", processors {said([sum(each.cpu.values()) for each in costs], 1e6)}: ", end="")
            print(", ".join(f"{who} {1e6 * median(c.cpu[who] for c in costs):,.0f}" for who in costs[0].cpu))
            others = [
                other for other in WORKERS if WORKERS[other] < WORKERS[way] or (other, way) == (TWO, RAY)
            ]
            for other in others:
                workers = WORKERS[way] / WORKERS[other]
                walls, cpus = zip(*map(lost, found[other], costs, repeat(workers)), strict=True)
                print(f"    lost against {other}: {said(walls, 100)} % by the wall, ", end="")
                print(f"{said(cpus, 100)} % of processors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
