"""A training set chosen out of what another split leaves: how many crystals, and which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tlzoo.data.splits.by_target import ByTarget
from tlzoo.data.splits.drawn import Random, inner
from tlzoo.data.splits.ids import Rows
from tlzoo.data.splits.splitter import OnBase, Splitter, Table
from tlzoo.errors import UserError

# Of the target's range. Ten crystals, the fewest that the paper fine-tunes on, can have one in each.
BINS = 10

How = Literal["random", "target", "composition", "worst"]


@dataclass(frozen=True)
class Sampled(OnBase, Splitter):
    """Train on a few crystals out of a pool, chosen in a certain way; test as another splitter does.

    The pool is all that the other splitter does not test on (:meth:`Splitter.pool`). Targets of test crystals
    have no influence. With one seed, those chosen for size 10 are among those chosen for size 100.

    Attributes:
        base: The splitter with the test part.
        size: Crystals for training and validation together.
        how: ``random``: all are equally likely. ``target``: evenly over the range of the target, as far as
            there are crystals. ``composition``: each as far in composition as possible from all before.
            ``worst``: one crystal and those with the compositions nearest to it.
        val: Validation part, drawn at random: a fraction of the chosen (below 1) or a count (1 or more).
        seed: Seed of the choice, and of the validation draw.

    References:
        Kennard & Stone, Technometrics 11, 137 (1969): farthest points.
    """

    base: Splitter = field(default_factory=Random)
    size: int = 100
    how: How = "random"
    val: int | float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 2:
            raise UserError(f"size must be at least 2, one to train on and one to validate, got {self.size}")
        if isinstance(self.base, Sampled):
            raise UserError("base must be a splitter with a test part of its own, got Sampled")
        if isinstance(self.base, ByTarget):
            raise UserError(
                "base is ByTarget, whose pool has crystals without the target, too; take it the other way "
                "round: ByTarget with Sampled as base"
            )

    def divide(self, table: Table) -> Mapping[str, Rows]:
        """Choose from the pool, then draw validation."""
        pool, test = self.base.pool(table)
        pool = np.sort(pool[table.known[pool]])
        if self.size > len(pool):
            raise UserError(
                f"size is {self.size}, but {type(self.base).__name__} leaves {len(pool)} crystals with a "
                "known target to choose from; ask for fewer"
            )
        # all ties below go to the crystal that comes first in this order
        pool = np.random.default_rng(self.seed).permutation(pool)
        chosen = pool[_CHOICES[self.how](table, pool, self.size)]
        return inner(chosen, test, table.units(together=True), val=self.val, seed=[self.seed])


def _first(_: Table, __: Rows, size: int) -> Rows:
    """Choose the first crystals of a pool; as all others, as positions in it, ``(size,)``."""
    return np.arange(size)


def _over_target(table: Table, pool: Rows, size: int) -> Rows:
    """Choose from ten bins of equal width, one crystal of each in turn; empty bins are left out."""
    if len(table.targets) != 1:
        raise UserError(
            f"how: target wants one target to choose by, got {', '.join(table.targets) or 'none'}; "
            "choose by composition"
        )
    values = table.crystals.column(table.targets[0])[pool].astype(np.float64)
    edges = np.linspace(values.min(), values.max(), BINS + 1)
    label = np.digitize(values, edges[1:-1])
    turn = np.empty(len(pool), dtype=np.int64)
    for members in (np.flatnonzero(label == number) for number in range(BINS)):
        turn[members] = np.arange(len(members))
    return np.argsort(turn, kind="stable")[:size]


def _farthest(table: Table, pool: Rows, size: int) -> Rows:
    """Choose the first crystal, then each time the one that is farthest from all chosen."""
    fractions = _fractions(table, pool)
    chosen = [0]
    distance = np.full(len(pool), np.inf, dtype=np.float32)
    while len(chosen) < size:
        distance = np.minimum(distance, _distance(fractions, chosen[-1]))
        distance[chosen] = -1.0  # others of the same composition have 0
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def _nearest(table: Table, pool: Rows, size: int) -> Rows:
    """Choose the first crystal and those nearest to it."""
    return np.argsort(_distance(_fractions(table, pool), 0), kind="stable")[:size]


def _fractions(table: Table, pool: Rows) -> NDArray[np.float32]:
    """Return the share of each element in each crystal, ``(elements, crystals)``."""
    return np.ascontiguousarray(table.crystals.select(pool).element_fractions.T, dtype=np.float32)


def _distance(fractions: NDArray[np.float32], one: int) -> NDArray[np.float32]:
    """Return which share of the atoms is of another element than in one of the crystals, ``(crystals,)``."""
    elements = np.flatnonzero(fractions[:, one])
    shared: NDArray[np.float32] = np.minimum(fractions[elements], fractions[elements, one, None]).sum(axis=0)
    # equal compositions of different cells may differ in the last digit
    return np.round(1 - shared, 5)


_CHOICES = {"random": _first, "target": _over_target, "composition": _farthest, "worst": _nearest}
