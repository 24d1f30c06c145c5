"""A table of crystals with what is to be learned of them, divided into parts; no torch in here."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.atom_table import AtomTable
from tlzoo.data.duplicates import duplicate_groups
from tlzoo.data.intake import crystals_from
from tlzoo.data.known_elements import check_elements
from tlzoo.data.pseudo_labels import read_pseudo_labels, with_unlabelled
from tlzoo.data.sources.labels import unlearnable, with_classes
from tlzoo.data.sources.problems import Place, raise_errors, remarks, tell
from tlzoo.data.sources.repeats import SameId
from tlzoo.data.splits import Random, Split, Splitter
from tlzoo.errors import UserError

logger = logging.getLogger(__name__)

Rows = NDArray[np.int64]
Values = NDArray[np.float32]

# Arguments that say which crystals there are, with the source.
READING = ("targets", "units", "id_column", "structure_column", "same_id", "exclude", "leave_out")

SHUFFLED = "a control: labels of the training and validation part are shuffled, those of the test part not"


class LabelledTable:
    """Crystals with labels and a split; read, filtered and divided when first asked for.

    Arguments are those of :class:`tlzoo.data.module.CrystalDataModule`; ``source`` may also be what the
    crystals are called that :meth:`take` gets.
    """

    def __init__(
        self,
        source: str,
        targets: Sequence[str] | None = None,
        split: Splitter | None = None,
        *,
        units: Mapping[str, str] | None = None,
        id_column: str | None = None,
        structure_column: str | None = None,
        same_id: SameId | None = None,
        exclude: Sequence[str] | None = None,
        leave_out: Mapping[str, str] | None = None,
        pseudo_labels: str | None = None,
        teacher: str | None = None,
        shuffle_labels: int | None = None,
    ) -> None:
        if shuffle_labels is not None and shuffle_labels < 0:
            raise UserError(f"shuffle_labels must be a seed, 0 or more, got {shuffle_labels}")
        if shuffle_labels is not None and pseudo_labels is not None:
            raise UserError("shuffle_labels and pseudo_labels exclude each other; give one of them")
        self.source = source
        self.splitter = split or Random()
        self.exclude = list(exclude or ())
        self.leave_out = dict(leave_out or {})
        self.pseudo_labels = pseudo_labels
        self.teacher = teacher
        self.shuffle_labels = shuffle_labels
        self._targets = list(targets) if targets else None
        columns = {"id_column": id_column, "structure_column": structure_column}
        self._reading: dict[str, Any] = {"units": units, "same_id": same_id, **columns}
        self._crystals: Crystals | None = None
        self._taken_out: frozenset[str] = frozenset()
        self._split: Split | None = None

    @property
    def crystals(self) -> Crystals:
        """The crystals, without those that are left out."""
        if self._crystals is None:
            self.take(self.source)
        assert self._crystals is not None
        return self._crystals

    def take(self, data: Any, labels: Mapping[str, Sequence[Any]] | None = None) -> None:  # noqa: ANN401 (see there)
        """Hold these crystals; :func:`~tlzoo.data.intake.crystals_from` says what they may be.

        Raises:
            UserError: They cannot be read, or do not fit what is to be left out.
        """
        crystals = crystals_from(data, targets=self._targets, labels=labels, **self._reading)
        crystals, notes = with_classes(crystals, self._targets, Place(self.source))
        tell(self.source, remarks(notes, self.source), len(crystals))
        ids = frozenset(crystals.ids)
        if self.exclude:
            if unknown := sorted(set(self.exclude) - ids):
                names = ", ".join(unknown[:5])
                raise UserError(f"data.exclude names ids that are not in {self.source}: {names}")
            crystals = crystals.select(np.flatnonzero(~np.isin(crystals.ids, self.exclude)))
        if self.leave_out:
            there = [_compositions(source, column) for source, column in self.leave_out.items()]
            crystals = crystals.select(np.flatnonzero(~np.isin(crystals.formulas, np.concatenate(there))))
        check_elements(crystals)
        self._crystals, self._taken_out = crystals, ids.difference(crystals.ids)

    def share(self, other: LabelledTable, *, split: bool = True) -> None:
        """Take over the crystals of a table with the same arguments: nothing is read again.

        The split too, unless the arguments differ in it, or in the targets.
        """
        self._crystals, self._taken_out = other.crystals, other._taken_out
        if "groups" in vars(other):
            self.groups = other.groups
        if split:
            self._split = other.split

    @property
    def known_targets(self) -> list[str]:
        """Names of the target columns: those asked for, the data set's own, the only one; else none."""
        if self._targets is None:
            if named.known(self.source) and (target := named.find(self.source).default_target):
                self._targets = [target]
            elif len(self.crystals.columns) == 1:
                self._targets = list(self.crystals.columns)
        return self._targets or []

    @property
    def targets(self) -> list[str]:
        """Names of the target columns, at least one."""
        if not self.known_targets:
            there = ", ".join(self.crystals.columns) or "none"
            raise UserError(f"data.targets must name the column(s) to learn; there are: {there}")
        return self.known_targets

    @property
    def units(self) -> list[str]:
        """Unit of each target; empty where unknown."""
        return [self.crystals.units.get(name, "") for name in self.targets]

    @property
    def split(self) -> Split:
        """Rows of the table for training, validation and test."""
        if self._split is None:
            self._split = self._divided()
        return self._split

    @cached_property
    def groups(self) -> Rows:
        """Labels of the crystals, equal for duplicates, ``(crystals,)``."""
        return duplicate_groups(self.crystals)

    def keep(self, split: Split) -> None:
        """Divide as was done before, whatever the splitter would do now."""
        self._split = split

    def _divided(self) -> Split:
        together = getattr(self.splitter, "keep_duplicates_together", False)
        options: dict[str, Any] = {
            "targets": self.targets,
            "groups": self.groups if together else None,
            "excluded": self._taken_out,
        }
        split = self.splitter.split(self.crystals, look=True, **options)
        if notes := self._said:
            said = np.any(list(notes.values()), axis=0)
            split = with_unlabelled(split, self.splitter, self.crystals, said=said, notes=notes, **options)
        if self.atoms is not None and not self.taught[split.train].any():
            raise UserError(
                f"data.teacher {self.teacher} has none of the training crystals of {self.source}: structures "
                "are compared as they stand, atom by atom; make the table of this data set"
            )
        if self.shuffle_labels is not None:
            split = replace(split, notes=(*split.notes, SHUFFLED))
            logger.warning("data.shuffle_labels is %d: %s", self.shuffle_labels, SHUFFLED)
        return split

    @property
    def used_rows(self) -> Rows:
        """Rows of the table in any part, ascending."""
        return np.unique(np.concatenate([self.split.train, self.split.val, self.split.test]))

    def check_learnable(self) -> None:
        """Refuse what no network can learn from; `tlzoo data check` asks this too.

        Raises:
            UserError: The table cannot be divided, a target is no number that networks compute with, or none
                of its labels is in the training part.
        """
        for name, column in zip(self.targets, self.labels(self.split.train).T, strict=True):
            if np.isnan(column).all():
                raise UserError(f"target {name!r} has no known label in the training part; bring more data")

    def labels(self, rows: Rows) -> Values:
        """Return known targets in physical units, else NaN, ``(crystals, targets)``; shuffled if asked.

        Raises:
            UserError: A target is text.
        """
        if self.shuffle_labels is not None:
            rows = self._exchanged(self.shuffle_labels)[rows]
        return np.stack([self._numbers(name)[rows] for name in self.targets], axis=1)

    def learned(self, rows: Rows) -> Values:
        """Return what training learns: known targets, else pseudo-labels, ``(crystals, targets)``."""
        known = self.labels(rows)
        return known if self._pseudo is None else np.where(np.isnan(known), self._pseudo[rows], known)

    @property
    def _said(self) -> dict[str, NDArray[np.bool_]]:
        """Of which crystals a model has said something, ``(crystals,)``, by what there is to say of it.

        With the hashes a run does not go on with another teacher or other labels.
        """
        notes = {}
        if self._pseudo is not None:
            digest = hashlib.sha256(self._pseudo.tobytes()).hexdigest()[:16]
            there = np.asarray((~np.isnan(self._pseudo)).any(axis=1), dtype=np.bool_)
            notes[f"have only pseudo-labels (SHA-256 {digest})"] = there
        if self.atoms is not None:
            whose = f"{self.atoms.model['name']} (SHA-256 {self.atoms.sha256[:16]})"
            notes[f"have no label but the features of their atoms by {whose}"] = self.taught
        return notes

    @cached_property
    def taught(self) -> NDArray[np.bool_]:
        """Of which crystals a teacher has the atoms, ``(crystals,)``."""
        assert self.atoms is not None
        return self.atoms.holds(self.crystals)

    @cached_property
    def atoms(self) -> AtomTable | None:
        """What a teacher says of atoms, if there is one.

        Raises:
            UserError: There is no such table, or it is not finished.
        """
        return None if self.teacher is None else AtomTable.open(self.teacher)

    @cached_property
    def _pseudo(self) -> Values | None:
        """Pseudo-labels in physical units, NaN where there is none, ``(crystals, targets)``."""
        if self.pseudo_labels is None:
            return None
        return read_pseudo_labels(self.pseudo_labels, self.crystals, self.targets)

    def _exchanged(self, seed: int) -> Rows:
        """Return for each row of the table the one whose labels it gets, ``(crystals,)``."""
        rows = np.arange(len(self.crystals))
        for number, part in enumerate((self.split.train, self.split.val)):
            rows[part] = np.random.default_rng([seed, number]).permutation(part)
        return rows

    def _numbers(self, name: str) -> Values:
        column = self.crystals.column(name)
        if column.dtype == object:
            bad = next(i for i, value in enumerate(column) if isinstance(value, str))
            raise UserError(
                f"target {name!r} is not a number: {self.crystals.origin(bad)} has {column[bad]!r}; "
                "correct it, or leave the field empty if it is unknown"
            )
        raise_errors(self.source, unlearnable(self.crystals, name))
        return column.astype(np.float32)


def _compositions(source: str, column: str) -> NDArray[np.str_]:
    """Return the formulas of the crystals that have a value in a column."""
    crystals = crystals_from(source, targets=[column])
    return np.asarray(crystals.formulas, dtype=np.str_)[crystals.known(column)]
