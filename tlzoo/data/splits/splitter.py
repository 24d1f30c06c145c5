"""What a split is and what every splitter promises."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tlzoo import plugins
from tlzoo.crystals import Crystals
from tlzoo.data.duplicates import shared_structures
from tlzoo.data.perturbed import copied, parents
from tlzoo.data.splits.ids import Rows, rows_by_id, rows_of
from tlzoo.errors import UserError

PARTS: Final = ("train", "val", "test")
FORMAT: Final = 1

# What becomes of crystals to learn from whose structure a later part of a given split has: nothing, or they
# are taken out; None is "keep", too.
Duplicates = Literal["keep", "drop"]


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a table for training, validation and test.

    Attributes:
        train: Rows the network learns from, ``(train,)`` int64.
        val: Rows that choose the best epoch, ``(val,)`` int64.
        test: Rows kept for the final measurement, ``(test,)`` int64; may be empty.
        spec: The splitter, as class path and constructor arguments (its seed among them).
        notes: What a reader should know: an empty test part, crystals in no part, duplicates that straddle …
        left_out: Crystals in no part because none of their targets is known.
        copies: Test rows whose structure is in training or validation too, as far as anybody looked.

    Raises:
        UserError: Training or validation is empty, or a row is in two parts.
    """

    train: Rows
    val: Rows
    test: Rows
    spec: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left_out: int = 0
    copies: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        for name in (*PARTS, "copies"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64).reshape(-1))
        _check(self.parts, [])

    @property
    def parts(self) -> dict[str, Rows]:
        """Rows by name of the part: train, val, test."""
        return {name: getattr(self, name) for name in PARTS}

    def describe(self) -> str:
        """Return the sizes and notes in one line for people.

        >>> Split(train=[0, 1, 2], val=[3], test=[]).describe()
        '3 train, 1 val, 0 test'
        """
        sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in self.parts.items())
        if self.left_out:
            sizes += f"; {self.left_out:,} left out (no target is known)"
        return "; ".join([sizes, *self.notes])

    @property
    def warning(self) -> str:
        """What is wrong with the test part, and what to do; empty if nothing is, or nobody looked."""
        if not len(self.copies):
            return ""
        told = str(self.spec.get("init_args"))
        do = "duplicates: drop in data.split takes these out of training"
        if "'duplicates'" not in told:
            do = "keep_duplicates_together: true in data.split keeps such crystals in one part"
        most = "at most " if any(note.startswith("at most") for note in self.notes) else ""
        return (
            f"{most}{len(self.copies):,} of the {len(self.test):,} test crystals have the structure of "
            f"one in train or val: the test error flatters. {do}."
        )

    def to_json(self, ids: Sequence[str] | NDArray[np.object_]) -> str:
        """Return the split as JSON text that names crystals by the ids of the table, not by row.

        Raises:
            UserError: An identifier occurs twice.
        """
        rows_by_id(ids)
        content = {
            "format": FORMAT,
            "splitter": dict(self.spec),
            "left_out": self.left_out,
            "notes": list(self.notes),
            **{name: [str(ids[row]) for row in rows] for name, rows in self.parts.items()},
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, ids: Sequence[str] | NDArray[np.object_]) -> Split:
        """Return the rows of the table with these ids that a text of :meth:`to_json` names.

        Raises:
            UserError: The text is no split, or it names a crystal the table lacks.
        """
        content = _parse(text)
        where = rows_by_id(ids)
        parts = {part: rows_of(content[part], where, f"the {part} part") for part in PARTS}
        spec, notes, left_out = (content.get(name) for name in ("splitter", "notes", "left_out"))
        return cls(
            **parts,
            spec=spec if isinstance(spec, Mapping) else {},
            notes=tuple(map(str, notes)) if isinstance(notes, list) else (),
            left_out=left_out if isinstance(left_out, int) else 0,
        )


@dataclass(frozen=True, eq=False)
class Table:
    """What a splitter divides.

    Attributes:
        crystals: The crystals.
        known: Whether at least one target of a crystal is known, ``(crystals,)``.
        groups: Label of each crystal; equal labels are duplicates. ``(crystals,)``, or None if nobody looked.
        targets: Names of the target columns.
        excluded: Ids of crystals that were taken out of the table on purpose; published lists may name them.
    """

    crystals: Crystals
    known: NDArray[np.bool_]
    groups: Rows | None
    targets: Sequence[str] = ()
    excluded: Collection[str] = ()

    @property
    def rows(self) -> Rows:
        """Rows with a known target, ascending."""
        return np.flatnonzero(self.known)

    def units(self, *, together: bool) -> Rows:
        """Return a label for each crystal: its duplicates' if they stay together, else its own."""
        return self.groups if together and self.groups is not None else np.arange(len(self.crystals))


