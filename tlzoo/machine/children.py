"""Pieces of work in processes beside this one, which know all that it knows: they are forked from it."""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Final, TypeVar

from tlzoo.errors import UserError

T = TypeVar("T")
# What a piece of work says while it lasts, as often as it wants.
Tell = Callable[[Any], None]
TOLD, DONE, FAILED = range(3)
# Where a process can be forked after its libraries have computed: elsewhere, on macOS, they do not allow it.
FORKS: Final = "fork" in multiprocessing.get_all_start_methods() and os.uname().sysname == "Linux"


def each(
    work: Sequence[Callable[[Tell], T]], jobs: int, told: Callable[[int, Any], None]
) -> Iterator[tuple[int, T]]:
    """Do several pieces of work, so many at a time; yield the number and result of each that is done.

    With one job or piece there is no process but this one. Each process has one thread of torch.

    Args:
        work: The pieces; each is called with a function that says something of it.
        jobs: How many at a time.
        told: Called here with the number of a piece and what it says.

    Raises:
        UserError: A process was killed.
        Exception: What a piece of work raised; the others are ended then.
    """
    if min(jobs, len(work)) < 2 or not FORKS:
        for number, piece in enumerate(work):
            yield number, piece(partial(told, number))
    else:
        yield from _beside(work, jobs, told)


def _beside(
    work: Sequence[Callable[[Tell], T]], jobs: int, told: Callable[[int, Any], None]
) -> Iterator[tuple[int, T]]:
    waiting = deque(enumerate(work))
    running: dict[Any, tuple[int, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number, piece = waiting.popleft()
                link, process = _forked(piece)
                running[link] = number, process
            for ready in wait(list(running)):
                number, process = running[ready]
                kind, said = _received(ready, process)
                if kind == TOLD:
                    told(number, said)
                    continue
                process.join()
                del running[ready]
                if kind == FAILED:
                    raise said
                yield number, said
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _forked(piece: Callable[[Tell], Any]) -> tuple[Connection, Any]:
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(piece, theirs), daemon=True)
    with warnings.catch_warnings():
        # torch and BLAS have threads, whose locks a child might wait for; it computes with one thread
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    return ours, process


def _received(link: Any, process: Any) -> tuple[int, Any]:  # noqa: ANN401
    try:
        return link.recv()  # type: ignore[no-any-return]
    except EOFError:
        process.join()
        return FAILED, UserError(
            f"a process that was computing ended with code {process.exitcode}; was memory short? The same "
            "command goes on; with --jobs 1 it needs least"
        )


def _work(piece: Callable[[Tell], Any], link: Connection) -> None:
    """Do a piece of work in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its processes
    threading.Thread(target=end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    try:
        answer = (DONE, piece(lambda said: link.send((TOLD, said))))
    except BaseException as error:  # noqa: BLE001 (the parent raises it)
        answer = (FAILED, _portable(error))
    with contextlib.suppress(BrokenPipeError):
        link.send(answer)


def _portable(error: BaseException) -> Exception:
    """Return an error that another process can read: that for users, or what went wrong in words."""
    if isinstance(error, UserError):
        return UserError(str(error))
    return RuntimeError("".join(traceback.format_exception(error)))


def end_with_parent() -> None:
    """End this process when its parent has ended, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
