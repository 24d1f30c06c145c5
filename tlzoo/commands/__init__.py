"""The commands: arguments in, one call, words out; a file each."""

import sys

from tlzoo.errors import printable, redacted


def say(text: str) -> None:
    """Write to standard output at once: the next line may take minutes. It may quote files of others."""
    sys.stdout.write(printable(redacted(text)) + "\n")
    sys.stdout.flush()
