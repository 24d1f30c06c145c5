"""Splits drawn at random, seeded; duplicates stay together unless asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tlzoo.crystals import SYMBOLS
from tlzoo.data.splits.ids import Rows
from tlzoo.data.splits.splitter import Splitter, Table
from tlzoo.errors import UserError

Parts = dict[str, Rows]


@dataclass(frozen=True)
class Random(Splitter):
    """Split at random.

    Attributes:
        val: Size of the validation part: a fraction of all crystals (below 1) or a number of crystals (1 or
            more).
        test: Size of the test part, likewise; 0 for none.
        seed: Seed of the random split.
        keep_duplicates_together: Keep all copies of a structure in the same part.
    """

    val: int | float = 0.1
    test: int | float = 0.1
    seed: int = 0
    keep_duplicates_together: bool = True

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Draw test, then validation; the rest trains."""
        units = table.units(together=self.keep_duplicates_together)
        return _random(table.rows, units, val=self.val, test=self.test, seed=[self.seed])


@dataclass(frozen=True)
class ByComposition(Splitter):
    """Split compositions at random: all crystals of a reduced formula are in the same part.

    Attributes:
        val: Size of the validation part: a fraction of all crystals (below 1) or a number of crystals (1 or
            more).
        test: Size of the test part, likewise; 0 for none.
        seed: Seed of the random split.
    """

    val: int | float = 0.1
    test: int | float = 0.1
    seed: int = 0

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Draw whole compositions for test, then for validation; the rest trains."""
        formulas = np.array(table.crystals.formulas, dtype=np.str_)
        units = np.unique(formulas, return_inverse=True)[1].reshape(-1)
        return _random(table.rows, units, val=self.val, test=self.test, seed=[self.seed])


@dataclass(frozen=True)
class LeaveElementOut(Splitter):
    """Test on all crystals that contain an element; train and validate on the others.

    Attributes:
        element: Symbol of the element.
        val: Size of the validation part: a fraction of the other crystals (below 1) or a number of crystals
            (1 or more).
        seed: Seed of the random choice of validation crystals.
        keep_duplicates_together: Keep all copies of a structure in the same part, training or validation.
    """

    element: str = "O"
    val: int | float = 0.1
    seed: int = 0
    keep_duplicates_together: bool = True

    def __post_init__(self) -> None:
        if self.element not in SYMBOLS[1:]:
            raise UserError(f"element must be a chemical symbol such as 'O', got {self.element!r}")

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Test on the crystals with the element; draw validation from the others."""
        atoms = table.crystals.numbers == SYMBOLS.index(self.element)
        has = np.logical_or.reduceat(atoms, table.crystals.offsets[:-1]) & table.known
        if not has.any():
            raise UserError(
                f"no crystal with a known target contains {self.element}, so there is nothing to test on; "
                "choose another element"
            )
        units = table.units(together=self.keep_duplicates_together)
        rest, test = np.flatnonzero(table.known & ~has), np.flatnonzero(has)
        return inner(rest, test, units, val=self.val, seed=[self.seed])


@dataclass(frozen=True)
class KFold(Splitter):
    """One split of a k-fold cross-validation: one fold is the test part.

    Attributes:
        folds: Number of folds (k).
        fold: Number of the fold that is the test part, from 0.
        val: Size of the validation part: a fraction of the other crystals (below 1) or a number of crystals
            (1 or more).
        seed: Seed of the folds; use the same for all splits of a cross-validation.
        keep_duplicates_together: Keep all copies of a structure in the same part.
    """

    folds: int = 5
    fold: int = 0
    val: int | float = 0.1
    seed: int = 0
    keep_duplicates_together: bool = True

    def __post_init__(self) -> None:
        check_fold(self.folds, self.fold)

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Deal whole groups of duplicates to the folds, the smallest fold first."""
        units = table.units(together=self.keep_duplicates_together)
        return dealt(table.rows, units, self.folds, self.fold, val=self.val, seed=[self.seed])


@dataclass(frozen=True)
class RepeatedKFold(Splitter):
    """One split of a k-fold cross-validation that is repeated with other folds.

    Attributes:
        folds: Number of folds (k).
        repeats: Number of repetitions.
        index: Number of the split, from 0 to ``folds * repeats - 1``: ``index % folds`` is the fold, ``index
            // folds`` the repetition.
        val: Size of the validation part: a fraction of the other crystals (below 1) or a number of crystals
            (1 or more).
        seed: Seed of the folds.
        keep_duplicates_together: Keep all copies of a structure in the same part.
    """

    folds: int = 5
    repeats: int = 3
    index: int = 0
    val: int | float = 0.1
    seed: int = 0
    keep_duplicates_together: bool = True

    def __post_init__(self) -> None:
        check_fold(self.folds, 0)
        if not 0 <= self.index < self.folds * self.repeats:
            raise UserError(
                f"index must be below folds * repeats = {self.folds * self.repeats}, from 0, got {self.index}"
            )

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Deal as :class:`KFold` does, with the seed of the repeat."""
        units = table.units(together=self.keep_duplicates_together)
        repeat, fold = divmod(self.index, self.folds)
        return dealt(table.rows, units, self.folds, fold, val=self.val, seed=[self.seed, repeat])


