"""A split for one target of several; what is known of others alone is learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tlzoo.data.splits.drawn import Random
from tlzoo.data.splits.ids import Rows
from tlzoo.data.splits.splitter import OnBase, Splitter, Table
from tlzoo.errors import UserError


@dataclass(frozen=True)
class ByTarget(OnBase, Splitter):
    """Divide the crystals that have one target, and learn from all that have other targets only.

    For a property that is known at several levels of theory, with a column each: of measured gaps some are
    tested, and computed gaps of other crystals are learned besides. None of these has the composition of a
    crystal of the validation or test part.

    Attributes:
        base: The splitter of the crystals with the target.
        target: The column of the target; by default the first of the targets.
        most: How many of the others to learn from at most, drawn at random; None for all.
        seed: Seed of this draw.
    """

    base: Splitter = field(default_factory=Random)
    target: str | None = None
    most: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 0:
            raise UserError(f"most must be 0 or more, or null for all, got {self.most}")
        if isinstance(self.base, ByTarget):
            raise UserError("base must be a splitter of the crystals with the target, got ByTarget")

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Divide as the base does, then add the others to the training part."""
        target = self.target or next(iter(table.targets), "")
        if target not in table.targets:
            there = ", ".join(table.targets) or "none"
            raise UserError(f"target must be one of data.targets, got {target!r}; there are: {there}")
        crystals = table.crystals
        known = crystals.known(target)
        if not known.any():
            raise UserError(f"no crystal has a known {target!r}, the target that is divided by")
        rows = np.flatnonzero(known)
        groups = None if table.groups is None else table.groups[rows]
        own = Table(crystals.select(rows), known[rows], groups, (target,), table.excluded)
        parts = {part: rows[np.asarray(of, dtype=np.int64)] for part, of in self.base.divide(own).items()}
        formulas = np.asarray(crystals.formulas)
        later = [parts[part] for part in ("val", "test") if part in parts]
        held = np.isin(formulas, formulas[np.concatenate(later)])
        others = np.flatnonzero(table.known & ~known & ~held)
        drawn = np.random.default_rng(self.seed).permutation(others)[: self.most]
        return {**parts, "train": np.concatenate([parts["train"], np.sort(drawn)])}
