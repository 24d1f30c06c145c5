"""Standard input, output and error: always there, never in the way of an answer."""

import io
import os
import sys
from contextlib import suppress

STOPPED = 130  # exit code after Ctrl-C, as shells have it: 128 + SIGINT
UNREAD = 141  # exit code when nobody reads the output any more, as in `… | head -1`: 128 + SIGPIPE


def prepare() -> None:
    r"""Open what the caller has closed, and let every character pass: ``→`` as ``\u2192`` where it must be.

    A file that is opened later would otherwise take the place of standard output, and get what is printed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 (for good)
        elif isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
            stream.reconfigure(errors="backslashreplace")


def abandon() -> None:
    """Let the rest of the output go nowhere, as nobody reads it: else Python complains of it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # one that is no file needs none of this
            os.dup2(nowhere, stream.fileno())