def inner(rest: Rows, test: Rows, units: Rows, *, val: float, seed: Sequence[int]) -> Parts:
    """Draw the validation part, a fraction or a count, from what a test part leaves.

    ``units`` has a label of each crystal of the table; equal labels stay together.
    """
    return {**_random(rest, units, val=val, test=0, seed=seed), "test": test}


def check_fold(folds: int, fold: int) -> None:
    """Raise a UserError unless there are at least two folds and ``fold`` is one of them."""
    if folds < 2:
        raise UserError(f"folds must be at least 2, got {folds}")
    if not 0 <= fold < folds:
        raise UserError(f"fold must be from 0 to {folds - 1}, got {fold}")


def _count(share: float, total: int, name: str) -> int:
    if share < 0 or (share > 1 and share != int(share)):
        raise UserError(f"{name} must be a fraction from 0 to 1 or a whole count of crystals, got {share}")
    if share >= 1:
        return int(share)
    return max(1, round(share * total)) if share > 0 else 0


def _random(rows: Rows, units: Rows, *, val: float, test: float, seed: Sequence[int]) -> Parts:
    wanted = {"test": _count(test, len(rows), "test"), "val": _count(val, len(rows), "val")}
    if sum(wanted.values()) >= len(rows):
        raise UserError(
            f"{len(rows)} crystal{'s' if len(rows) != 1 else ''} with a known target cannot give "
            f"{wanted['val']} for validation and {wanted['test']} for test and leave some to train on; ask "
            "for less or bring more data"
        )
    parts: dict[str, list[Rows]] = {"train": [], "val": [], "test": []}
    free = dict(wanted)
    for members in _shuffled(rows, units, seed):
        # a group too large for what is still wanted goes on: sizes are never exceeded
        part = next((name for name in ("test", "val") if len(members) <= free[name]), "train")
        parts[part].append(members)
        if part != "train":
            free[part] -= len(members)
    for name, count in wanted.items():
        if count and not parts[name]:
            raise UserError(
                f"no group of crystals that belong together is small enough for a {name} part of {count} "
                f"out of {len(rows)}; ask for a larger {name} part"
            )
    return {name: np.sort(np.concatenate([[], *members]).astype(np.int64)) for name, members in parts.items()}


def dealt(rows: Rows, units: Rows, folds: int, fold: int, *, val: float, seed: Sequence[int]) -> Parts:
    """Deal whole groups of rows to folds, the smallest fold first, and draw validation from the others.

    ``units`` has a label of each crystal of the table; equal labels stay together.

    Raises:
        UserError: There are fewer groups than folds.
    """
    groups = _shuffled(rows, units, seed)
    if len(groups) < folds:
        raise UserError(
            f"{folds} folds need at least {folds} different crystals with a known target, "
            f"there are {len(groups)}; ask for fewer folds or bring more data"
        )
    groups.sort(key=len, reverse=True)
    dealt: list[list[Rows]] = [[] for _ in range(folds)]
    sizes = np.zeros(folds, dtype=np.int64)
    for members in groups:
        smallest = int(sizes.argmin())
        dealt[smallest].append(members)
        sizes[smallest] += len(members)
    test = np.sort(np.concatenate(dealt[fold]))
    return inner(np.setdiff1d(rows, test), test, units, val=val, seed=[*seed, fold])


def _shuffled(rows: Rows, units: Rows, seed: Sequence[int]) -> list[Rows]:
    rows = np.sort(rows)
    order = np.argsort(units[rows], kind="stable")
    groups = np.split(rows[order], np.flatnonzero(np.diff(units[rows][order])) + 1)
    # in the order of their first row, so that the draw depends on who is alike, not on the labels
    groups.sort(key=lambda members: int(members[0]))
    return [groups[i] for i in np.random.default_rng(list(seed)).permutation(len(groups))]
