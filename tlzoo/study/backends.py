"""Where runs are computed: in this process, or in several beside it."""

import contextlib
import multiprocessing
import signal
import threading
from abc import ABC, abstractmethod
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Self

from tlzoo.machine import children, runtime
from tlzoo.study.job import Job, Outcome, ending, heading, perform
from tlzoo.study.preparation import Memory


class Backend(ABC):
    """Computes runs; a context manager that leaves nothing running behind.

    Attributes:
        slots: Runs at a time.
    """

    slots: int

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Begin a run, or put it first in line; called only while less than ``slots`` are under way."""

    @abstractmethod
    def finished(self) -> list[Outcome]:
        """Wait until a run is finished; return those that are."""

    @abstractmethod
    def close(self) -> None:
        """End what is under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Here(Backend):
    """One run after another, in this process."""

    slots = 1

    def __init__(self) -> None:
        self._memory = Memory()
        self._jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        """Put it in line."""
        self._jobs.append(job)

    def finished(self) -> list[Outcome]:
        """Compute the run."""
        return [perform(self._jobs.pop(), self._memory)]

    def close(self) -> None:
        """Forget the data."""
        self._memory = Memory()


class Processes(Backend):
    """Several processes with one thread each, which live as long as the study and keep its data in memory."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[Connection, SpawnProcess] = {}
        self._busy: dict[Connection, Job] = {}

    def submit(self, job: Job) -> None:
        """Give it to an idle process, or to a new one."""
        for link in [link for link in self._workers if link not in self._busy]:
            if _sent(link, job):
                break
            self._workers.pop(link).join()  # ended while it had nothing to do
        else:
            link = self._started()
            _sent(link, job)  # if that has ended already, `finished` will say so
        self._busy[link] = job

    def finished(self) -> list[Outcome]:
        """Wait for a process; one that ended has failed its run, and the next run gets a new one."""
        ready = [link for link in wait(list(self._busy)) if isinstance(link, Connection)]
        return [self._outcome(link) for link in ready]

    def _outcome(self, link: Connection) -> Outcome:
        job = self._busy.pop(link)
        try:
            outcome: Outcome = link.recv()
        except (EOFError, OSError):
            process = self._workers.pop(link)
            process.join()
            error = f"the process that computed it ended with code {process.exitcode}; was memory short?"
            return Outcome({**heading(job), "status": "failed", "error": error, **ending()}, None)
        return outcome

    def _started(self) -> Connection:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._workers[ours] = process
        return ours

    def close(self) -> None:
        """End all processes, whatever they are at."""
        for process in self._workers.values():
            process.kill()
        for link, process in self._workers.items():
            process.join()
            link.close()
        self._workers.clear()
        self._busy.clear()


def _sent(link: Connection, job: Job) -> bool:
    """Send a run to a process; return whether it is there to take it."""
    try:
        link.send(job)
    except OSError:
        return False
    return True


def _work(link: Connection) -> None:
    """Compute what comes through a link until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its processes
    threading.Thread(target=children.end_with_parent, daemon=True).start()
    runtime.configure(threads=1)
    memory = Memory()
    with contextlib.suppress(EOFError):
        while True:
            link.send(perform(link.recv(), memory))
