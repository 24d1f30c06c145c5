"""Where results go that nobody named a directory for: one for each thing asked, and a link to the newest.

The name follows from what is asked. So the same command, and every process of it, finds the same directory.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


def folder(link: Path, words: Sequence[str], facts: Any) -> Path:  # noqa: ANN401 (anything JSON can hold)
    """Return the directory for what some facts describe: it lies beside the link and begins with the words.

    >>> folder(Path("runs/latest"), ["../my crystals", "CGCNN"], {"dim": 8}).as_posix()
    'runs/my-crystals-CGCNN-aaf2726f'
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    named = [re.sub(r"[^\w.]+", "-", word).strip("-.")[:30] for word in words]
    return link.with_name("-".join([*filter(None, named), digest[:8]]))


def point(link: Path, to: Path) -> None:
    """Let a link lead to a directory beside it, or below; a file or directory that has its name stays.

    To directories elsewhere, and where the system makes no links, there is none.
    """
    place, there = link.absolute(), to.absolute()
    if (link.exists() and not link.is_symlink()) or place.parent not in there.parents or there == place:
        return
    new = link.with_name(f".{link.name}-{os.getpid()}")
    with suppress(OSError, NotImplementedError):
        new.unlink(missing_ok=True)
        new.symlink_to(there.relative_to(place.parent), target_is_directory=True)
        new.replace(link)


def called(link: Path, directory: Path) -> Path:
    """Return the link if it leads to a directory, else the directory: how to name it in a command."""
    with suppress(OSError):
        if link.is_symlink() and link.resolve() == directory.resolve():
            return link
    return directory
