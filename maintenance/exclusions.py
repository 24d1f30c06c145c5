"""Find the crystals to keep out of pre-training, those that a test set has too, and write their list."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.fingerprints import Fingerprint, fingerprint
from tlzoo.data.pretraining.exclusions import LIST, NO_GRAPH, signature
from tlzoo.data.pretraining.merged import SOURCES
from tlzoo.data.splits.ids import rows_by_id, rows_of
from tlzoo.data.splits.published import paper_lists
from tlzoo.descriptors.suitability import unusable
from tlzoo.graphs.graph_options import GraphOptions

COLUMNS: Final = ["data_set", "id", "member_of", "reasons"]

# In units of the cube root of the volume per atom. Of 1,606 pairs of one formula, crystals of `mp` beside
# crystals of test sets, all 117 that pymatgen's StructureMatcher calls the same differ by less (two of them
# by more than 0.031), and so do 626 that it does not: polytypes, other orders of similar ions, small
# distortions.
ALIKE: Final = 0.06


@dataclass(frozen=True)
class HeldOut:
    """A test set whose crystals are kept out.

    Attributes:
        name: Name of the test set, the reason in the list.
        data_set: The named data set it is part of.
        paper: Its key in the paper's lists; None if all crystals of the data set belong to it.
        whole_formula: Keep out every crystal of the same reduced formula, whatever its structure.
        but: A data set it does not apply to.
    """

    name: str
    data_set: str
    paper: str | None = None
    whole_formula: bool = False
    but: str = ""

    def rows(self, crystals: Crystals, lists: Mapping[str, Mapping[str, list[str]]]) -> NDArray[np.int64]:
        """Return the rows of the test set in its data set, ``(crystals,)`` int64."""
        if self.paper is None:
            return np.arange(len(crystals))
        return rows_of(lists[self.paper]["test"], rows_by_id(crystals.ids), f"test of {self.paper}")


# Every phonon crystal is in the test part of one Matbench fold. With its phonon label it may train those
# networks that are not fine-tuned on phonons; everything else that is known of it is kept out.
# The rest by formula: a measured gap belongs to a compound, its structure is only the likely one; a monolayer
# has its bulk parent in `mp`; and the embedded example is to stay an honest one whatever is done with it.
HELD_OUT: Final = (
    HeldOut("mp_band_gap", "mp", "mp_band_gap"),
    HeldOut("log_gvrh", "log_gvrh", "log_gvrh"),
    HeldOut("phonons", "phonons", "phonons"),
    HeldOut("matbench_phonons", "phonons", but="phonons"),
    HeldOut("dielectric", "dielectric", "dielectric"),
    HeldOut("piezoelectric", "piezoelectric", "piezoelectric"),
    HeldOut("expt_gap", "expt_gap", "expt_gap", whole_formula=True),
    HeldOut("jarvis_2d", "jarvis_2d", "jarvis_2d", whole_formula=True),
    HeldOut("semiconductors", "semiconductors", whole_formula=True),
)


def find(
    tables: Mapping[str, Crystals],
    sources: Iterable[str],
    *,
    held_out: Iterable[HeldOut] = HELD_OUT,
    lists: Mapping[str, Mapping[str, list[str]]] | None = None,
) -> pd.DataFrame:
    """Find the crystals of the sources that are in a test set, or have no graph.

    A crystal is in a test set if that has one of the same reduced formula and the same structure, by a
    generous measure (:func:`alike`), or of the same reduced formula
    alone where the test set says so.

    Args:
        tables: Crystals by name of the data set, those of the test sets too.
        sources: Names of the data sets to search.
        held_out: The test sets.
        lists: The paper's lists; read from its file by default.

    Returns:
        A row for each crystal kept out, by source and row, all columns text: ``data_set``, ``id``,
        ``member_of`` (the test set that it is itself part of), ``reasons`` (the test sets that have the same
        one, or ``no_graph``).
    """
    held_out, lists = list(held_out), paper_lists() if lists is None else lists
    prints = cache(lambda name, row: fingerprint(tables[name], row))
    tests: defaultdict[str, list[tuple[HeldOut, int]]] = defaultdict(list)
    members: dict[tuple[str, int], str] = {}
    for test in held_out:
        crystals = tables[test.data_set]
        for row in test.rows(crystals, lists).tolist():
            tests[crystals.formulas[row]].append((test, row))
            if test.but != test.data_set:
                members[test.data_set, row] = test.name

    found: list[tuple[str, str, str, str]] = []
    for name in sources:
        crystals = tables[name]
        alone = {row for row, _ in unusable(crystals, GraphOptions())}
        for row, formula in enumerate(tqdm(crystals.formulas, desc=name, unit=" crystals", disable=None)):
            candidates = [candidate for candidate in tests.get(formula, ()) if candidate[0].but != name]
            hits = _hits(name, row, candidates, prints)
            member = members.get((name, row), "")
            reasons = [test.name for test in held_out if test in hits and test.name != member]
            if row in alone:
                reasons.append(NO_GRAPH)
            if member or reasons:
                found.append((name, str(crystals.ids[row]), member, " ".join(reasons)))
    return pd.DataFrame(found, columns=COLUMNS)


def _hits(
    name: str, row: int, tests: list[tuple[HeldOut, int]], prints: Callable[[str, int], Fingerprint]
) -> set[HeldOut]:
    """Return the test sets with a crystal of this formula that have this crystal."""
    hits = {test for test, _ in tests if test.whole_formula}
    others = [(test, other) for test, other in tests if not test.whole_formula]
    if others:
        stack = np.stack([prints(test.data_set, other) for test, other in others])
        same = alike(prints(name, row), stack)
        hits |= {test for (test, _), is_same in zip(others, same, strict=True) if is_same}
    return hits


def alike(one: Fingerprint, others: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which fingerprints of crystals of the same formula are those of one and the same structure.

    Args:
        one: A fingerprint, ``(elements, elements, 8)``.
        others: Fingerprints to compare it with, ``(crystals, elements, elements, 8)``.

    Returns:
        ``(crystals,)``: whether the mean absolute difference is at most 0.06.
    """
    same: NDArray[np.bool_] = np.abs(others - one).mean(axis=(1, 2, 3)) <= ALIKE
    return same


