"""The table of pre-training: the union of the sources, one row a crystal, unknown labels NaN."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.crystals.columnar import note_of
from tlzoo.data.dataset_cards import DATASETS
from tlzoo.data.dataset_cards.convert import same_cells
from tlzoo.data.pretraining import exclusions
from tlzoo.data.splits.ids import rows_by_id, rows_of
from tlzoo.errors import UserError

log = logging.getLogger(__name__)

NAME: Final = "pretraining"
SOURCES: Final = tuple(DATASETS[NAME].sources)
FORMAT: Final = 1

# A tenth of `mp`, drawn at random by the paper, tests what was learnt of gaps, energies and shear moduli.
TESTED: Final = ("mp", "phonons", "dielectric", "piezoelectric", "expt_gap")
# part of the formulas
VALIDATION: Final = 0.04


def load(folders: Sequence[Path], source: Callable[[str], Crystals]) -> Crystals:
    """Return the table: the file of this version in one of the folders, else built and kept in the last."""
    version = _version()
    for folder in folders:
        path = folder / f"{NAME}.parquet"
        if path.is_file() and _version_of(path) == version:
            return Crystals.read_parquet(path)
    log.info("Putting the data set %s together from %s", NAME, ", ".join(SOURCES))
    crystals = build({name: source(name) for name in SOURCES})
    card, path = DATASETS[NAME], folders[-1] / f"{NAME}.parquet"
    try:
        crystals.write_parquet(path, version=version, citation=card.citation, license=card.licence)
    except UserError as error:
        log.warning("%s; else %s will be put together again next time", error, NAME)
    return crystals


def build(tables: Mapping[str, Crystals]) -> Crystals:
    """Put the table together of the sources by name, in order.

    To learn from, in the parts ``train`` and ``val`` of the column ``part``: what is not kept out. A crystal
    of several sources with the same cell is one row with the labels of all; where two sources label the same
    property, the later one counts. The formula decides on the part: polymorphs are in the same.

    The part ``test``: crystals of the paper's test sets in ``TESTED``. Ids are ``<source>:<id>``.

    Raises:
        UserError: A source is another version than the one whose crystals were compared with the test sets.
    """
    known, out = exclusions.signatures(), exclusions.read()
    learn: list[Crystals] = []
    test: list[Crystals] = []
    for name, source in tables.items():
        if exclusions.signature(source) != known[name]:
            raise UserError(
                f"this data set {name!r} ({len(source):,} crystals) is not the one whose crystals were "
                "compared with the test sets, so that some of them might be test crystals: take the tables "
                "that the list was made of, or make a new one with python -m maintenance.exclusions"
            )
        here = out[out["data_set"] == name].set_index("id")
        part = _renamed(source, name)
        kept = [row for row, crystal in enumerate(source.ids) if crystal not in here.index]
        learn = [_united(learn[0], part.select(kept))] if learn else [part.select(kept)]
        if name in TESTED:
            usable = ~here["reasons"].str.contains(exclusions.NO_GRAPH)
            members = here.index[usable & (here["member_of"] != "")]
            test.append(part.select(rows_of(list(members), rows_by_id(source.ids), f"test of {name}")))
    parts = [part_of(formula) for formula in learn[0].formulas] + ["test"] * sum(map(len, test))
    table = Crystals.concatenated([*learn, *test])
    return replace(table, columns={**table.columns, "part": np.array(parts, dtype=object)})


def everything(tables: Mapping[str, Crystals]) -> Crystals:
    """Put together all crystals of the sources that have a graph, test crystals too: to predict with.

    Rows, ids and the parts ``train`` and ``val`` are as :func:`build` makes them of what it learns from.
    """
    out = exclusions.read()
    lonely = out[out["reasons"].str.contains(exclusions.NO_GRAPH)]
    table: Crystals | None = None
    for name, source in tables.items():
        left = set(lonely.loc[lonely["data_set"] == name, "id"])
        part = _renamed(source, name).select(
            [i for i, crystal in enumerate(source.ids) if crystal not in left]
        )
        table = part if table is None else _united(table, part)
    assert table is not None
    parts = np.array([part_of(formula) for formula in table.formulas], dtype=object)
    return replace(table, columns={**table.columns, "part": parts})


def _renamed(source: Crystals, name: str) -> Crystals:
    """Return a source with the ids and the columns of the table."""
    units = DATASETS[NAME].units
    unknown = np.full(len(source), np.nan)
    columns = {target: np.asarray(source.columns.get(target, unknown), dtype=np.float64) for target in units}
    ids = np.array([f"{name}:{crystal}" for crystal in source.ids], dtype=object)
    return replace(source, ids=ids, columns=columns, units=units, origins=())


def _united(table: Crystals, part: Crystals) -> Crystals:
    """Give the rows of a table the labels of another, then add the crystals that it lacks."""
    rows = same_cells(table, part)
    columns = {}
    for name, values in table.columns.items():
        theirs = np.where(rows >= 0, part.columns[name][rows], np.nan)
        columns[name] = np.where(np.isnan(theirs), values, theirs)
    table = replace(table, columns=columns)
    return Crystals.concatenated([table, part.select(np.setdiff1d(np.arange(len(part)), rows))])


def part_of(formula: str) -> str:
    """Return ``train`` or ``val`` by the hash of a formula: a draw that everybody repeats.

    >>> part_of("O3-Ti1-Sr1"), part_of("Cl1-Na1")
    ('train', 'train')
    """
    draw = int.from_bytes(hashlib.sha256(formula.encode()).digest()[:6]) / 2**48
    return "val" if draw < VALIDATION else "train"


def _version() -> str:
    """Return what the table depends on: the list of excluded crystals (and the sources in it), this code."""
    return f"{FORMAT}-{hashlib.sha256(exclusions.LIST.read_bytes()).hexdigest()[:16]}"


def _version_of(path: Path) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return note_of(pq.read_schema(path), path).get("version")
    except (OSError, pa.ArrowInvalid):
        return None