class Splitter(ABC):
    """Base class of rules that split a table of crystals. Subclasses are frozen dataclasses, without state.

    Attributes:
        apart: Whether it is known that no structure is in two parts, so that this need not be checked.
    """

    # no ClassVar: with one, jsonargparse 4.53 does not know short names of splitters within a splitter
    apart = False

    @abstractmethod
    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Return the rows of each part; :meth:`split` removes rows without a known target afterwards."""

    def pool(self, table: Table) -> tuple[Rows, Rows]:
        """Return all rows that could be used for training, and the test part; ``(crystals,)`` int64 each.

        By default the former are those of the training and validation part. Some may lack a known target.
        """
        parts = self.divide(table)
        return np.concatenate([parts["train"], parts["val"]]), parts["test"]

    def split(
        self,
        crystals: Crystals,
        *,
        targets: Sequence[str] = (),
        groups: Rows | None = None,
        excluded: Collection[str] = (),
        look: bool = False,
    ) -> Split:
        """Split the table; the same arguments always give the same split. They are those of :class:`Table`.

        Crystals without any known target are left out and counted. With ``look``, the structures of the parts
        are compared, unless the groups say that none is in two parts: crystals of the training and validation
        part that are also in a later part are counted, or left out if the splitter has ``duplicates: drop``.

        Raises:
            UserError: Training or validation would be empty, or the table does not fit the rule.
        """
        known = known_rows(crystals, targets)
        given = self.divide(Table(crystals, known, groups, targets, frozenset(excluded)))
        ids = [str(name) for name in crystals.ids]
        parts = {name: np.asarray(given.get(name, ()), dtype=np.int64).reshape(-1) for name in PARTS}
        _check(parts, ids)
        check_copies(parts, crystals)
        kept = {name: rows[known[rows]] for name, rows in parts.items()}
        for name, rows in kept.items():
            if len(parts[name]) and not len(rows):
                raise UserError(
                    f"none of the {len(parts[name])} crystals of the {name} part has a known value of "
                    f"{', '.join(targets)}; choose another target or another split"
                )
        left_out = int(np.count_nonzero(~known))
        unused = int(np.count_nonzero(known)) - sum(len(rows) for rows in kept.values())
        if (duplicates := getattr(self, "duplicates", None)) not in {None, *get_args(Duplicates)}:
            raise UserError(f"duplicates must be keep or drop, got {duplicates!r}")
        drop = duplicates == "drop"
        compared = True
        if (look and not self.apart and (groups is None or _straddle(kept, groups))) or (
            drop and groups is None
        ):
            groups, compared = shared_structures(crystals, list(kept.values()))
        dropped = 0
        if drop and groups is not None:
            kept, dropped = _dropped(kept, groups, parents(crystals))
        split = Split(kept["train"], kept["val"], kept["test"], spec=self.spec(), left_out=left_out)
        notes = _notes(split, groups, unused, compared=compared)
        if dropped:
            notes.append(
                f"{dropped:,} crystal(s) taken out of train or val: their structure is in a later part"
            )
        return replace(split, notes=tuple(notes), copies=_copies(split.parts, "test", groups))

    def spec(self) -> dict[str, Any]:
        """Return the class path and the constructor arguments of this splitter."""
        arguments = {key: v.spec() if isinstance(v, Splitter) else v for key, v in vars(self).items()}
        return {"class_path": plugins.class_path(type(self)), "init_args": arguments}


class OnBase:
    """Of a splitter that leaves the division to another one, its ``base``: what it does as that one."""

    base: Splitter

    @property
    def keep_duplicates_together(self) -> bool:
        """Whether duplicates never straddle two parts: as the base has it."""
        return getattr(self.base, "keep_duplicates_together", False)

    @property
    def duplicates(self) -> Duplicates | None:
        """What becomes of crystals whose structure a later part has: as the base has it."""
        return getattr(self.base, "duplicates", None)


def known_rows(crystals: Crystals, targets: Sequence[str]) -> NDArray[np.bool_]:
    """Return which crystals have at least one known target, ``(crystals,)``; all if there are no targets.

    Raises:
        UserError: A target column is missing.
    """
    if not targets:
        return np.ones(len(crystals), dtype=bool)
    known: NDArray[np.bool_] = np.any([crystals.known(name) for name in targets], axis=0)
    return known


def check_copies(parts: Mapping[str, Rows], crystals: Crystals) -> None:
    """Make sure that perturbed copies are in the part of their crystal.

    Raises:
        UserError: One is not, so that the other tells what it is tested with.
    """
    if not (copies := copied(crystals)):
        return
    part_of = {str(crystals.ids[row]): part for part, rows in parts.items() for row in rows.tolist()}
    for row, parent in copies.items():
        part = part_of.get(str(crystals.ids[row]))
        if part and part_of.get(parent, part) != part:
            raise UserError(
                f"{crystals.ids[row]!r} is in the {part} part, but a copy of {parent!r} in the "
                f"{part_of[parent]} part; take a splitter that reads the parts: FromColumn with column: part"
            )


def differ(one: str, other: str) -> bool:
    """Whether two texts of :meth:`Split.to_json` are different splits, or hold different labels.

    What is said of duplicates does not count: splits that were written before nobody had looked at.
    """

    def told(text: str) -> list[Any]:
        content = json.loads(text)
        notes = [note for note in content.get("notes", ()) if "have a duplicate in" not in note]
        return [notes, content.get("left_out"), *(content.get(part) for part in PARTS)]

    try:
        return told(one) != told(other)
    except (ValueError, RecursionError, AttributeError):  # a damaged file
        return one != other


def _parse(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"the split is no JSON: {error}; write it anew") from error
    if lacking := [name for name in PARTS if not isinstance(content, dict) or name not in content]:
        raise UserError(
            f"the split lacks the part(s) {', '.join(lacking)}; wanted lists of ids: {', '.join(PARTS)}"
        )
    for name in PARTS:
        if not isinstance(content[name], list) or not all(isinstance(each, str) for each in content[name]):
            raise UserError(f"the {name} part of the split must be a list of ids; write it anew")
    if content.get("format", FORMAT) != FORMAT:
        raise UserError(f"the split has format {content['format']}; this version reads format {FORMAT}")
    return dict(content)


def _check(parts: Mapping[str, Rows], ids: Sequence[str]) -> None:
    def name_of(row: int) -> str:
        return f"crystal {ids[row]!r}" if ids else f"row {row}"

    for part, rows in parts.items():
        if not len(rows) and part != "test":
            raise UserError(
                f"the {part} part of the split is empty; ask for a larger share or count of {part!r}, "
                "or bring more data"
            )
        if len(rows) and (rows.min() < 0 or (ids and rows.max() >= len(ids))):
            raise UserError(f"the {part} part has rows from {rows.min()} to {rows.max()}, out of the table")
        unique, counts = np.unique(rows, return_counts=True)
        if len(unique) < len(rows):
            raise UserError(f"{name_of(int(unique[counts.argmax()]))} is in the {part} part more than once")
    for one, other in combinations(parts, 2):
        shared = np.intersect1d(parts[one], parts[other])
        if len(shared):
            raise UserError(
                f"{len(shared)} crystal(s) are in both the {one} and the {other} part, "
                f"the first is {name_of(int(shared[0]))}; each crystal belongs to one part"
            )


def _copies(parts: Mapping[str, Rows], part: str, groups: Rows | None) -> Rows:
    """Return the rows of a part whose group an earlier part has."""
    if groups is None:
        return np.empty(0, dtype=np.int64)
    earlier = np.concatenate([parts[name] for name in PARTS[: PARTS.index(part)]])
    return parts[part][np.isin(groups[parts[part]], groups[earlier])]


def _straddle(parts: Mapping[str, Rows], groups: Rows) -> bool:
    return any(len(_copies(parts, part, groups)) for part in ("val", "test"))


def _dropped(parts: Mapping[str, Rows], groups: Rows, origin: Rows) -> tuple[dict[str, Rows], int]:
    """Return the parts without crystals whose group a later part has, and their copies; how many they are."""

    def without(rows: Rows, later: Rows) -> Rows:
        tested = np.isin(groups, groups[later])
        return rows[~tested[rows] & ~tested[origin[rows]]]

    val = without(parts["val"], parts["test"])
    train = without(parts["train"], np.concatenate([val, parts["test"]]))
    kept = {"train": train, "val": val, "test": parts["test"]}
    return kept, sum(len(parts[name]) - len(rows) for name, rows in kept.items())


def _notes(split: Split, groups: Rows | None, unused: int, *, compared: bool) -> list[str]:
    notes = [] if len(split.test) else ["the test part is empty"]
    if unused:
        notes.append(f"{unused:,} crystal(s) with a known target are in no part")
    for part, others in (("val", "train"), ("test", "train or val")):
        if count := len(_copies(split.parts, part, groups)):
            most = "" if compared else "at most "
            notes.append(f"{most}{count:,} {part} crystal(s) have a duplicate in {others}")
    return notes
