"""Shards one after another on this machine: graphs in worker processes, models in threads of this one.

A shard is done by one thread, each model batch by one thread of torch, so that what comes out does not depend
on how many there are.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import torch

from tlzoo.descriptors.stores import Options
from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.neighbours import Cells
from tlzoo.graphs.workers import Workers
from tlzoo.machine import runtime
from tlzoo.model.answering import alone, product
from tlzoo.screen.pool import Slice
from tlzoo.screen.screening import Screening


def run(screening: Screening, wanted: Sequence[int], jobs: int) -> Iterator[int]:
    """Compute and keep shards; yield the crystals of each when it is done.

    With one job there is no process but this one.

    Raises:
        UserError: The pool is damaged, a worker was killed, or the disk is full.
    """
    with ExitStack() as stack:
        stack.enter_context(single_threaded())
        workers: dict[Options, Workers] = {}
        if jobs > 1:
            for options in screening.options:
                workers[options] = stack.enter_context(Workers(jobs, options, product(options)))

        def make(options: Options, cells: Iterator[Cells]) -> Iterator[Chunk]:
            return workers[options].map(cells) if workers else alone(options, cells)

        def compute(part: Slice) -> int:
            screening.shards.write(part.number, screening.table(part, make))
            runtime.give_back()  # shards are of different sizes: the memory of the largest would stay
            return len(part.crystals)

        threads = ThreadPoolExecutor(jobs)
        # what has not begun is dropped when something fails, before the workers are ended
        stack.callback(threads.shutdown, wait=True, cancel_futures=True)
        waiting: deque[Future[int]] = deque()
        for part in screening.slices(wanted):
            waiting.append(threads.submit(compute, part))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let each operation of torch use one thread: several share its sums out in another way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
