"""What a teacher says of the atoms of a store: flat, in its order, memory-mapped, gathered into batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlzoo.crystals import Crystals
from tlzoo.data.atom_table import AtomTable, hashes
from tlzoo.descriptors.stores import Options, Store
from tlzoo.errors import UserError
from tlzoo.graphs import cache
from tlzoo.graphs.graph_store import GraphStore, key_of, places_of
from tlzoo.graphs.vector_store import VectorStore

FORMAT = 1


@dataclass(frozen=True, eq=False)
class AtomTargets:
    """What is to be learned of atoms.

    Attributes:
        offsets: First atom of each crystal of the store and the total, ``(crystals + 1,)``.
        values: Means over the atoms of the cell that each stands for, NaN where the teacher has not seen the
            crystal, ``(atoms, features)`` float16.
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.float16]

    @classmethod
    def open(
        cls,
        table: AtomTable,
        crystals: Crystals,
        store: Store,
        options: Options,
        *,
        cache_dir: Path | None = None,
    ) -> AtomTargets:
        """Return the targets of the atoms of a store from the cache, made if they are not there yet.

        Args:
            table: What the teacher says.
            crystals: Those of the store.
            store: Graphs, or bond vectors.
            options: Those that the store was made with.
            cache_dir: Where it is kept; None is ``$TLZOO_CACHE``, else the user's cache folder.

        Raises:
            UserError: The store has no atoms, the table is damaged, or the cache cannot be written.
        """
        if not isinstance(store, GraphStore | VectorStore):
            raise UserError(
                "data.teacher speaks of the atoms of a structure, which this network does not read: take one "
                "on graphs, such as CGCNN"
            )
        key = key_of(crystals, options, teacher=table.sha256, format=FORMAT)
        folder = (cache_dir or cache.default_dir()) / "teachers" / key[:32]

        def make(writer: cache.Writer) -> None:
            writer.append("values", collected(table, crystals, store))
            writer.finish({"format": FORMAT, "crystals": len(crystals), "teacher": str(table.folder)})

        noun = "what the teacher says"
        return cls(store.atom_offsets, **cache.kept(folder, key, noun, ["values"], make))

    def gathered(self, rows: NDArray[np.int64]) -> Tensor:
        """Return those of some crystals, one after another, ``(atoms, features)`` float32."""
        places, _ = places_of(self.offsets, np.asarray(rows, dtype=np.int64))
        found = np.concatenate([self.values[:0], *(self.values[place] for place in places)])
        # torch widens several times as fast as numpy
        return torch.from_numpy(found).float()


def collected(table: AtomTable, crystals: Crystals, store: GraphStore | VectorStore) -> NDArray[np.float16]:
    """Return the targets of all atoms of a store, ``(atoms, features)``, NaN where there is none."""
    values = np.full((len(store.numbers), table.dim), np.nan, dtype=np.float16)
    rows: dict[bytes, list[int]] = {}
    for row, found in enumerate(hashes(crystals)):
        rows.setdefault(found, []).append(row)
    for shard in table.read():
        # a table may hold a crystal twice, and so may the data
        for at, found in enumerate(shard.hashes):
            for row in rows.pop(found, ()):
                here: NDArray[Any] = shard.features[shard.offsets[at] : shard.offsets[at + 1]]
                first, last = store.atom_offsets[row], store.atom_offsets[row + 1]
                if isinstance(store, GraphStore):
                    place = store.place[store.site_offsets[row] : store.site_offsets[row + 1]]
                    here = _means(here, place, int(last - first))
                values[first:last] = here
    return values


def _means(
    values: NDArray[np.float16], place: NDArray[np.unsignedinteger], count: int
) -> NDArray[np.float32]:
    """Return means over the atoms of a cell that share a place, ``(count, features)``."""
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(count))
    sums = np.add.reduceat(values[order].astype(np.float32), starts, axis=0)
    return np.asarray(sums / np.bincount(place)[:, None], dtype=np.float32)
