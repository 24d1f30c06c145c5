"""The text of extended XYZ: its frames, what their comment lines say, and the labels of atoms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from tlzoo.data.sources.poscar import element
from tlzoo.data.sources.problems import StructureError

# What is escaped or quoted in the comment line, and a key there with its value, if any.
PART = r"""\\.|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\{[^}]*\}|\[[^\]]*\]"""
FIELD = re.compile(rf"""((?:{PART}|[^\s"'{{\[\\=])+)(?:\s*=\s*((?:{PART}|[^\s"'{{\[\\])+))?""")
# Keys that are the structure itself, in any case, and as ase knows them.
STRUCTURAL = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
# The columns of a frame that does not name them.
PLAIN = "species:S:1:pos:R:3"


def frame_lines(lines: Iterator[str]) -> Iterator[list[str]]:
    """Yield the lines of each frame: the count of atoms, the comment, the atoms, and vectors of old files.

    Raises:
        ValueError: A count is none, or there are fewer lines than it says.
    """
    frame: list[str] = []
    for line in lines:
        if frame and line.lstrip().startswith("VEC"):
            frame.append(line)
        elif count := line.strip().removeprefix("\ufeff"):
            if frame:
                yield frame
            if not count.isdecimal():
                raise ValueError(f"wanted the number of atoms of a frame, got {count[:60]!r}")
            frame = [f"{count}\n", *islice(lines, int(count) + 1)]
            if len(frame) < int(count) + 2:
                raise ValueError(f"{count} atoms are announced, {max(len(frame) - 2, 0)} are there")
    if frame:
        yield frame


def fields(comment: str) -> dict[str, str]:
    """Return the values of the comment line of a frame by key, as they are written there, without quotes.

    A key alone is true, which is written ``T``.

    Raises:
        ValueError: A key has two values.

    >>> fields('id=007 gap="1.0 2.0" relaxed')
    {'id': '007', 'gap': '1.0 2.0', 'relaxed': 'T'}
    """
    found: dict[str, str] = {}
    for key, value in FIELD.findall(comment):
        name, text = _bare(key), _bare(value) if value else "T"
        if found.setdefault(name, text) != text:
            raise ValueError(f"{name!r} has two values, {found[name]!r} and {text!r}")
    return found


def divided(facts: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what of a comment line is the structure, by the keys that ase knows, and the rest.

    Raises:
        StructureError: The lattice is not nine numbers, or elements or positions are missing.
    """
    structure = {STRUCTURAL[k.lower()]: text for k, text in facts.items() if k.lower() in STRUCTURAL}
    lattice = structure.get("Lattice")
    if lattice is not None and ("[" in lattice or len(re.split(r"[\s,]+", lattice.strip())) != 9):
        text = f'has a Lattice of {lattice[:60]!r}; wanted nine numbers, "ax ay az bx by bz cx cy cz", in Å'
        raise StructureError("unreadable", text)
    columns = _columns(structure.get("Properties", PLAIN))
    if not {"pos", "positions"} & columns.keys() or not {"species", "Z", "numbers"} & columns.keys():
        text = f"has Properties={structure['Properties'][:60]}, of which none is species (or Z), or none pos"
        raise StructureError("unreadable", text)
    return structure, {key: text for key, text in facts.items() if key.lower() not in STRUCTURAL}


def named(atoms: list[str], properties: str) -> list[str]:
    """Return the lines of atoms with elements for labels such as Na1, Na+ and D.

    Raises:
        StructureError: A label is of no element.
    """
    columns = _columns(properties)
    if "species" not in columns:
        return atoms
    place, kind = columns["species"]
    if kind != "S":
        raise StructureError(
            "unknown element", "has numbers for species; wanted symbols of elements (species:S:1)"
        )
    found: list[str] = []
    unknown: dict[str, None] = {}
    for line in atoms:
        words = line.split(maxsplit=place + 1)
        label = words[place] if place < len(words) else ""
        symbol = element(label) or element(label.capitalize())
        if not symbol:
            unknown[label] = None
        symbol = "H" if symbol in {"D", "T"} else symbol
        words[place : place + 1] = [symbol]
        found.append(line if symbol == label else " ".join(words))
    if unknown:
        text = f"has sites that are no element ({', '.join(unknown)[:100]})"
        raise StructureError("unknown element", text)
    return found


def _columns(properties: str) -> dict[str, tuple[int, str]]:
    """Return for each property its first column, counted from 0, and its type."""
    kinds = properties.split(":")
    found, column = {}, 0
    for name, kind, width in zip(kinds[::3], kinds[1::3], kinds[2::3], strict=True):
        found[name] = (column, kind)
        column += int(width)
    return found


def _bare(word: str) -> str:
    """Return a word without quotes and escapes."""
    inner = re.sub(PART, lambda part: part[0] if part[0][0] == "\\" else part[0][1:-1], word)
    return re.sub(r"\\(.)", r"\1", inner)
