"""Crystals that come by standard input: the text of one structure file, frames of extended XYZ, formulas."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Final

from tlzoo.crystals import Crystals
from tlzoo.data.sources.ase import frames
from tlzoo.data.sources.formula import Formula, is_formula
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
    """Read a CIF, a POSCAR, a pymatgen JSON, extended XYZ or formulas, one a line, to the end.

    The id of one crystal is ``stdin``, of several without ids ``stdin-1`` and so on; of a formula it is the
    formula.

    Raises:
        UserError: There is nothing, or nothing that can be read.
    """
    if sys.stdin.isatty():
        sys.stderr.write("tlzoo: reading a structure; end it with Ctrl-D\n")
    content = sys.stdin.buffer.read()
    if not content.strip():
        raise UserError(
            f"{CALLED} is empty; wanted the text of a CIF, POSCAR, pymatgen JSON, extended XYZ, or formulas"
        )
    return finish(assemble(*_records(content)), targets=(), units={}, same_id="rename")


def _records(content: bytes) -> Records:
    text = decoded(content).removeprefix("\ufeff")
    if FRAMES.match(text):
        records, problems = frames(io.StringIO(text, newline=None), Path(CALLED), Columns(), ID)
        if len(records) == 1 and records[0].id == f"{ID}-1":
            records[0].id = ID
        return records, problems
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    # all structures but a JSON have lines of several words; of formulas the wrong one is to be named
    if all(is_formula(line) or (len(line.split()) == 1 and line[0] not in "{[") for _, line in lines):
        return [Record(line, Place(CALLED, number, "line"), Formula(line)) for number, line in lines], []
    return [Record(ID, Place(CALLED), Document(CALLED, content))], []
