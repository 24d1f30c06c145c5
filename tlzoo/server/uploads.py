"""Files that come with a request: read from memory, their names are words and never paths."""

import codecs
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tlzoo.crystals import Crystals
from tlzoo.data.sources.ase import frames
from tlzoo.data.sources.folder import PATTERNS, is_structure_file
from tlzoo.data.sources.parse import Document
from tlzoo.data.sources.problems import Place, Problem
from tlzoo.data.sources.records import Columns, Record, Records, assemble, finish
from tlzoo.errors import UserError, printable
from tlzoo.server.limits import ATOMS, CRYSTALS, NAME

FRAMES = (".xyz", ".extxyz")
WANTED = f"wanted {', '.join([*PATTERNS, *(f'*{ending}' for ending in FRAMES)])}"


def read(files: Sequence[Document]) -> tuple[Crystals, list[Problem]]:
    """Return the crystals of files and what is wrong or unusual; what is wrong with one spares the others.

    Neither archives nor tables are opened: these may name other files.

    Raises:
        UserError: They hold too many crystals.
    """
    found: list[Record] = []
    problems: list[Problem] = []
    for file in files:
        name = shown(file.name)
        try:
            records, wrong = _records(Document(name, file.content))
        except UserError as error:
            records, wrong = [], [Problem(Place(name), "unreadable", str(error).removeprefix(f"{name} "))]
        found += records
        problems += wrong
        if len(found) > CRYSTALS:
            raise UserError(
                f"the files hold more than {CRYSTALS} crystals; send fewer at a time, or use `tlzoo predict`"
            )
    crystals, wrong = finish(assemble(found, problems), targets=(), units={}, same_id="rename")
    large = [row for row, count in enumerate(crystals.num_atoms.tolist()) if count > ATOMS]
    for row in large:
        count = f"has {crystals.num_atoms[row]:,} atoms in its cell"
        text = f"{count}; at most {ATOMS} are taken: give a smaller one, or use `tlzoo predict`"
        wrong.append(Problem(Place(crystals.origin(row)), "too large", text))
    return crystals.select([row for row in range(len(crystals)) if row not in large]), wrong


def shown(name: str) -> str:
    r"""Return the name of a file as it is shown: without folders and control characters, not too long.

    >>> shown("C:\\data\\..\\NaCl.cif"), shown("/etc/passwd"), shown("..")
    ('NaCl.cif', 'passwd', 'unnamed')
    """
    last = PurePosixPath(name.replace("\\", "/").replace("\0", "")).name
    last = printable(last).replace("\n", " ")
    return last[-NAME:] if last.strip(". ") else "unnamed"


def _records(file: Document) -> Records:
    """Return the crystals of a file, to be parsed.

    Raises:
        UserError: It is of a kind that is not taken, or no frame can be read.
    """
    path = Path(file.name)
    if path.suffix.lower() in FRAMES:
        text = codecs.decode(file.content, "utf-8", "replace")
        return frames(io.StringIO(text, newline=None), path, Columns())
    if not is_structure_file(path):
        raise UserError(f"is of a kind that is not taken here; {WANTED}")
    return [Record(path.stem if path.suffix else path.name, Place(file.name), file)], []
