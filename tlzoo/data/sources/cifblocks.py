"""The grammar of CIF: from text to blocks of values by tag.

That of CIF 1.1 (International Tables for Crystallography G, chapter 2.2), with tags in any case, and with the
dots that newer dictionaries write for underscores; of CIF 2.0 texts between three quotes besides.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from tlzoo.data.sources.problems import StructureError

# A line has 2048 characters at most, by the grammar; a quoted text is on one line.
TOKEN = re.compile(
    r"^;(?P<text>.*?)(?:^;|\Z)"
    r"|'(?P<single>[^\n]{0,2048}?)'(?=\s|\Z)"
    r'|"(?P<double>[^\n]{0,2048}?)"(?=\s|\Z)'
    r"|\#[^\n]*"
    r"|(?P<bare>\S+)",
    re.MULTILINE | re.DOTALL,
)
# What CIF 2.0, which a file names in its first line, adds: texts of several lines between three quotes.
TRIPLED = re.compile(
    r"\'\'\'(?P<tripled>.*?)\'\'\'|\"\"\"(?P<doubled>.*?)\"\"\"|" + TOKEN.pattern, TOKEN.flags
)
TAGS = re.compile(r"^[ \t]*(?:loop_\s+)?_[a-z]", re.MULTILINE | re.IGNORECASE)
KEYWORDS = {"data_", "save_", "loop_", "stop_", "globa"}  # by five letters
UNKNOWN = {"", ".", "?"}


class CifError(StructureError):
    """What is wrong with a CIF."""


@dataclass
class Block:
    """Values by tag, in lower case, with ``_`` for every dot and dash; a single item is a column of one."""

    name: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    ragged: dict[str, str] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)

    def column(self, tag: str) -> list[str]:
        """All values of a tag, none if it is not there."""
        if tag in self.ragged:
            raise ValueError(self.ragged[tag])
        if tag in self.twice:
            raise ValueError(f"{tag} stands twice in block {self.name!r}, with different values")
        return self.columns.get(tag, [])

    def value(self, *tags: str) -> str:
        """The first known value of the tags, or nothing."""
        return next((v for tag in tags for v in self.column(tag)[:1] if v not in UNKNOWN), "")

    def add(self, tags: Sequence[str], values: Sequence[str]) -> None:
        """Add a loop, or a single item."""
        for position, tag in enumerate(tags):
            column = list(values[position :: len(tags)])
            before = self.columns.get(tag, [])
            if UNKNOWN.issuperset(before):
                self.columns[tag] = column
            elif before != column and not UNKNOWN.issuperset(column):
                self.twice.add(tag)
        if len(values) % len(tags):
            text = f"the loop of {tags[0]} has {len(values)} values for rows of {len(tags)}"
            self.ragged |= dict.fromkeys(tags, text)


def is_cif(text: str) -> bool:
    """Whether text is a CIF, not a POSCAR, whose first line may be anything and whose second is a number."""
    lines = [line.strip() for line in text.removeprefix("\ufeff")[:10_000].splitlines()]
    first, second = ([line for line in lines if line and line[0] != "#"] + ["", ""])[:2]
    headed = len(lines) > 1 and first[:5].lower() == "data_" and not re.match(r"-?[\d.]", second)
    return headed or TAGS.search(text, text.find("\n") + 1) is not None


def blocks(text: str) -> list[Block]:
    """Return the data blocks of a text; save frames, and what no tag announces, are passed over."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    builder = _Builder()
    end = 0
    grammar = TRIPLED if text.startswith(r"#\#CIF_2") else TOKEN
    for token in grammar.finditer(text):
        kind = token.lastgroup
        if kind is None:  # a comment
            continue
        value = token[kind]
        if kind == "bare" and value[:5].lower() in KEYWORDS:
            builder.keyword(value)
        elif kind == "bare" and value[0] == "_":
            builder.tag(value)
        else:
            builder.value(value.strip(), same_line="\n" not in text[end : token.start()])
        end = token.end()
    builder.finish()
    return builder.blocks


@dataclass
class _Builder:
    blocks: list[Block] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    in_loop: bool = False
    in_frame: bool = False

    def keyword(self, value: str) -> None:
        self.finish()
        word = value[:5].lower()
        self.in_loop = word == "loop_"
        if word == "data_":
            self.blocks.append(Block(value[5:]))
            self.in_frame = False
        elif word == "save_":
            self.in_frame = len(value) > 5

    def tag(self, value: str) -> None:
        if not self.in_loop or self.values:
            self.finish()
            self.in_loop = False
        self.tags.append(re.sub("[.-]", "_", value.lower()).rstrip("_"))

    def value(self, value: str, *, same_line: bool) -> None:
        # An item's value that has spaces but no quotes, as names of space groups often, ends with the line.
        if self.in_loop or not self.values or same_line:
            self.values.append(value)

    def finish(self) -> None:
        if self.tags and self.values and self.blocks and not self.in_frame:
            self.blocks[-1].add(self.tags, self.values if self.in_loop else [" ".join(self.values)])
        self.tags, self.values = [], []


def number(text: str) -> float:
    """A number without its standard uncertainty: ``5.64(2)`` is 5.64."""
    try:
        value = float(text.partition("(")[0])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def known_number(text: str) -> float | None:
    """A positive number, None if it is none."""
    try:
        value = number(text)
    except ValueError:
        return None
    return value if value > 0 else None


def note(text: str, labels: Sequence[str]) -> None:
    """Warn of sites, if there are any."""
    if labels:
        warnings.warn(f"site(s) {text}: {some(labels)}", stacklevel=3)


def some(names: Sequence[str]) -> str:
    """The first names, as text."""
    names = list(dict.fromkeys(names))
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
