"""The descriptors of a data set as one array: computed once, kept by content, gathered into batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.descriptors.descriptor_chunk import DESCRIPTORS, names
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.element_properties import PROPERTIES, TABLE
from tlzoo.descriptors.physics_options import PhysicsOptions
from tlzoo.graphs import cache, keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.graph_store import key_of, some, written
from tlzoo.graphs.workers import all_chunks

FORMAT = 1


@dataclass(frozen=True, eq=False)
class DescriptorStore:
    """Descriptors of many crystals; no targets.

    Attributes:
        values: ``(crystals, descriptors)`` float32, each in its unit.
        names: Name of each descriptor, ``(descriptors,)``.
    """

    values: NDArray[np.float32]
    names: list[str]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def num_rows(self) -> NDArray[np.int64]:
        """Rows of the largest array of each crystal: one, ``(crystals,)``."""
        return np.ones(len(self), dtype=np.int64)

    @classmethod
    def open(
        cls,
        crystals: Crystals,
        options: DescriptorOptions,
        *,
        cache_dir: Path | None = None,
        progress: bool = True,
        workers: int | None = None,
    ) -> DescriptorStore:
        """Return the memory-mapped store of these structures and options, computed if it is not there yet.

        Arguments are those of :meth:`tlzoo.graphs.graph_store.GraphStore.open`.

        Raises:
            NoGraphError: A crystal has no descriptors; all such are listed.
            UserError: There are no crystals, the store cannot be written, or a process was killed.
        """
        some(crystals, "describe")
        key = store_key(crystals, options)
        folder = (cache_dir or cache.default_dir()) / "descriptors" / key[:32]

        def build(writer: cache.Writer) -> None:
            for _ in written(writer, DESCRIPTORS, crystals, options, progress=progress, workers=workers):
                pass
            facts = {"format": FORMAT, "options": asdict(options), "crystals": len(crystals)}
            writer.finish({**facts, "names": names(options)})

        return cls(**cache.kept(folder, key, "descriptors", ["values"], build), names=names(options))

    @classmethod
    def in_memory(cls, crystals: Crystals, options: DescriptorOptions) -> DescriptorStore:
        """Return the store of these crystals without any file.

        Raises:
            NoGraphError: A crystal has no descriptors; all such are listed.
        """
        some(crystals, "describe")
        return cls.of_chunks([chunk for _, chunk in all_chunks(DESCRIPTORS, crystals, options, 1)], options)

    @classmethod
    def of_chunks(
        cls, chunks: Sequence[Chunk], options: DescriptorOptions | PhysicsOptions
    ) -> DescriptorStore:
        """Return the store of those crystals of consecutive chunks, at least one, that have descriptors."""
        named = list(options.units) if isinstance(options, PhysicsOptions) else names(options)
        return cls(np.concatenate([chunk.arrays["values"] for chunk in chunks]), named)

    def select(self, rows: NDArray[np.int64]) -> DescriptorStore:
        """Return the store of some of the crystals, in that order."""
        return DescriptorStore(self.values[rows], self.names)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Gather crystals, in any order, also repeatedly, into a batch (fields: :mod:`tlzoo.graphs.keys`)."""
        values = torch.from_numpy(self.values[np.asarray(rows, dtype=np.int64)])
        return Batch(**{keys.DESCRIPTORS: values, keys.NUM_CRYSTALS: len(rows)})


def store_key(crystals: Crystals, options: DescriptorOptions) -> str:
    """Return the SHA-256 of what a store depends on: structures, options, table of the elements, format."""
    tables = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (TABLE, PROPERTIES)]
    return key_of(crystals, options, format=FORMAT, tables=tables)
