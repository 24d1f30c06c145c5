"""How large a batch is, and a batch in parts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch

# What has one row per bond, and what one per angle.
BOND_FIELDS = (keys.BOND_LENGTH, keys.BOND_COUNT)
VECTOR_FIELDS = (keys.BOND_VECTOR, keys.BOND_REVERSE)
ANGLE_FIELDS = (keys.ANGLE_COSINE, keys.ANGLE_COUNT)
# What has one row per crystal, where it is there.
CRYSTAL_FIELDS = (keys.DESCRIPTORS, keys.TARGETS, keys.ROW)


def num_rows(batch: Batch) -> int:
    """Return the rows of the largest tensor in a batch: angles, bonds without angles, or crystals."""
    if keys.DESCRIPTORS in batch:
        return int(batch[keys.NUM_CRYSTALS])
    return int(batch[keys.ANGLE_INDEX if keys.ANGLE_INDEX in batch else keys.EDGE_INDEX].shape[1])


def consecutive(sizes: NDArray[np.int64], *, most: int, budget: int) -> list[slice]:
    """Cut a sequence into pieces of at most ``most`` items whose sizes sum to at most ``budget``.

    An item larger than the budget is a piece of its own.

    >>> consecutive(np.array([1, 2, 3, 9, 1]), most=2, budget=5)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    ends = np.cumsum(sizes)
    pieces, start = [], 0
    while start < len(sizes):
        before = ends[start] - sizes[start]
        fitting = int(np.searchsorted(ends, before + budget, side="right"))
        stop = min(max(fitting, start + 1), start + most)
        pieces.append(slice(start, stop))
        start = stop
    return pieces


def parts(batch: Batch, budget: int | None) -> Sequence[Batch]:
    """Return a batch as smaller ones of consecutive crystals.

    Args:
        batch: Fields of :mod:`tlzoo.graphs.keys`.
        budget: Rows of the largest tensor in a part, at most; None for no limit. A crystal of more rows is a
            part of its own.
    """
    if budget is None or num_rows(batch) <= budget:
        return [batch]
    crystals = batch[keys.NUM_CRYSTALS]
    if keys.DESCRIPTORS in batch:
        pieces = [slice(start, min(start + budget, crystals)) for start in range(0, crystals, budget)]
        return [Batch(**_per_crystal(batch, piece)) for piece in pieces]
    # edges are sorted by target, nodes by crystal
    atom_ends = torch.bincount(batch[keys.BATCH], minlength=crystals).cumsum(0)
    rows = bond_ends = torch.searchsorted(batch[keys.EDGE_INDEX][1].contiguous(), atom_ends)
    angle_ends = None
    if keys.ANGLE_INDEX in batch:
        rows = angle_ends = torch.searchsorted(batch[keys.ANGLE_INDEX][1].contiguous(), bond_ends)
    sizes = rows.diff(prepend=rows.new_zeros(1)).cpu().numpy()
    pieces = consecutive(sizes, most=crystals, budget=budget)
    return [_part(batch, piece, atom_ends, bond_ends, angle_ends) for piece in pieces]


def nothing(batch: Batch) -> Batch:
    """Return a batch without crystals, on the device and with the fields of another."""
    fields = {
        name: value[:, :0] if name in (keys.EDGE_INDEX, keys.ANGLE_INDEX) else value[:0]
        for name, value in batch.items()
        if name != keys.NUM_CRYSTALS
    }
    return Batch(**fields, **{keys.NUM_CRYSTALS: 0})


def _part(
    batch: Batch, piece: slice, atom_ends: Tensor, bond_ends: Tensor, angle_ends: Tensor | None
) -> Batch:
    atoms, bonds = _span(atom_ends, piece), _span(bond_ends, piece)
    fields = {
        keys.NUMBERS: batch[keys.NUMBERS][atoms],
        keys.ATOM_COUNT: batch[keys.ATOM_COUNT][atoms],
        keys.BATCH: batch[keys.BATCH][atoms] - piece.start,
        keys.EDGE_INDEX: batch[keys.EDGE_INDEX][:, bonds] - atoms.start,
        **{name: batch[name][bonds] for name in BOND_FIELDS},
        **_per_crystal(batch, piece),
    }
    if keys.ATOM_TARGETS in batch:
        fields[keys.ATOM_TARGETS] = batch[keys.ATOM_TARGETS][atoms]
    if keys.BOND_HARMONICS in batch:
        fields[keys.BOND_HARMONICS] = batch[keys.BOND_HARMONICS][bonds]
    if keys.BOND_VECTOR in batch:
        fields |= {name: batch[name][bonds] for name in VECTOR_FIELDS}
        fields[keys.BOND_REVERSE] = fields[keys.BOND_REVERSE] - bonds.start
    if angle_ends is not None:
        angles = _span(angle_ends, piece)
        fields[keys.ANGLE_INDEX] = batch[keys.ANGLE_INDEX][:, angles] - bonds.start
        fields |= {name: batch[name][angles] for name in ANGLE_FIELDS}
    return Batch(**fields)


def _per_crystal(batch: Batch, piece: slice) -> dict[str, Any]:
    fields = {name: batch[name][piece] for name in CRYSTAL_FIELDS if name in batch}
    return {**fields, keys.NUM_CRYSTALS: piece.stop - piece.start}


def _span(ends: Tensor, piece: slice) -> slice:
    return slice(int(ends[piece.start - 1]) if piece.start else 0, int(ends[piece.stop - 1]))
