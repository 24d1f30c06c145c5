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


def unread() -> bool:
    """Whether nobody reads the output any more; if so, the rest of it goes nowhere, without another error."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            gone = True
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return gone
