"""The formulas of a data set as flat arrays, gathered in batches; made faster than a file of them is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.graphs.formulas import FORMULAS
from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.graph_store import gathered, offsets_of, places_of, selected, some
from tlzoo.graphs.workers import all_chunks

AXES = {"offsets": ("numbers", "count")}


@dataclass(frozen=True, eq=False)
class FormulaStore:
    """Reduced formulas of many crystals, concatenated; no targets.

    Attributes:
        offsets: First element of each crystal and the total, ``(crystals + 1,)`` int64.
        numbers: Atomic numbers, ascending in each crystal, ``(elements,)`` uint8.
        count: Atoms of each element in the reduced formula, ``(elements,)``.
    """

    offsets: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    count: NDArray[np.unsignedinteger]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_rows(self) -> NDArray[np.int64]:
        """Rows of the largest array of each crystal: pairs of its elements, ``(crystals,)``."""
        return np.diff(self.offsets) ** 2

    @classmethod
    def open(
        cls,
        crystals: Crystals,
        options: FormulaOptions,
        *,
        cache_dir: Path | None = None,  # noqa: ARG003 (as the others)
    ) -> FormulaStore:
        """Return the store of these crystals; nothing is kept in a cache.

        Raises:
            UserError: There are no crystals.
        """
        return cls.in_memory(crystals, options)

    @classmethod
    def in_memory(cls, crystals: Crystals, options: FormulaOptions) -> FormulaStore:
        """Return the store of these crystals without any file.

        Raises:
            UserError: There are no crystals.
        """
        some(crystals, "read the formulas of")
        return cls.of_chunks([chunk for _, chunk in all_chunks(FORMULAS, crystals, options, 1)], options)

    @classmethod
    def of_chunks(cls, chunks: Sequence[Chunk], options: FormulaOptions) -> FormulaStore:  # noqa: ARG003 (as the others)
        """Return the store of the crystals of consecutive chunks, at least one."""
        arrays = {name: np.concatenate([chunk.arrays[name] for chunk in chunks]) for name in AXES["offsets"]}
        return cls(**arrays, **offsets_of([chunk.sizes for chunk in chunks], AXES))

    def select(self, rows: NDArray[np.int64]) -> FormulaStore:
        """Return the store of some of the crystals, in that order."""
        return FormulaStore(**selected(self, AXES, rows))

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Gather crystals, in any order, also repeatedly, into a batch (fields: :mod:`tlzoo.graphs.keys`)."""
        rows = np.asarray(rows, dtype=np.int64)
        elements, num_elements = places_of(self.offsets, rows)
        return Batch(
            **{
                keys.NUMBERS: gathered(self.numbers, elements, np.int64),
                keys.ATOM_COUNT: gathered(self.count, elements, np.float32),
                keys.BATCH: torch.from_numpy(np.repeat(np.arange(len(rows)), num_elements)),
                keys.NUM_CRYSTALS: len(rows),
            }
        )
