"""From matminer's data frames to crystals as columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.dataset_cards.dataset_card import DatasetCard
from tlzoo.errors import UserError
from tlzoo.machine.progress import bar

if TYPE_CHECKING:
    import pandas as pd

# Å and degrees. Cells of 6,683 crystals of matbench_log_gvrh found in matbench_mp_gap: all, none wrongly
SAME_CELL = 0.005


def convert(card: DatasetCard, frames: Mapping[str, pd.DataFrame]) -> Crystals:
    """Return a data set from the matminer data sets its card names.

    Coordinates are rounded to the single precision of the columnar format, so that the table is the same
    whether it was just converted or read again.

    Raises:
        UserError: A column that the card names is not there, as in another version of the matminer file.
    """
    for name, frame in frames.items():
        if needed := [column for column in card.columns[name] if column not in frame]:
            raise UserError(
                f"matminer data set {name!r} lacks the column(s) {', '.join(map(repr, needed))} that "
                f"{card.name!r} needs; it has: {', '.join(map(repr, frame.columns))}. "
                "Install matminer 0.9.3 or newer and remove the file"
            )
    first, *others = card.matminer
    if card.join == "likely_mpid":
        crystals = _joined_by_mpid(card, frames[first], frames[others[0]])
    else:
        crystals = _table(card, frames[first], first)
        for other in others:
            crystals = _labelled(crystals, _table(card, frames[other], other))
    return replace(crystals, frac_coords=crystals.frac_coords.astype(np.float32).astype(np.float64))


def _table(card: DatasetCard, frame: pd.DataFrame, source: str) -> Crystals:
    """Return the crystals of one data frame with its targets; rows without any target are left out."""
    import pandas as pd

    ours = {column: card.mapping[column] for column in card.columns[source] if column in card.mapping}
    columns = {name: pd.to_numeric(frame[column], errors="coerce") for column, name in ours.items()}
    ids = frame[card.id_column] if card.id_column else pd.Series(range(len(frame)), index=frame.index)
    kept = pd.DataFrame(columns).notna().any(axis=1) & ~ids.duplicated()
    return Crystals.from_structures(
        list(bar(int(kept.sum()), f"converting {source}", iterable=frame.loc[kept, "structure"])),
        ids=[f"{card.id_prefix}{i}" for i in ids[kept]],
        columns={name: values[kept].to_list() for name, values in columns.items()},
        units={name: card.units[name] for name in columns},
    )


def _joined_by_mpid(card: DatasetCard, frame: pd.DataFrame, structures: pd.DataFrame) -> Crystals:
    """Give the rows of a frame the structure of their ``likely_mpid``; rows without one are left out."""
    known = structures.drop_duplicates("mpid").set_index("mpid")["structure"]
    rows = frame.reset_index(drop=True)
    rows = rows[rows["likely_mpid"].isin(known.index)]
    rows = rows.assign(row=rows.index, structure=known.loc[rows["likely_mpid"]].to_list())
    return _table(card, rows, card.matminer[0])


def _labelled(crystals: Crystals, labels: Crystals) -> Crystals:
    """Add the columns of another table where it has a crystal with the same cell."""
    rows = same_cells(crystals, labels)
    columns = {
        name: np.where(rows >= 0, values[rows], np.nan) if len(labels) else np.full(len(crystals), np.nan)
        for name, values in labels.columns.items()
    }
    units = {**crystals.units, **labels.units}
    return replace(crystals, columns={**crystals.columns, **columns}, units=units)


def same_cells(crystals: Crystals, others: Crystals) -> NDArray[np.int64]:
    """Return the row of another table with the same cell, for each crystal; -1 where there is none.

    The same cell: the same atoms and lattice parameters within ``SAME_CELL``; the nearest of several.
    """
    cells: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, atoms in enumerate(_atoms(others)):
        cells[atoms].append(row)
    parameters, theirs = _cell_parameters(crystals), _cell_parameters(others)
    found = np.full(len(crystals), -1, dtype=np.int64)
    for row, atoms in enumerate(_atoms(crystals)):
        if atoms in cells:
            distances = np.abs(theirs[cells[atoms]] - parameters[row]).max(axis=1)
            if distances.min() < SAME_CELL:
                found[row] = cells[atoms][int(distances.argmin())]
    return found


def _atoms(crystals: Crystals) -> list[bytes]:
    """Return the sorted atomic numbers of each cell as a key."""
    bounds = zip(crystals.offsets[:-1], crystals.offsets[1:], strict=True)
    return [np.sort(crystals.numbers[start:stop]).tobytes() for start, stop in bounds]


def _cell_parameters(crystals: Crystals) -> NDArray[np.float64]:
    """Return a, b, c in Å and alpha, beta, gamma in degrees, ``(crystals, 6)``."""
    lengths = np.linalg.norm(crystals.lattice, axis=2)
    unit = crystals.lattice / lengths[:, :, None]
    cosines = np.stack([(unit[:, i] * unit[:, j]).sum(axis=1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=1)
    return np.hstack([lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))])
