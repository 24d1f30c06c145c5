"""Crystals that come by standard input: the text of one structure file, or frames of extended XYZ."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Final

from tlzoo.crystals import Crystals
from tlzoo.data.sources.ase import frames
from tlzoo.data.sources.parse import Document, decoded
from tlzoo.data.sources.problems import Place, Problem
from tlzoo.data.sources.records import Columns, Record, Records, assemble, finish
from tlzoo.errors import UserError

# What stands for it among inputs, as for other commands.
NAME: Final = "-"
CALLED: Final = "standard input"
ID: Final = "stdin"
# The count of atoms and a comment with the cell.
FRAMES: Final = re.compile(r"\s*\d+[ \t]*\r?\n.*[Ll]attice=")


def read_standard_input() -> tuple[Crystals, list[Problem]]:
    """Read a CIF, a POSCAR, a pymatgen JSON or extended XYZ to the end; the id of one crystal is ``stdin``.

    Raises:
        UserError: There is nothing, or nothing that can be read.
    """
    if sys.stdin.isatty():
        sys.stderr.write("tlzoo: reading a structure; end it with Ctrl-D\n")
    content = sys.stdin.buffer.read()
    if not content.strip():
        raise UserError(f"{CALLED} is empty; wanted the text of a CIF, POSCAR, pymatgen JSON or extended XYZ")
    return finish(assemble(*_records(content)), targets=(), units={}, same_id="rename")


def _records(content: bytes) -> Records:
    text = decoded(content).removeprefix("\ufeff")
    if FRAMES.match(text):
        return frames(io.StringIO(text, newline=None), Path(CALLED), Columns())
    return [Record(ID, Place(CALLED), Document(CALLED, content))], []
