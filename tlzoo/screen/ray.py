"""Shards computed by Ray: on this machine, or on a cluster; files are written by the process that asked.

A worker has the models in memory and reads its shards of the pool itself, so pool, models and the directory
of shards must be on a disk that all machines see. What comes out has the bytes of a screening without Ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tlzoo import ray_cluster
from tlzoo.errors import UserError
from tlzoo.ray_cluster import Place, first_line
from tlzoo.screen.screening import Request, Screening, alone
from tlzoo.screen.shards import Shards


def check() -> None:
    """Make sure that Ray is installed.

    Raises:
        UserError: It is not.
    """
    ray_cluster.check("--engine ray", "this machine: --engine local")


def run(screening: Screening, wanted: Sequence[int], jobs: int) -> Iterator[int]:
    """Compute and keep shards; yield the crystals of each when it is done.

    Args:
        screening: What is asked for; its domains are known.
        wanted: Numbers of the shards.
        jobs: Workers, of one core each. On the cluster that ``RAY_ADDRESS`` names, else on this machine.

    Raises:
        UserError: Ray is not installed or not to be reached, a worker was lost, or the pool is damaged.
    """
    check()
    import ray
    from ray.util import ActorPool

    ray_cluster.start(jobs)
    try:
        actor = ray.remote(Worker).options(num_cpus=1)
        folder = str(screening.shards.path.resolve())
        start = (Place.here(), screening.request, folder)
        pool = ActorPool([actor.remote(*start) for _ in range(min(jobs, len(wanted)))])
        for number, read, table in pool.map_unordered(
            lambda worker, number: worker.table.remote(number), wanted
        ):
            screening.shards.write(number, table)
            yield read
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:
        raise UserError(
            f"a worker of Ray was lost: {first_line(error)}; run the same command again, "
            "nothing finished is lost"
        ) from error
    finally:
        ray.shutdown()


class Worker:
    """Computes shards in a process of Ray's.

    Args:
        place: Where the screening runs.
        request: What is asked for.
        folder: The directory of the screening.
    """

    def __init__(self, place: Place, request: Request, folder: str) -> None:
        place.settle(threads=1)
        self._screening = Screening(request, Shards(Path(folder)))
        self._screening.open_domains()

    def table(self, number: int) -> tuple[int, int, Any]:
        """Return the number of a shard, how many crystals it has, and its answers."""
        part = next(self._screening.slices([number]))
        return number, len(part.crystals), self._screening.table(part, alone)
