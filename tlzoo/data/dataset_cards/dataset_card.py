"""What is said about a named data set: one typed card each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Literal

from tlzoo.crystals import with_unit


@dataclass(frozen=True)
class Target:
    """A column to predict.

    Attributes:
        unit: Unit of the values; ``"1"`` is dimensionless.
        description: What is measured or computed.
        theory: By which method, in a word or two, such as ``PBE`` or ``measured``; empty if nobody says so.
    """

    unit: str
    description: str
    theory: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """A named data set: what it holds, who is to be cited, how matminer's columns become ours.

    Attributes:
        name: Name in configs; the file of the data set is ``<name>.parquet``.
        title: One line.
        targets: Column name to unit and description.
        default_target: Column to predict where none is named; empty if one must be.
        crystals: Number of crystals of the complete data set.
        citation: Work to cite.
        licence: Licence of the data.
        sources: Names of the data sets it is put together from.
        file: Where its file lies, if that is all there is of it.
        columns: Columns of each matminer data set it is converted from; empty if it ships with tlzoo or has
            sources. The first has the rows, the others further labels or structures.
        mapping: matminer's column to ours.
        join: How the others are joined to the first: by the same cell, or by Materials Project id.
        id_column: Column of the first with the ids; row numbers if there is none.
        id_prefix: Put before the ids.
        transformation: What the conversion does, in words.
        notes: Traps.
    """

    name: str
    title: str
    targets: Mapping[str, Target]
    default_target: str
    crystals: int
    citation: str
    licence: str
    sources: Sequence[str] = ()
    file: str = ""
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)
    join: Literal["cell", "likely_mpid"] = "cell"
    id_column: str = ""
    id_prefix: str = ""
    transformation: str = "none"
    notes: str = ""

    @property
    def matminer(self) -> tuple[str, ...]:
        """Names of the matminer data sets it is converted from."""
        return tuple(self.columns)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each target."""
        return {name: target.unit for name, target in self.targets.items()}

    @property
    def theories(self) -> dict[str, str]:
        """Level of theory of each target, where it is known."""
        return {name: target.theory for name, target in self.targets.items() if target.theory}

    def _source(self) -> str:
        if self.sources:
            return f"the data sets {', '.join(self.sources)}"
        if self.file:
            return self.file
        return f"matminer: {', '.join(self.matminer)}" if self.matminer else "part of tlzoo"

    def text(self) -> str:
        """Return the card as text for a terminal."""
        rows = [("crystals", f"{self.crystals:,}")]
        for name, target in self.targets.items():
            default = " (default)" if name == self.default_target and len(self.targets) > 1 else ""
            rows.append(
                ("target", f"{with_unit(name, target.unit, '{} [{}]')}{default}: {target.description}")
            )
        rows.append(("source", self._source()))
        for theirs, ours in self.mapping.items():
            rows.append(("column", f"{theirs!r} of matminer is {ours!r} here"))
        rows += [("changes", self.transformation), ("cite", self.citation), ("licence", self.licence)]
        rows += [("note", self.notes)] if self.notes else []
        lines = [
            fill(
                value, 100, initial_indent=f"  {key:<9} ", subsequent_indent=" " * 12, break_on_hyphens=False
            )
            for key, value in rows
        ]
        return "\n".join([f"{self.name}: {self.title}", *lines])
