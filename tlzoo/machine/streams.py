"""Standard input, output and error: always there, never in the way of an answer."""

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import Final

STOPPED = 130  # exit code after Ctrl-C, as shells have it: 128 + SIGINT
UNREAD = 141  # exit code when nobody reads the output any more, as in `… | head -1`: 128 + SIGPIPE

# What tables of answers and metrics are made of, for terminals that do not know it.
PLAIN: Final = {"±": "+/-", "…": "...", "²": "2", "×": "x", "–": "-"}


def prepare() -> None:
    r"""Open what the caller has closed, and let every character pass: as ``+/-`` or ``\u2192`` if need be.

    A file that is opened later would otherwise take the place of standard output, and get what is printed.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    codecs.register_error("plain", _plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 (for good)
        elif isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what stands for characters that an encoding lacks, and where it goes on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    plain = (PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in lacking)
    return "".join(plain), error.end


def abandon() -> None:
    """Let the rest of the output go nowhere, as nobody reads it: else Python complains of it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # one that is no file needs none of this
            os.dup2(nowhere, stream.fileno())
