"""The commands: arguments in, one call, words out; a file each."""

import sys

from tlzoo.errors import redacted


def say(text: str) -> None:
    """Write to standard output at once: the next line may take minutes."""
    sys.stdout.write(redacted(text) + "\n")
    sys.stdout.flush()
