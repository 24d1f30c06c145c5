"""Which crystals of one data set are in another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.duplicates import MANY, candidates, duplicate_groups
from tlzoo.data.fingerprints import fingerprint
from tlzoo.data.intake import crystals_from
from tlzoo.data.pretraining.merged import NAME as PRETRAINING
from tlzoo.data.splits.published import paper_test

# Mean difference of fingerprints up to which two crystals of a formula are compared. The farthest pair that
# pymatgen's StructureMatcher was seen to call the same is 0.082 apart: KNO3 with its anions turned.
NEAR = 0.15


@dataclass(frozen=True)
class Overlap:
    """How many crystals of the data set of that name are in another one.

    Attributes:
        formulas: Those with the reduced formula of a crystal of the other one.
        structures: Those with its structure (:func:`~tlzoo.data.duplicates.duplicate_groups`).
        compared: False where there are too many to compare one by one: ``structures`` is an upper bound.
    """

    name: str
    crystals: int
    formulas: int
    structures: int
    compared: bool = True


def overlap(name: str, crystals: Crystals, other: Crystals) -> Overlap:
    """Count the crystals of one table, called ``name``, that are in another."""
    formulas = int(np.isin(crystals.formulas, other.formulas).sum())
    found, compared = common(crystals, other)
    return Overlap(name, len(crystals), formulas, int(found.sum()), compared)


def common(crystals: Crystals, other: Crystals) -> tuple[NDArray[np.bool_], bool]:
    """Return which crystals of one table have the structure of one in another, ``(crystals,)``.

    And whether there were few enough to compare one by one: else these are all that may have.
    """
    found = np.zeros(len(crystals), dtype=bool)
    ours = np.flatnonzero(np.isin(crystals.formulas, other.formulas))
    theirs = np.flatnonzero(np.isin(other.formulas, crystals.formulas))
    if not len(ours):
        return found, True
    # a formula without a structure is that of every crystal with it
    bare = [set(np.array(t.formulas)[~t.structured]) for t in (crystals, other)]
    found[ours] = [formula in bare[0] or formula in bare[1] for formula in np.array(crystals.formulas)[ours]]
    both = Crystals.concatenated(
        [replace(t.select(r), columns={}) for t, r in ((crystals, ours), (other, theirs))]
    )
    is_ours = np.arange(len(both)) < len(ours)
    near = _near(both, is_ours)
    labels = duplicate_groups(both.select(near))
    mine = near[is_ours[near]]
    found[ours[mine]] |= np.isin(labels[is_ours[near]], labels[~is_ours[near]])
    return found, sum(map(len, candidates(both.select(near)))) <= MANY


def _near(both: Crystals, is_ours: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the rows that may have the structure of a row of the other table: these are to be compared."""
    rows: dict[str, list[int]] = {}
    for row, formula in enumerate(both.formulas):
        rows.setdefault(formula, []).append(row)
    near: set[int] = set()
    without = ~both.structured
    for members in map(np.array, rows.values()):
        if without[members].any():
            continue
        prints = np.stack([fingerprint(both, row) for row in members])
        theirs = ~is_ours[members]
        for row, one in zip(members[~theirs], prints[~theirs], strict=True):
            close = np.abs(prints - one).mean(axis=(1, 2, 3)) <= NEAR
            if (close & theirs).any():
                near |= {int(row), *members[close & theirs].tolist()}
    return np.array(sorted(near), dtype=np.int64)


def load(source: str, *, test: bool = False) -> Crystals:
    """Return a data set, or its test set of the paper; of ``pretraining`` what networks learn from.

    Raises:
        UserError: It cannot be read, or the paper has no test set of it.
    """
    crystals = crystals_from(source, targets=())
    if test:
        return crystals.select(paper_test(crystals, source))
    if source == PRETRAINING:
        return crystals.select(np.flatnonzero(crystals.column("part") != "test"))
    return crystals


def table(found: Iterable[Overlap]) -> Iterator[str]:
    """Yield lines for people, one for each data set that was looked for, as soon as it is there."""
    yield f"{'':24}{'crystals':>10}{'same formula':>20}{'same structure':>20}"
    for each in found:
        structures = _share(each.structures, each.crystals)
        yield (
            f"{each.name:24}{each.crystals:10,}{_share(each.formulas, each.crystals):>20}"
            f"{structures if each.compared else f'≤ {structures}':>20}"
        )


def _share(count: int, total: int) -> str:
    """Return a number and what part of all it is.

    >>> _share(5, 200)
    '5 (2.5 %)'
    """
    return f"{count:,} ({100 * count / max(1, total):.1f} %)"
