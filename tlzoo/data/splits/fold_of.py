"""One fold of the crystals that another split has to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tlzoo.data.splits.by_target import ByTarget
from tlzoo.data.splits.drawn import ByComposition, Random, check_fold, dealt
from tlzoo.data.splits.ids import Rows
from tlzoo.data.splits.splitter import Splitter, Table
from tlzoo.errors import UserError


@dataclass(frozen=True)
class FoldOf(Splitter):
    """Deal what another split trains and validates with to folds: one of them is the test part.

    The test part of the other split is in no fold; its crystals can be measured when all folds are trained.
    What it keeps together stays together: duplicates, or all crystals of one composition.

    Attributes:
        of: The other split; by default one without a test part, so that all crystals are in a fold.
        folds: Number of folds, k.
        fold: Which of them is the test part, from 0.
        val: Validation part, drawn from the other folds: a fraction (below 1) or a count (1 or more).
        seed: Seed of the draws; the same for all folds of one k-fold.
    """

    of: Splitter = field(default_factory=lambda: Random(test=0))
    folds: int = 5
    fold: int = 0
    val: int | float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_fold(self.folds, self.fold)
        if isinstance(self.of, FoldOf):
            raise UserError("of must be a split that is no fold itself, got FoldOf")
        if isinstance(self.of, ByTarget):
            raise UserError(
                "ByTarget cannot be divided into folds: crystals without its target, which are only learned "
                "from, would be in test parts; give ByTarget a base of folds, such as KFold, and train each "
                "fold by itself"
            )
        if getattr(self.of, "duplicates", None) == "drop":
            raise UserError(
                "duplicates: drop cannot be divided into folds; name the crystals to leave out in "
                "data.exclude"
            )

    @property
    def keep_duplicates_together(self) -> bool:
        """Whether duplicates never straddle two parts: unless the other split tears them apart."""
        return getattr(self.of, "keep_duplicates_together", True)

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Deal whole groups to the folds, the smallest fold first."""
        pool, _ = self.of.pool(table)
        rows = np.sort(pool[table.known[pool]])
        if isinstance(self.of, ByComposition):
            units = np.unique(np.array(table.crystals.formulas, dtype=np.str_), return_inverse=True)[1]
        else:
            units = table.units(together=self.keep_duplicates_together)
        seed = [self.seed]
        return dealt(rows, units.reshape(-1), self.folds, self.fold, val=self.val, seed=seed)
