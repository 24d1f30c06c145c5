"""Shards computed by Ray: on this machine, or on a cluster; files are written by the process that asked.

A worker has the models in memory and reads its shards of the pool itself, so pool, models and the directory
of shards must be on a disk that all machines see. What comes out has the bytes of a screening without Ray.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tlzoo import runtime
from tlzoo.errors import UserError
from tlzoo.screen.screening import Request, Screening, alone
from tlzoo.screen.shards import Shards

# What says where data, graphs and checkpoints are; a worker elsewhere has the environment of `ray start`.
HANDED_ON = ("TLZOO_", "MATMINER_DATA")


def check() -> None:
    """Make sure that Ray is installed.

    Raises:
        UserError: It is not.
    """
    try:
        # not find_spec: a folder of this name would do for it
        importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            "--engine ray needs the package ray: pip install tlzoo[ray]; or take this machine: --engine local"
        ) from error


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

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told
    given: dict[str, Any] = {"address": os.environ.get("RAY_ADDRESS")}
    if given["address"] is None:
        given = {"address": "local", "num_cpus": jobs, "include_dashboard": False}
    try:
        ray.init(**given, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # a node that does not start in time is a bare Exception of Ray
        raise UserError(
            f"Ray did not start: {error}; look at `ray status`, or call `ray start --head`"
        ) from error
    try:
        environment = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
        actor = ray.remote(Worker).options(num_cpus=1)
        folder = str(screening.shards.path.resolve())
        start = (str(Path.cwd()), environment, screening.request, folder)
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
            f"a worker of Ray was lost: {error}; run the same command again, nothing finished is lost"
        ) from error
    finally:
        ray.shutdown()


class Worker:
    """Computes shards in a process of Ray's.

    Args:
        directory: Where the screening runs: paths begin there, if it exists here too.
        environment: Variables to set.
        request: What is asked for.
        folder: The directory of the screening.
    """

    def __init__(self, directory: str, environment: dict[str, str], request: Request, folder: str) -> None:
        os.environ.update(environment)
        if Path(directory).is_dir():
            os.chdir(directory)
        runtime.configure(threads=1)
        self._screening = Screening(request, Shards(Path(folder)))
        self._screening.open_domains()

    def table(self, number: int) -> tuple[int, int, Any]:
        """Return the number of a shard, how many crystals it has, and its answers."""
        part = next(self._screening.slices([number]))
        return number, len(part.crystals), self._screening.table(part, alone)
