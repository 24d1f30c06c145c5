"""A directory that one process at a time works in."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from tlzoo.errors import UserError
from tlzoo.machine.files import REMEDIES

FILE: Final = ".lock"


@contextmanager
def held(folder: Path, otherwise: str) -> Iterator[None]:
    """Keep other processes out of a directory, which is made if need be, while the context lasts.

    The lock ends with the process, however that ends. A directory that was made and stayed empty is removed.

    Args:
        folder: The directory.
        otherwise: What a user can do instead of waiting, such as "choose another --run_dir".

    Raises:
        UserError: Another process works in it, or it cannot be written.
    """
    path = folder / FILE
    made: list[Path] = []
    # it may be given back from another thread
    lock = FileLock(path, thread_local=False)
    try:
        try:
            made = _made(folder)
            lock.acquire(blocking=False)
        except Timeout as error:
            raise UserError(
                f"{folder} is in use by {_holder(path)}; wait until it has finished, or {otherwise}"
            ) from error
        except OSError as error:
            remedy = REMEDIES.get(error.errno or 0, "make the folder writable")
            raise UserError(
                f"{folder} cannot be written: {error.strerror or error}; {remedy}, or {otherwise}"
            ) from error
        try:
            _sign(path)
            yield
        finally:
            with suppress(OSError):  # Windows deletes no file that is open
                path.unlink(missing_ok=True)
            lock.release()
    finally:
        for each in reversed(made):
            with suppress(OSError):  # it is not empty
                each.rmdir()


def _made(folder: Path) -> list[Path]:
    """Make a directory, and return what was made on the way, from the top."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _sign(path: Path) -> None:
    """Say in the file of a lock who holds it."""
    with suppress(OSError, UnicodeDecodeError):  # Windows lets nobody read or write a file that is locked
        # where the disk knows no locks the file itself is one, and already says so
        if str(os.getpid()) not in path.read_text(encoding="utf-8").split():
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")


def _holder(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        if text := path.read_text(encoding="utf-8"):
            return " ".join(text.split())
    return "another process"
