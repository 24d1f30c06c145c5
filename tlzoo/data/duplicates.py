"""Which crystals of a table are the same structure, so that none is both trained on and tested with."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.machine.progress import bar

if TYPE_CHECKING:
    from pymatgen.core import Structure

Volumes = NDArray[np.float64]

# Relative difference in volume per atom up to which two crystals are compared. The cells of one compound
# from different functionals, or from experiment, differ by up to 4 % in length.
VOLUME_TOLERANCE = 0.12

# More crystals than this are not compared one by one: 2,000 take about 20 s, and 40,000 an hour.
MANY = 10_000


def duplicate_groups(crystals: Crystals, *, progress: bool = True) -> NDArray[np.int64]:
    """Label the crystals by structure, so that a split can keep equal labels together.

    Two crystals are the same if they have the same reduced formula, volumes per atom within 12 %, and match
    by pymatgen's `StructureMatcher` with its default tolerances (primitive cells, scaled to equal volume).
    Each crystal is compared with the first of every group of its formula; exact copies are not compared.
    Where a crystal has no structure, all of its formula are the same: nobody can tell which of them it is.

    In a table with more than 10,000 crystals to compare, all of one formula with close volumes share a label
    without a comparison. No two equal structures get different labels, but different ones may get the same.

    Returns:
        ``(crystals,)`` int64; the label is the row of the first crystal of the group.
    """
    groups = exact_copies(crystals)
    alike = candidates(crystals)
    total = sum(map(len, alike))
    if total > MANY:
        for rows in alike:
            groups[rows] = rows[0]
        return _with_bare(crystals, groups[groups])
    volumes = crystals.volume_per_atom
    with bar(total, "comparing structures", hidden=not progress) as shown:
        for rows in alike:
            for first, row in _matches(crystals, rows, volumes):
                groups[row] = first
            shown.update(len(rows))
    return _with_bare(crystals, groups[groups])


def shared_structures(
    crystals: Crystals, parts: Sequence[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], bool]:
    """Label crystals by structure as `duplicate_groups` does, but compare only across the parts of a split.

    Crystals in no part, and those whose formula and volume no other part has, are labelled as unlike all
    others.

    Returns:
        Labels, ``(crystals,)`` int64, and whether there were few enough to compare: else different structures
        of one formula and volume may have the same label.
    """
    part = np.full(len(crystals), -1)
    for number, rows in enumerate(parts):
        part[rows] = number
    used = np.flatnonzero(part >= 0)
    formulas = np.asarray(crystals.select(used).formulas, dtype=np.str_)
    formula = np.unique(formulas, return_inverse=True)[1].reshape(-1)
    near = used[_in_several(formula, part[used])]
    some = crystals.select(near)
    alike = exact_copies(some)
    for close in candidates(some):
        alike[close] = close[0]
    near = near[_in_several(_with_bare(some, alike[alike]), part[near])]
    some = crystals.select(near)
    labels = np.arange(len(crystals), dtype=np.int64)
    labels[near] = near[duplicate_groups(some)]
    return labels, sum(map(len, candidates(some))) <= MANY


def _with_bare(crystals: Crystals, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give all crystals of a formula the label of the first, where one of them has no structure."""
    bare = ~crystals.structured
    if not bare.any():
        return labels
    formulas = np.asarray(crystals.formulas, dtype=np.str_)
    _, first, formula = np.unique(formulas, return_index=True, return_inverse=True)
    return np.where(np.isin(formula, formula[bare]), first[formula], labels)


def _in_several(labels: NDArray[np.int64], part: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether a label is in several parts, ``(crystals,)``."""
    there = {*zip(labels.tolist(), part.tolist(), strict=True)}
    count = Counter(label for label, _ in there)
    return np.array([count[label] > 1 for label in labels.tolist()], dtype=bool)


def exact_copies(crystals: Crystals) -> NDArray[np.int64]:
    """Label crystals whose arrays are equal, to 1e-4 Å and 1e-4 of the cell; as `duplicate_groups` does."""
    lattice = np.round(crystals.lattice, 4) + 0.0
    coords = np.round(crystals.frac_coords % 1, 4) % 1 + 0.0
    first: dict[bytes, int] = {}
    labels = np.arange(len(crystals), dtype=np.int64)
    for row, (start, stop) in enumerate(zip(crystals.offsets[:-1], crystals.offsets[1:], strict=True)):
        key = lattice[row].tobytes() + crystals.numbers[start:stop].tobytes() + coords[start:stop].tobytes()
        labels[row] = first.setdefault(key, row)
    return labels


def candidates(crystals: Crystals) -> list[list[int]]:
    """Return lists of rows of one formula and close volumes per atom, without exact copies and loners."""
    labels = exact_copies(crystals)
    by_formula = defaultdict(list)
    # of equal formulas without structures all are exact copies
    for row in np.flatnonzero((labels == np.arange(len(labels))) & crystals.structured).tolist():
        by_formula[crystals.formulas[row]].append(row)
    volumes = crystals.volume_per_atom
    return [part for rows in by_formula.values() for part in _close_in_volume(rows, volumes)]


def _close_in_volume(rows: Sequence[int], volumes: Volumes) -> Iterator[list[int]]:
    """Cut rows of one formula into runs whose neighbours in volume are close; runs of one are left out."""
    if len(rows) < 2:
        return
    order = sorted(rows, key=lambda row: volumes[row])
    cuts = np.flatnonzero(volumes[order[1:]] > (1 + VOLUME_TOLERANCE) * volumes[order[:-1]]) + 1
    for part in np.split(np.array(order), cuts):
        if len(part) > 1:
            yield sorted(int(row) for row in part)


def _matches(crystals: Crystals, rows: Sequence[int], volumes: Volumes) -> Iterator[tuple[int, int]]:
    """Yield (first of the group, row) for each row that is the same structure as an earlier one."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher()
    firsts: list[tuple[int, Structure]] = []
    for row in rows:
        structure = _primitive(crystals, row)
        for first, other in firsts:
            if abs(volumes[row] - volumes[first]) > VOLUME_TOLERANCE * volumes[first]:
                continue
            if len(structure) == len(other) and matcher.fit(structure, other, skip_structure_reduction=True):
                yield first, row
                break
        else:
            firsts.append((row, structure))


def _primitive(crystals: Crystals, row: int) -> Structure:
    """As `StructureMatcher` prepares structures, once per structure instead of once per pair."""
    with warnings.catch_warnings():
        # of noble gases; not needed
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")
        structure = crystals.structure(row).get_reduced_structure(reduction_algo="niggli")
        primitive: Structure = structure.get_primitive_structure()
    return primitive
