"""Labels that a model gives to crystals that nobody has measured or computed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.duplicates import shared_structures
from tlzoo.data.perturbed import parents
from tlzoo.data.splits import Split, Splitter
from tlzoo.data.splits.ids import rows_by_id
from tlzoo.data.splits.splitter import Table, known_rows
from tlzoo.errors import UserError
from tlzoo.machine.files import read_table

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.int64]


def read_pseudo_labels(path: str | Path, crystals: Crystals, targets: Sequence[str]) -> NDArray[np.float32]:
    """Read labels from a table as ``tlzoo predict MODEL DATA -o FILE`` writes it.

    The ``.csv`` or ``.parquet`` file has the column ``id`` and one for each target, or for some; it may
    have other crystals.

    Returns:
        The labels in the unit of the targets, NaN where there is none, ``(crystals, targets)``.

    Raises:
        UserError: The file cannot be read, lacks the columns, names no crystal or one twice, or holds a text.
    """
    import pandas as pd

    where = f"data.pseudo_labels {path}"
    table = _table(Path(path), where)
    there = [name for name in targets if name in table]
    if "id" not in table or not there:
        raise UserError(
            f"{where} has the columns {', '.join(map(str, table.columns))}; wanted id and "
            f"{' or '.join(targets)}, as `tlzoo predict MODEL DATA -o FILE` writes them"
        )
    row_of = rows_by_id(crystals.ids)
    ids = table["id"].astype(str)
    if twice := ids[ids.duplicated()].tolist():
        raise UserError(f"{where} has {twice[0]!r} twice; one line for each crystal is wanted")
    rows = np.array([row_of.get(name, -1) for name in ids], dtype=np.int64)
    if not len(ids):
        raise UserError(f"{where} is empty")
    if not (rows >= 0).any():
        raise UserError(f"{where} has none of the crystals; its first is {ids.iloc[0]!r}")
    labels = np.full((len(crystals), len(targets)), np.nan, dtype=np.float32)
    for name in there:
        values = pd.to_numeric(table[name], errors="coerce")
        if (wrong := ~np.isfinite(values) & table[name].notna()).any():
            line = int(wrong.argmax())
            raise UserError(f"{where}: {name} of {ids[line]} is {table[name][line]}, no finite number")
        labels[rows[rows >= 0], list(targets).index(name)] = values.to_numpy(np.float32)[rows >= 0]
    return labels


def with_unlabelled(
    split: Split,
    splitter: Splitter,
    crystals: Crystals,
    *,
    targets: Sequence[str],
    said: NDArray[np.bool_],
    notes: Mapping[str, NDArray[np.bool_]],
    groups: Rows | None,
    excluded: frozenset[str] = frozenset(),
) -> Split:
    """Add to the training part crystals without a label, of which a model has said something.

    Those the splitter would train on if it knew them, without duplicates of validation and test crystals, and
    without perturbed copies of either, which a comparison of structures need not find.

    ``said`` tells of which, ``(crystals,)``, and ``notes`` what there is to say: ends of "… of the training
    crystals", each with those that it is about. For the other arguments see
    :class:`~tlzoo.data.splits.splitter.Table`.
    """
    everything = np.ones(len(crystals), dtype=np.bool_)
    given = splitter.divide(Table(crystals, everything, groups, targets, excluded))
    known = known_rows(crystals, targets)
    rows = np.sort(given["train"])
    rows = rows[said[rows] & ~known[rows]]
    later = np.concatenate([split.val, split.test])
    # of a copy counts what it is a copy of, too, which may be tested under another name
    origin = parents(crystals)
    if groups is None:
        earlier = np.setdiff1d(np.concatenate([rows, origin[rows]]), later)
        groups, _ = shared_structures(crystals, [earlier, later])
    tested = np.isin(groups, groups[later])
    rows = rows[~tested[rows] & ~tested[origin[rows]]]
    told = [
        f"{np.count_nonzero(about[rows]):,} of the training crystals {text}" for text, about in notes.items()
    ]
    return replace(
        split,
        train=np.concatenate([split.train, rows]),
        left_out=split.left_out - len(rows),
        notes=(*split.notes, *told),
    )


def _table(path: Path, where: str) -> "pd.DataFrame":
    if path.suffix not in {".csv", ".parquet"}:
        raise UserError(f"{where} must end in .csv or .parquet")
    if not path.is_file():
        raise UserError(f"{where} is not there; `tlzoo predict MODEL DATA -o {path}` writes it")
    try:
        return read_table(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{where} cannot be read: {error}") from error
