"""The commands: arguments in, one call, words out; a file each."""

import sys


def say(text: str) -> None:
    """Write to standard output at once: the next line may take minutes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
