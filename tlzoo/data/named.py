"""Named data sets: found on disk, or downloaded through matminer and converted once."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from tlzoo.crystals import Crystals
from tlzoo.crystals.columnar import note_of
from tlzoo.data.dataset_cards import DATASETS, DatasetCard, Target
from tlzoo.data.dataset_cards.convert import convert
from tlzoo.data.dataset_cards.retrieve import frame, matminer_home
from tlzoo.errors import UserError, no_such
from tlzoo.graphs.cache import default_dir as cache_dir

__all__ = ["DATASETS", "cache_dir", "every", "find", "folders", "in_order", "known", "load"]

log = logging.getLogger(__name__)

# names in the paper's splits
ALIASES = {"mp_band_gap": "mp"}


def load(name: str) -> Crystals:
    """Return a named data set.

    A file ``NAME.parquet`` in the folder ``TLZOO_DATA`` or in the user's cache is read. Otherwise the data
    set is converted, once, from matminer's file in ``TLZOO_DATA/matminer``, ``MATMINER_DATA`` or the cache,
    which is downloaded if it is missing. The example ``semiconductors`` is part of the package; data sets
    that are made of others are put together once. Any other parquet file in ``TLZOO_DATA`` with the columns
    of tlzoo is a data set with the name of the file.

    Raises:
        UserError: The name is unknown, or the data set cannot be found or downloaded; the message says how to
            get it.
    """
    card = find(name)
    if card.sources:
        from tlzoo.data import pretraining

        return pretraining.load(folders(), load)
    if not card.matminer and not card.file:
        from tlzoo.data.example import semiconductors

        return semiconductors()
    there = files(name)
    return in_order(Crystals.read_parquet(there[0])) if there else _converted(card)


def known(name: str) -> bool:
    """Whether a data set of this name exists."""
    return ALIASES.get(name, name) in DATASETS or _own_file(name) is not None


def files(name: str) -> list[Path]:
    """Return what a data set is read from; nothing if it would be downloaded or put together."""
    card = find(name)
    if card.file:
        return [Path(card.file)]
    if not card.matminer and not card.sources:
        from tlzoo.data import example

        return [example.BUILT, example.TABLE]
    there = [folder / f"{card.name}.parquet" for folder in folders()]
    return [path for path in there if path.is_file()][:1]


def every() -> list[DatasetCard]:
    """Return the cards of all data sets, then those of the tables in ``TLZOO_DATA``."""
    files = sorted(path.stem for folder in _given() for path in folder.glob("*.parquet"))
    return [*DATASETS.values(), *(find(name) for name in files if name not in DATASETS)]


def in_order(crystals: Crystals) -> Crystals:
    """Return the crystals by row number where ids are row numbers: published folds count on that order."""
    ids = crystals.ids
    if not all(str(name).isdecimal() for name in ids):
        return crystals
    return crystals.select(np.argsort(ids.astype(np.int64), kind="stable"))


def _converted(card: DatasetCard) -> Crystals:
    *given, cache = folders()
    homes = [*(folder / "matminer" for folder in given), *matminer_home(), cache_dir() / "matminer"]
    crystals = convert(card, {name: frame(name, homes, wanted_for=card.name) for name in card.matminer})
    path = cache / f"{card.name}.parquet"
    source = f"matminer {', '.join(card.matminer)}"
    try:
        crystals.write_parquet(path, source=source, citation=card.citation, license=card.licence)
    except UserError as error:
        log.warning("%s; else %s will be converted again next time", error, card.name)
    return crystals


def find(name: str) -> DatasetCard:
    """Return the card of a data set.

    Raises:
        UserError: There is none of this name; the message lists those there are.
    """
    card = DATASETS.get(ALIASES.get(name, name))
    if card is not None:
        return card
    path = _own_file(name)
    if path is None:
        raise UserError(no_such("data set", name, DATASETS))
    return _own_card(path)


def _own_file(name: str) -> Path | None:
    """Return the table of this name in the folder that ``TLZOO_DATA`` names; paths are none."""
    if Path(name).name != name:
        return None
    return next((path for folder in _given() if (path := folder / f"{name}.parquet").is_file()), None)


def _own_card(path: Path) -> DatasetCard:
    """Return the card of a table: what its schema says."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} cannot be read as parquet: {error}") from error
    note = note_of(file.schema_arrow, path)
    about = note.get("columns", {})
    targets = {name: Target(unit, about.get(name, "")) for name, unit in note.get("units", {}).items()}
    return DatasetCard(
        name=path.stem,
        title="a table of one's own",
        targets=targets,
        default_target=next(iter(targets)) if len(targets) == 1 else "",
        crystals=file.metadata.num_rows,
        citation=note.get("citation", ""),
        licence=note.get("license", ""),
        file=str(path),
    )


def folders() -> list[Path]:
    """Return where data sets are looked for, in order."""
    return [*_given(), cache_dir() / "datasets"]


def _given() -> list[Path]:
    given = os.environ.get("TLZOO_DATA")
    return [Path(given).expanduser()] if given else []
