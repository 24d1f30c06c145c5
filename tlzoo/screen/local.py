"""Shards one after another on this machine: graphs in worker processes, models in threads of this one.

A shard is done by one thread, each model batch by one thread of torch, so that what comes out does not depend
on how many there are.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Protocol

from tlzoo.descriptors.stores import Options
from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.neighbours import Cells
from tlzoo.graphs.workers import Workers
from tlzoo.machine import runtime
from tlzoo.model.answering import Make, alone, product
from tlzoo.screen.pool import Slice


class Sink(Protocol):
    """Keeps what was made of a shard, by its number."""

    def write(self, number: int, table: Any) -> None:  # noqa: ANN401, D102 (pyarrow has no types)
        ...


class Work(Protocol):
    """What is to be made of the shards of a pool; a shard at a time in each of several threads."""

    @property
    def options(self) -> Sequence[Options]:
        """What must be made of crystals before."""

    @property
    def shards(self) -> Sink:
        """Where results go."""

    def slices(self, wanted: Sequence[int]) -> Iterator[Slice]:
        """Read shards of the pool, in order."""

    def table(self, part: Slice, make: Make) -> Any:  # noqa: ANN401 (pyarrow has no types)
        """Return what is made of a shard."""


def run(work: Work, wanted: Sequence[int], jobs: int) -> Iterator[int]:
    """Compute and keep shards; yield the crystals of each when it is done.

    With one job there is no process but this one.

    Raises:
        UserError: The pool is damaged, a worker was killed, or the disk is full.
    """
    with ExitStack() as stack:
        stack.enter_context(runtime.single_threaded())
        workers: dict[Options, Workers] = {}
        if jobs > 1:
            for options in work.options:
                workers[options] = stack.enter_context(Workers(jobs, options, product(options)))

        def make(options: Options, cells: Iterator[Cells]) -> Iterator[Chunk]:
            return workers[options].map(cells) if workers else alone(options, cells)

        def compute(part: Slice) -> int:
            work.shards.write(part.number, work.table(part, make))
            runtime.give_back()  # shards are of different sizes: the memory of the largest would stay
            return len(part.crystals)

        threads = ThreadPoolExecutor(jobs)
        # what has not begun is dropped when something fails, before the workers are ended
        stack.callback(threads.shutdown, wait=True, cancel_futures=True)
        waiting: deque[Future[int]] = deque()
        for part in work.slices(wanted):
            waiting.append(threads.submit(compute, part))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
