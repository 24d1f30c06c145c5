"""The crystals that are kept out of pre-training, because a test set has the same one."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from tlzoo.crystals import Crystals
from tlzoo.data.pretraining.fingerprints import Fingerprint, alike, fingerprint
from tlzoo.data.splits.ids import rows_by_id, rows_of
from tlzoo.data.splits.published import paper_lists
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import all_neighbours

LIST: Final = Path(__file__).with_name("excluded.csv")
NO_GRAPH: Final = "no_graph"
CHUNK: Final = 1_000
COLUMNS: Final = ["data_set", "id", "member_of", "reasons"]


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


def keeps_out(data_set: str) -> bool:
    """Whether no crystal of a data set, not only of its test set, is one that a network learns from."""
    return any(held.data_set == data_set and held.paper is None and not held.but for held in HELD_OUT)


class _Fingerprints:
    """Fingerprints by data set and row, each made once."""

    def __init__(self, tables: Mapping[str, Crystals]) -> None:
        self._tables = tables
        self._made: dict[tuple[str, int], Fingerprint] = {}

    def __call__(self, name: str, row: int) -> Fingerprint:
        if (name, row) not in self._made:
            crystals = self._tables[name]
            atoms = slice(crystals.offsets[row], crystals.offsets[row + 1])
            self._made[name, row] = fingerprint(
                crystals.lattice[row], crystals.frac_coords[atoms], crystals.numbers[atoms]
            )
        return self._made[name, row]


def find(
    tables: Mapping[str, Crystals],
    sources: Iterable[str],
    *,
    held_out: Iterable[HeldOut] = HELD_OUT,
    lists: Mapping[str, Mapping[str, list[str]]] | None = None,
) -> pd.DataFrame:
    """Find the crystals of the sources that are in a test set, or have no graph.

    A crystal is in a test set if that has one of the same reduced formula and the same structure, by a
    generous measure (:func:`~tlzoo.data.pretraining.fingerprints.alike`), or of the same reduced formula
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
    fingerprints = _Fingerprints(tables)
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
        alone = without_graph(crystals)
        for row, formula in enumerate(tqdm(crystals.formulas, desc=name, unit=" crystals", disable=None)):
            candidates = [candidate for candidate in tests.get(formula, ()) if candidate[0].but != name]
            hits = _hits(name, row, candidates, fingerprints)
            member = members.get((name, row), "")
            reasons = [test.name for test in held_out if test in hits and test.name != member]
            if row in alone:
                reasons.append(NO_GRAPH)
            if member or reasons:
                found.append((name, str(crystals.ids[row]), member, " ".join(reasons)))
    return pd.DataFrame(found, columns=COLUMNS)


def _hits(name: str, row: int, tests: list[tuple[HeldOut, int]], fingerprints: _Fingerprints) -> set[HeldOut]:
    """Return the test sets with a crystal of this formula that have this crystal."""
    hits = {test for test, _ in tests if test.whole_formula}
    others = [(test, other) for test, other in tests if not test.whole_formula]
    if others:
        stack = np.stack([fingerprints(test.data_set, other) for test, other in others])
        same = alike(fingerprints(name, row), stack)
        hits |= {test for (test, _), is_same in zip(others, same, strict=True) if is_same}
    return hits


def without_graph(crystals: Crystals) -> set[int]:
    """Return the rows of crystals with an atom that has no neighbour, by the default graph options."""
    rows: set[int] = set()
    for start in range(0, len(crystals), CHUNK):
        cells = cells_of(crystals, start, min(start + CHUNK, len(crystals)))
        _, _, problems = all_neighbours(cells, GraphOptions())
        rows |= {start + row for row in problems}
    return rows


def signature(crystals: Crystals) -> str:
    """Return what tells one version of a data set from another: a hash of ids and formulas."""
    rows = zip(crystals.ids, crystals.formulas, strict=True)
    lines = "\n".join(f"{name} {formula}" for name, formula in rows)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def write(found: pd.DataFrame, tables: Mapping[str, Crystals], path: Path) -> None:
    """Write the list, and of which versions of the sources it speaks."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("# Crystals kept out of pre-training; made by python -m tlzoo.data.pretraining from\n")
        for name, crystals in tables.items():
            file.write(f"# {name} {len(crystals)} {signature(crystals)}\n")
        found.to_csv(file, index=False)


def read() -> pd.DataFrame:
    """Read the list; the columns are those of :func:`find`."""
    return pd.read_csv(LIST, comment="#", dtype=str, keep_default_na=False)


def signatures() -> dict[str, str]:
    """Return the signature of each source that the list was made of."""
    with LIST.open(encoding="utf-8") as file:
        told = [line.split() for line in file if line.startswith("# ")][1:]
    return {name: told_signature for _, name, _, told_signature in told}


def counts(found: pd.DataFrame) -> pd.DataFrame:
    """Return how many crystals of each source (columns) are kept out for each reason (rows), and for any."""
    reasons = (found["member_of"] + " " + found["reasons"]).str.split()
    each = found.assign(reason=reasons).explode("reason")
    table = pd.crosstab(each["reason"], each["data_set"])
    table.loc["any"] = found["data_set"].value_counts()
    order = [test.name for test in HELD_OUT] + [NO_GRAPH, "any"]
    return table.reindex(index=order, columns=found["data_set"].unique(), fill_value=0)
