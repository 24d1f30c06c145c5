"""The bond vectors of a data set as flat arrays: made once, kept on disk by content, gathered in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.graphs import cache, keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.graph_store import (
    array_names,
    gathered,
    index_of,
    key_of,
    offsets_of,
    places_of,
    selected,
    some,
    written,
)
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.graphs.vectors import VECTORS
from tlzoo.graphs.workers import all_chunks

FORMAT = 1

AXES = {"atom_offsets": ("numbers",), "bond_offsets": ("source", "target", "vector", "reverse")}


@dataclass(frozen=True, eq=False)
class VectorStore:
    """Graphs of many crystals with bond vectors, concatenated; no targets.

    Attributes:
        atom_offsets: First atom of each crystal and the total, ``(crystals + 1,)`` int64.
        bond_offsets: First bond of each crystal and the total, ``(crystals + 1,)`` int64.
        numbers: Atomic numbers, ``(atoms,)`` uint8.
        source: Neighbour, counted within its crystal, ``(bonds,)``.
        target: Centre, counted within its crystal, ascending in each crystal, ``(bonds,)``.
        vector: From source to target, ``(bonds, 3)`` float32, Å.
        reverse: The same bond the other way round, counted within its crystal, ``(bonds,)``.
    """

    atom_offsets: NDArray[np.int64]
    bond_offsets: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    source: NDArray[np.unsignedinteger]
    target: NDArray[np.unsignedinteger]
    vector: NDArray[np.float32]
    reverse: NDArray[np.unsignedinteger]

    def __len__(self) -> int:
        return len(self.atom_offsets) - 1

    @property
    def num_atoms(self) -> NDArray[np.int64]:
        """Atoms of each graph, ``(crystals,)``."""
        return np.diff(self.atom_offsets)

    @property
    def num_rows(self) -> NDArray[np.int64]:
        """Rows of the largest array of each graph: its bonds, ``(crystals,)``."""
        return np.diff(self.bond_offsets)

    @classmethod
    def open(
        cls,
        crystals: Crystals,
        options: VectorOptions,
        *,
        cache_dir: Path | None = None,
        progress: bool = True,
        workers: int | None = None,
    ) -> VectorStore:
        """Return the memory-mapped store of these structures and options, made if it is not there yet.

        Arguments are those of :meth:`tlzoo.graphs.graph_store.GraphStore.open`.

        Raises:
            NoGraphError: A crystal has no graph; all such are listed.
            UserError: There are no crystals, the store cannot be written, or a process was killed.
        """
        some(crystals, "make graphs of")
        key = key_of(crystals, options, format=FORMAT)
        folder = (cache_dir or cache.default_dir()) / "vectors" / key[:32]

        def build(writer: cache.Writer) -> None:
            chunks = written(writer, VECTORS, crystals, options, progress=progress, workers=workers)
            sizes = [chunk.sizes for chunk in chunks]
            for name, values in offsets_of(sizes, AXES).items():
                writer.append(name, values)
            writer.finish({"format": FORMAT, "options": asdict(options), "crystals": len(crystals)})

        return cls(**cache.kept(folder, key, "bond vectors", array_names(AXES), build))

    @classmethod
    def in_memory(cls, crystals: Crystals, options: VectorOptions) -> VectorStore:
        """Return the store of these crystals without any file.

        Raises:
            NoGraphError: A crystal has no graph; all such are listed.
        """
        some(crystals, "make graphs of")
        return cls.of_chunks([chunk for _, chunk in all_chunks(VECTORS, crystals, options, 1)], options)

    @classmethod
    def of_chunks(cls, chunks: Sequence[Chunk], options: VectorOptions) -> VectorStore:  # noqa: ARG003 (as the others)
        """Return the store of those crystals of consecutive chunks, at least one, that have a graph."""
        arrays: dict[str, Any] = {
            name: np.concatenate([chunk.arrays[name] for chunk in chunks]) for name in chunks[0].arrays
        }
        return cls(**arrays, **offsets_of([chunk.sizes for chunk in chunks], AXES))

    def select(self, rows: NDArray[np.int64]) -> VectorStore:
        """Return the store of some of the crystals, in that order."""
        return VectorStore(**selected(self, AXES, rows))

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Gather crystals, in any order, also repeatedly, into a batch (fields: :mod:`tlzoo.graphs.keys`)."""
        rows = np.asarray(rows, dtype=np.int64)
        atoms, num_atoms = places_of(self.atom_offsets, rows)
        bonds, num_bonds = places_of(self.bond_offsets, rows)
        vector = gathered(self.vector, bonds, np.float32)
        return Batch(
            **{
                keys.NUMBERS: gathered(self.numbers, atoms, np.int64),
                keys.ATOM_COUNT: torch.ones(int(num_atoms.sum())),
                keys.BATCH: torch.from_numpy(np.repeat(np.arange(len(rows)), num_atoms)),
                keys.EDGE_INDEX: index_of(self.source, self.target, bonds, num_bonds, num_atoms),
                keys.BOND_LENGTH: vector.norm(dim=1),
                keys.BOND_COUNT: torch.ones(len(vector)),
                keys.BOND_VECTOR: vector,
                keys.BOND_REVERSE: index_of(self.reverse, self.reverse, bonds, num_bonds, num_bonds)[0],
                keys.NUM_CRYSTALS: len(rows),
            }
        )
