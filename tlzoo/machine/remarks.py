"""What is said beside the answer, on standard error: of one input once in a command."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

# Of what has been spoken, innermost last; empty outside of commands.
_spoken: list[set[str]] = []


@contextmanager
def once() -> Iterator[None]:
    """Say nothing twice about the same input, however often it is read; within another one, of both."""
    _spoken.append(_spoken[-1] if _spoken else set())
    try:
        yield
    finally:
        _spoken.pop()


def remark(about: str, lines: Iterable[str]) -> None:
    """Say what is unusual about an input, unless something was said of it in this command.

    As warnings of the logger ``tlzoo.machine.remarks``: Python writes them to standard error unless a program
    wants them elsewhere.
    """
    if not is_told(about):
        for line in lines:
            logger.warning("%s", line)
    told(about)


def is_told(about: str) -> bool:
    """Whether in this command something was said about an input, or will not be."""
    return bool(_spoken) and about in _spoken[-1]


def told(about: str) -> None:
    """Take for said, in this command, what there is to say about an input."""
    if _spoken:
        _spoken[-1].add(about)
