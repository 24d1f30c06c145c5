"""Where runs are computed: in this process, or in several beside it."""

import contextlib
import logging
import multiprocessing
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Self

import torch

from tlzoo.machine import children, runtime
from tlzoo.study.job import Job, Outcome, Returned, ending, heading, perform
from tlzoo.study.preparation import Memory

logger = logging.getLogger(__name__)


class Backend(ABC):
    """Computes runs; a context manager that leaves nothing running behind.

    Attributes:
        slots: How often runs can be submitted before some are finished.
    """

    slots: int

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin runs that may be one training; called only while less than ``slots`` are under way."""

    @abstractmethod
    def finished(self) -> list[Returned]:
        """Wait until something is finished; return what is."""

    @abstractmethod
    def close(self) -> None:
        """End what is under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Here(Backend):
    """One run, or several as one, after another, in this process."""

    slots = 1

    def __init__(self) -> None:
        self._memory = Memory()
        self._waiting: list[Sequence[Job]] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put them in line."""
        self._waiting.append(jobs)

    def finished(self) -> list[Returned]:
        """Compute them."""
        return [perform(self._waiting.pop(), self._memory)]

    def close(self) -> None:
        """Forget the data."""
        self._memory = Memory()


class Processes(Backend):
    """Several processes with one thread each, which live as long as the study and keep its data in memory.

    One that is killed, as the system does where memory is short, does not fail its run at once: it is done
    again, and half as many run from then on.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        # a fork has imported everything and shares its memory; CUDA does not work in one
        forks = children.FORKS and not torch.accelerator.is_available()
        self._context: Any = multiprocessing.get_context("fork" if forks else "spawn")
        self._workers: dict[Connection, BaseProcess] = {}
        self._busy: dict[Connection, Sequence[Job]] = {}
        self._killed: set[str] = set()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Give them to an idle process, or to a new one."""
        for link in self._idle():
            if _sent(link, jobs):
                break
            self._workers.pop(link).join()  # ended while it had nothing to do
        else:
            link = self._started()
            _sent(link, jobs)  # if that has ended already, `finished` will say so
        self._busy[link] = jobs

    def finished(self) -> list[Returned]:
        """Wait for a process; one that ended has failed its run, and the next run gets a new one."""
        ready = [link for link in wait(list(self._busy)) if isinstance(link, Connection)]
        return [self._returned(link) for link in ready]

    def _returned(self, link: Connection) -> Returned:
        jobs = self._busy.pop(link)
        try:
            returned: Returned = link.recv()
        except (EOFError, OSError):
            process = self._workers.pop(link)
            process.join()
            returned = self._lost(jobs, process.exitcode)
        for idle in self._idle()[: max(0, len(self._workers) - self.slots)]:
            self._end([idle])
        return returned

    def _lost(self, jobs: Sequence[Job], code: int | None) -> Returned:
        names = {job.id for job in jobs}
        if code == -signal.SIGKILL and self.slots > 1 and not names & self._killed:
            self._killed |= names
            self.slots //= 2
            logger.warning(
                "a process was killed, as where memory is short: its runs are done again, %d at a time",
                self.slots,
            )
            return Returned(jobs, [], most=1)
        return lost(jobs, f"the process that computed it ended with code {code}; was memory short?")

    def _idle(self) -> list[Connection]:
        return [link for link in self._workers if link not in self._busy]

    def _started(self) -> Connection:
        ours: Connection
        theirs: Connection
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._workers[ours] = process
        return ours

    def close(self) -> None:
        """End all processes, whatever they are at."""
        self._end(list(self._workers))
        self._busy.clear()

    def _end(self, links: Sequence[Connection]) -> None:
        for link in links:
            self._workers[link].kill()
        for link in links:
            self._workers.pop(link).join()
            link.close()


def lost(jobs: Sequence[Job], error: str) -> Returned:
    """Return a failure of what was lost; of several nobody knows which it was."""
    facts = {"status": "failed", "error": error}
    failed = [Outcome({**heading(job), **facts, **ending()}, None) for job in jobs]
    return Returned(jobs, failed) if len(jobs) == 1 else Returned(jobs, [], most=1)


def _sent(link: Connection, jobs: Sequence[Job]) -> bool:
    """Send runs to a process; return whether it is there to take them."""
    try:
        link.send(jobs)
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
