"""Runs computed by Ray: on this machine, or on a cluster; rows are written by the process that asked."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tlzoo.errors import UserError, first_line
from tlzoo.machine import ray_cluster, runtime
from tlzoo.machine.ray_cluster import Place
from tlzoo.study.backends import Backend, lost
from tlzoo.study.job import Job, Returned, perform
from tlzoo.study.preparation import Memory

if TYPE_CHECKING:
    import ray


class Ray(Backend):
    """Workers of Ray, which live as long as the study and keep its data in memory.

    Args:
        slots: Runs at a time, at most; as many as there is room for by default.
        address: Of a cluster; by default that of ``RAY_ADDRESS``, else Ray is started on this machine.
        cpus: Cores of a run. It computes with as many threads, at least one.
        gpus: GPUs of a run, for example 0.25 so that four share one.

    Raises:
        UserError: Ray is not installed.
    """

    def __init__(
        self, slots: int | None = None, *, address: str | None = None, cpus: float = 1, gpus: float = 0
    ) -> None:
        ray_cluster.check("--backend ray", "processes of this machine: --backend processes --jobs N")
        self._wanted, self._address = slots, address
        self._cpus, self._gpus = cpus, gpus
        self._idle: list[ray.actor.ActorHandle] = []
        self._busy: dict[ray.ObjectRef, tuple[Sequence[Job], ray.actor.ActorHandle]] = {}

    def __enter__(self) -> Self:
        """Connect, or start Ray.

        Raises:
            UserError: The cluster cannot be reached, or has no room for a single run.
        """
        import ray

        cores = math.ceil((self._wanted or runtime.usable_cores() // self._cpus or 1) * self._cpus)
        ray_cluster.start(cores, self._address)
        room = _room(ray.cluster_resources(), {"CPU": self._cpus, "GPU": self._gpus})
        if not room:
            self.close()
            raise UserError(
                f"Ray has no room for a run with {self._cpus:g} CPUs and {self._gpus:g} GPUs; "
                "ask for less with --cpus-per-run and --gpus-per-run"
            )
        self.slots = min(room, self._wanted or room)
        return self

    def submit(self, jobs: Sequence[Job]) -> None:
        """Give them to an idle worker, or to a new one."""
        worker = self._idle.pop() if self._idle else self._started()
        self._busy[worker.perform.remote(jobs)] = (jobs, worker)

    def finished(self) -> list[Returned]:
        """Wait for a worker; one that is lost has failed its run, and the next run gets a new one."""
        import ray

        ready, _ = ray.wait(list(self._busy))
        return [self._returned(reference) for reference in ready]

    def _returned(self, reference: ray.ObjectRef) -> Returned:
        import ray

        jobs, worker = self._busy.pop(reference)
        try:
            returned: Returned = ray.get(reference)
        except ray.exceptions.RayError as error:
            ray.kill(worker)
            return lost(jobs, f"the Ray worker that computed it was lost: {first_line(error)}")
        self._idle.append(worker)
        return returned

    def _started(self) -> ray.actor.ActorHandle:
        import ray

        # Ray hides GPUs no longer by itself, and many runs would share the first
        place = Place.here() if self._gpus else Place.here(CUDA_VISIBLE_DEVICES="")
        actor = ray.remote(Worker).options(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0)
        return actor.remote(place, max(1, int(self._cpus)))

    def close(self) -> None:
        """End all workers, whatever they are at, and leave the cluster."""
        import ray

        for worker in (*self._idle, *(worker for _, worker in self._busy.values())):
            ray.kill(worker)
        self._idle.clear()
        self._busy.clear()
        ray.shutdown()


class Worker:
    """Computes runs in a process of Ray's."""

    def __init__(self, place: Place, threads: int) -> None:
        place.settle(threads=threads)
        self._memory = Memory()

    def perform(self, jobs: Sequence[Job]) -> Returned:
        """Compute runs; what they write meanwhile stays on this machine."""
        with tempfile.TemporaryDirectory(prefix="tlzoo-") as folder:
            here = [replace(job, folder=Path(folder) / job.id) for job in jobs]
            return perform(here, self._memory)


def _room(there: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """Return how many runs have room at a time.

    >>> _room({"CPU": 8.0, "GPU": 1.0}, {"CPU": 1, "GPU": 0.25}), _room({"CPU": 8.0}, {"CPU": 1, "GPU": 1})
    (4, 0)
    """
    return int(min(there.get(name, 0.0) / each + 1e-9 for name, each in wanted.items() if each))
