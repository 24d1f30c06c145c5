"""Graphs, or whatever else is made of many crystals, by several processes, in order.

A worker is a plain ``python -m tlzoo.graphs.workers`` that reads chunks of crystals from its standard input
and writes their graphs to its standard output, as JSON and raw arrays. It imports neither torch nor the
program it works for, so it starts in a fraction of a second, and scripts need no ``if __name__ ==
"__main__"``. It ends when its input ends, also when the program was killed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.errors import UserError
from tlzoo.graphs.graph_chunk import Chunk, cells_of, graphs_of
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import NO_STRUCTURE, Cells
from tlzoo.machine.runtime import keep_memory, processes

VARIABLE = "TLZOO_WORKERS"

# Chunks per worker that wait to be worked on or to be fetched: bounds the memory.
WAITING = 2

CHUNK = 256  # crystals that are worked on at a time
FEWEST = 4  # chunks for each worker, below which its start takes longer than it helps


@dataclass(frozen=True)
class Product:
    """What is made of crystals.

    Attributes:
        noun: Its name, for messages, progress bars and folders.
        compute: From a chunk of crystals and options to arrays; a pure function, to be called in any process.
        options: Class of the options, plain data.
        module: What a worker runs: a module that calls :func:`serve` with this product.
    """

    noun: str
    compute: Callable[[Cells, Any], Chunk]
    options: type[Any]
    module: str


# What networks on graphs read.
GRAPHS: Final = Product("graphs", graphs_of, GraphOptions, "tlzoo.graphs.workers")


class NoGraphError(UserError):
    """Crystals of which no graph can be made: an atom without neighbours, a flat cell, atoms in one place.

    Args:
        crystals: All crystals.
        problems: What is wrong with those without a graph, by row.
        product: What cannot be made of them.

    Attributes:
        rows: The rows without a graph, ascending.
    """

    def __init__(self, crystals: Crystals, problems: Mapping[int, str], product: Product = GRAPHS) -> None:
        noun = "graph" if product.noun == "graphs" else product.noun
        told = lines(crystals, problems)
        told = [*told[:10], *([f"and {len(told) - 10} more"] if len(told) > 10 else [])]
        super().__init__(
            f"no {noun} can be made of {len(problems)} of {len(crystals)} crystals:\n  " + "\n  ".join(told)
        )
        self.rows = list(problems)


def lines(crystals: Crystals, problems: Mapping[int, str]) -> list[str]:
    """Return what is wrong with crystals, by row, in words: a line each, one for all formulas of a table."""
    formulas = [row for row, text in problems.items() if text == NO_STRUCTURE]
    others = set(formulas[1:])
    more = f" and {len(others):,} more" if others else ""
    return [
        f"{crystals.origin(row)}{more if text == NO_STRUCTURE else ''}: {text}"
        for row, text in problems.items()
        if row not in others
    ]


def all_chunks(
    product: Product,
    crystals: Crystals,
    options: Any,  # noqa: ANN401 (those of the product)
    workers: int | None = None,
) -> Generator[tuple[int, Chunk]]:
    """Yield what is made of all crystals in chunks, each with the row after its last.

    A few thousand crystals are done by this process alone, more by :func:`worker_count` others.

    Raises:
        NoGraphError: After the last chunk, if there are crystals of which it cannot be made; all are listed.
        UserError: A worker was killed.
    """
    starts = range(0, len(crystals), CHUNK)
    stops = [min(start + CHUNK, len(crystals)) for start in starts]
    cells = (cells_of(crystals, start, stop) for start, stop in zip(starts, stops, strict=True))
    count = min(worker_count(workers), len(starts) // FEWEST)
    problems: dict[int, str] = {}
    with Workers(count, options, product) if count > 1 else nullcontext() as pool:
        chunks = pool.map(cells) if pool else (product.compute(some, options) for some in cells)
        for start, stop, chunk in zip(starts, stops, chunks, strict=True):
            problems |= {start + row: text for row, text in chunk.problems.items()}
            yield stop, chunk
    if problems:
        raise NoGraphError(crystals, problems, product)


def worker_count(asked: int | None = None) -> int:
    """Return how many processes to use: as asked, else ``$TLZOO_WORKERS``, else one per usable core.

    Without either there are as many as memory has room for.

    Raises:
        UserError: The number is not a whole number of at least 1.
    """
    name, given = ("workers", str(asked)) if asked is not None else (VARIABLE, os.environ.get(VARIABLE, ""))
    if not given:
        return processes()
    if not given.isdecimal() or int(given) < 1:
        raise UserError(f"{name} must be a number of processes, at least 1, got {given!r}; 1 starts none")
    return int(given)


class Workers:
    """Worker processes that make a product; a context manager, at whose end none is left."""

    def __init__(self, count: int, options: Any, product: Product = GRAPHS) -> None:  # noqa: ANN401
        self.count = count
        self.options = options
        self.product = product
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(self.count)
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for _ in range(self.count):
                self._processes.append(_start(self.product.module))
                self._idle.put(self._processes[-1])
        except BaseException as error:
            self._end()
            if not isinstance(error, OSError):
                raise
            raise UserError(
                f"cannot start a process that makes {self.product.noun} ({error}); "
                f"{VARIABLE}=1 uses none but this one"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._threads.shutdown()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was still to be written
                    pipe.close()  # type: ignore[union-attr]
            process.wait()

    def map(self, chunks: Iterator[Cells]) -> Iterator[Chunk]:
        """Yield what is made of chunks of crystals, in their order, while a few chunks are worked on.

        Raises:
            UserError: A worker was killed.
        """
        waiting: deque[Future[Chunk]] = deque()
        for cells in chunks:
            waiting.append(self._threads.submit(self._made_of, cells))
            if len(waiting) == WAITING * self.count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _made_of(self, cells: Cells) -> Chunk:
        process = self._idle.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, {"options": asdict(self.options)}, cells._asdict())
            facts, arrays = _receive(process.stdout)
        except (EOFError, OSError) as error:
            raise UserError(
                f"a process that makes {self.product.noun} ended early ({_reason(process.wait())}); "
                f"run again, with fewer processes if memory is short: {VARIABLE}=1 uses none but this one"
            ) from error
        finally:
            self._idle.put(process)
        if "error" in facts:
            raise RuntimeError(f"in a process that makes {self.product.noun}:\n{facts['error']}")
        problems = {int(row): text for row, text in facts["problems"].items()}
        return Chunk(arrays.pop("sizes"), arrays, problems)


def _start(module: str) -> subprocess.Popen[bytes]:
    # one thread each: the processes are as many as the cores; modules are found as they are found here
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    return subprocess.Popen(  # noqa: S603 (a module of ours)
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **single, "PYTHONPATH": path},
        start_new_session=True,  # Ctrl-C is for the program, which ends the workers
    )


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _send(stream: IO[bytes], facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    layout = {name: (values.dtype.str, values.shape) for name, values in arrays.items()}
    stream.write(json.dumps({"facts": facts, "arrays": layout}).encode() + b"\n")
    for values in arrays.values():
        stream.write(np.ascontiguousarray(values).data)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    arrays = {}
    for name, (dtype, shape) in head["arrays"].items():
        values = np.empty(shape, dtype)
        if stream.readinto(values.reshape(-1).view(np.uint8).data) != values.nbytes:  # type: ignore[attr-defined]
            raise EOFError
        arrays[name] = values
    return head["facts"], arrays


def serve(product: Product) -> None:
    """Make something of chunks of crystals until the input ends: what a worker does."""
    keep_memory()
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not print between the arrays
    while True:
        try:
            facts, arrays = _receive(source)
        except EOFError:
            return
        try:
            chunk = product.compute(Cells(**arrays), product.options(**facts["options"]))
        except Exception:  # noqa: BLE001 (told to the program, whatever it is)
            _send(sink, {"error": traceback.format_exc()}, {})
        else:
            _send(sink, {"problems": chunk.problems}, {"sizes": chunk.sizes, **chunk.arrays})


if __name__ == "__main__":
    serve(GRAPHS)