def write(found: pd.DataFrame, tables: Mapping[str, Crystals], path: Path) -> None:
    """Write the list, and of which versions of the sources it speaks."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("# Crystals kept out of pre-training; made by python -m maintenance.exclusions from\n")
        for name, crystals in tables.items():
            file.write(f"# {name} {len(crystals)} {signature(crystals)}\n")
        found.to_csv(file, index=False)


def counts(found: pd.DataFrame) -> pd.DataFrame:
    """Return how many crystals of each source (columns) are kept out for each reason (rows), and for any."""
    reasons = (found["member_of"] + " " + found["reasons"]).str.split()
    each = found.assign(reason=reasons).explode("reason")
    table = pd.crosstab(each["reason"], each["data_set"])
    table.loc["any"] = found["data_set"].value_counts()
    order = [test.name for test in HELD_OUT] + [NO_GRAPH, "any"]
    return table.reindex(index=order, columns=found["data_set"].unique(), fill_value=0)


def main() -> None:
    """Read, compare, write, and say how many crystals each test set keeps out of each source."""
    parser = argparse.ArgumentParser(prog="python -m maintenance.exclusions", description=__doc__)
    parser.add_argument("--output", type=Path, default=LIST, help="file to write (default: the one in use)")
    given = parser.parse_args()
    tables = {
        name: named.load(name) for name in {**dict.fromkeys(SOURCES), **{t.data_set: None for t in HELD_OUT}}
    }
    found = find(tables, SOURCES)
    write(found, {name: tables[name] for name in SOURCES}, given.output)
    sys.stdout.write(f"{counts(found).to_string()}\n{len(found):,} crystals in {given.output}\n")


if __name__ == "__main__":
    main()
