"""The graphs of a data set as flat arrays: built once, kept on disk by content, gathered into batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from tlzoo.crystals import Crystals
from tlzoo.errors import UserError
from tlzoo.graphs import cache, keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_chunk import Chunk
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.workers import GRAPHS, Product, all_chunks
from tlzoo.machine.progress import bar

FORMAT = 3
# Items of a batch that are gathered by their numbers: of more, pieces are copied faster.
FEW = 4096

# Arrays with one row per atom, bond, angle and atom of the cell, by their offsets.
AXES = {
    "atom_offsets": ("numbers", "atom_count"),
    "bond_offsets": ("source", "target", "length", "bond_count", "harmonics"),
    "angle_offsets": ("angle_source", "angle_target", "cosine", "angle_count"),
    "site_offsets": ("place",),
}


@dataclass(frozen=True, eq=False)
class GraphStore:
    """Graphs of many crystals, concatenated; no targets.

    An atom, bond or angle stands for all equal ones of the crystal, atom or bond (:mod:`tlzoo.graphs.merge`).
    All but the numbers, offsets, lengths and cosines are of the smallest unsigned type. Without
    ``options.angles`` there are no angles: their arrays are empty.

    Attributes:
        atom_offsets: First atom of each crystal and the total, ``(crystals + 1,)`` int64.
        bond_offsets: First bond of each crystal and the total, ``(crystals + 1,)`` int64.
        angle_offsets: First angle of each crystal and the total, ``(crystals + 1,)`` int64.
        numbers: Atomic numbers, ``(atoms,)`` uint8.
        atom_count: How many atoms of the cell each stands for, ``(atoms,)``.
        source: Neighbour, counted within its crystal, ``(bonds,)``.
        target: Centre, counted within its crystal, ascending in each crystal, ``(bonds,)``.
        length: Distance of the two, ``(bonds,)`` float32, Å.
        bond_count: How many equal bonds the target has, ``(bonds,)``.
        harmonics: Harmonics of degrees 1 to ``options.degree`` of the directions of the equal bonds of an
            atom, added, ``(bonds, (degree + 1)² − 1)`` float32.
        angle_source: Bond u→v, counted within its crystal, ``(angles,)``.
        angle_target: Bond v→w, counted within its crystal, ascending in each crystal, ``(angles,)``.
        cosine: Cosine of the angle at v, ``(angles,)`` float32.
        angle_count: How many equal angles the target has, ``(angles,)``.
        site_offsets: First atom of the cell of each crystal and the total, ``(crystals + 1,)`` int64.
        place: Which atom stands for each of the cell, counted within its crystal, ``(sites,)``.
        angles: Whether batches have angles.
    """

    atom_offsets: NDArray[np.int64]
    bond_offsets: NDArray[np.int64]
    angle_offsets: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    atom_count: NDArray[np.unsignedinteger]
    source: NDArray[np.unsignedinteger]
    target: NDArray[np.unsignedinteger]
    length: NDArray[np.float32]
    bond_count: NDArray[np.unsignedinteger]
    harmonics: NDArray[np.float32]
    angle_source: NDArray[np.unsignedinteger]
    angle_target: NDArray[np.unsignedinteger]
    cosine: NDArray[np.float32]
    angle_count: NDArray[np.unsignedinteger]
    site_offsets: NDArray[np.int64]
    place: NDArray[np.unsignedinteger]
    angles: bool

    def __len__(self) -> int:
        return len(self.atom_offsets) - 1

    @property
    def num_atoms(self) -> NDArray[np.int64]:
        """Atoms of each graph, ``(crystals,)``."""
        return np.diff(self.atom_offsets)

    @property
    def num_bonds(self) -> NDArray[np.int64]:
        """Bonds of each graph, ``(crystals,)``."""
        return np.diff(self.bond_offsets)

    @property
    def num_angles(self) -> NDArray[np.int64]:
        """Angles of each graph, ``(crystals,)``."""
        return np.diff(self.angle_offsets)

    @property
    def num_rows(self) -> NDArray[np.int64]:
        """Rows of the largest array of each graph: angles, or bonds without angles, ``(crystals,)``."""
        return self.num_angles if self.angles else self.num_bonds

    @classmethod
    def open(
        cls,
        crystals: Crystals,
        options: GraphOptions,
        *,
        cache_dir: Path | None = None,
        progress: bool = True,
        workers: int | None = None,
    ) -> GraphStore:
        """Return the memory-mapped store of these structures and options, built if it is not there yet.

        Args:
            crystals: Crystals; ids, targets and origins do not matter for the content.
            options: Which neighbours are bonds.
            cache_dir: Where stores are kept; None is ``$TLZOO_CACHE``, else the user's cache folder.
            progress: Show a progress bar while building, on a terminal.
            workers: Processes that build; None is ``$TLZOO_WORKERS``, else one per usable core. What is built
                does not depend on it. A few thousand crystals are built without any.

        Raises:
            NoGraphError: A crystal has no graph; all such are listed.
            UserError: The store cannot be written, or a process was killed.
        """
        some(crystals, "make graphs of")
        key = store_key(crystals, options)
        folder = (cache_dir or cache.default_dir()) / "graphs" / key[:32]

        def build(writer: cache.Writer) -> None:
            chunks = written(writer, GRAPHS, crystals, options, progress=progress, workers=workers)
            sizes = [chunk.sizes for chunk in chunks]
            for name, values in offsets_of(sizes, AXES).items():
                writer.append(name, values)
            writer.finish({"format": FORMAT, "options": asdict(options), "crystals": len(crystals)})

        return cls(**cache.kept(folder, key, "graphs", array_names(AXES), build), angles=options.angles)

    @classmethod
    def in_memory(cls, crystals: Crystals, options: GraphOptions) -> GraphStore:
        """Return the store of these crystals without any file.

        Raises:
            NoGraphError: A crystal has no graph; all such are listed.
        """
        some(crystals, "make graphs of")
        return cls.of_chunks([chunk for _, chunk in all_chunks(GRAPHS, crystals, options, 1)], options)

    @classmethod
    def of_chunks(cls, chunks: Sequence[Chunk], options: GraphOptions) -> GraphStore:
        """Return the store of those crystals of consecutive chunks, at least one, that have a graph."""
        arrays = {name: np.concatenate([chunk.arrays[name] for chunk in chunks]) for name in chunks[0].arrays}
        return cls(**arrays, **offsets_of([chunk.sizes for chunk in chunks], AXES), angles=options.angles)

    def select(self, rows: NDArray[np.int64]) -> GraphStore:
        """Return the store of some of the crystals, in that order."""
        return GraphStore(**selected(self, AXES, rows), angles=self.angles)

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Gather crystals, in any order, also repeatedly, into a batch (fields: :mod:`tlzoo.graphs.keys`)."""
        rows = np.asarray(rows, dtype=np.int64)
        atoms, num_atoms = items_of(self.atom_offsets, rows)
        bonds, num_bonds = items_of(self.bond_offsets, rows)
        fields = {
            keys.NUMBERS: gathered(self.numbers, atoms, np.int64),
            keys.ATOM_COUNT: gathered(self.atom_count, atoms, np.float32),
            keys.BATCH: torch.from_numpy(np.repeat(np.arange(len(rows)), num_atoms)),
            keys.EDGE_INDEX: index_of(self.source, self.target, bonds, num_bonds, num_atoms),
            keys.BOND_LENGTH: gathered(self.length, bonds, np.float32),
            keys.BOND_COUNT: gathered(self.bond_count, bonds, np.float32),
        }
        if self.harmonics.shape[1]:
            fields[keys.BOND_HARMONICS] = gathered(self.harmonics, bonds, np.float32)
        if self.angles:
            angles, num_angles = items_of(self.angle_offsets, rows)
            fields |= {
                keys.ANGLE_INDEX: index_of(
                    self.angle_source, self.angle_target, angles, num_angles, num_bonds
                ),
                keys.ANGLE_COSINE: gathered(self.cosine, angles, np.float32),
                keys.ANGLE_COUNT: gathered(self.angle_count, angles, np.float32),
            }
        return Batch(**fields, **{keys.NUM_CRYSTALS: len(rows)})


def store_key(crystals: Crystals, options: GraphOptions) -> str:
    """Return the SHA-256 of what a store depends on: structures, options, format."""
    return key_of(crystals, options, format=FORMAT)


def written(
    writer: cache.Writer,
    product: Product,
    crystals: Crystals,
    options: Any,  # noqa: ANN401 (those of the product)
    *,
    progress: bool,
    workers: int | None,
) -> Generator[Chunk]:
    """Make something of crystals, write its arrays, and yield each chunk then; arguments of `all_chunks`."""
    shown = bar(len(crystals), product.noun, hidden=not progress)
    with shown, closing(all_chunks(product, crystals, options, workers)) as chunks:
        for stop, chunk in chunks:
            for name, values in chunk.arrays.items():
                writer.append(name, values)
            writer.progress = stop / len(crystals)
            shown.update(stop - shown.n)
            yield chunk


def some(crystals: Crystals, purpose: str) -> None:
    """Refuse an empty table."""
    if len(crystals) == 0:
        raise UserError(f"there are no crystals to {purpose}; the table has no rows")


def key_of(crystals: Crystals, options: Any, **content: Any) -> str:  # noqa: ANN401 (plain data)
    """Return the SHA-256 of structures, options and all else that a store depends on."""
    content |= {"structures": crystals.content_hash, "options": asdict(options)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def selected(
    store: Any,  # noqa: ANN401 (of graphs, or of bond vectors)
    axes: Mapping[str, Sequence[str]],
    rows: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Return arrays and offsets of some crystals by name; ``axes`` name the arrays of each offset."""
    arrays, sizes = {}, []
    for axis, names in axes.items():
        places, counts = places_of(getattr(store, axis), rows)
        sizes.append(counts)
        for name in names:
            values = getattr(store, name)
            arrays[name] = np.concatenate([values[:0], *(values[place] for place in places)])
    return {**arrays, **offsets_of([np.stack(sizes)], axes)}


def offsets_of(sizes: Sequence[NDArray[np.int64]], axes: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return the offsets of each axis by name, from the numbers on it, ``(axes, crystals)``, in pieces."""
    start = np.zeros((len(sizes[0]), 1), dtype=np.int64)
    return dict(zip(axes, np.cumsum(np.concatenate([start, *sizes], axis=1), axis=1), strict=True))


def array_names(axes: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the names of all offsets and arrays."""
    return {*axes, *(name for names in axes.values() for name in names)}


def places_of(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[list[slice], NDArray[np.int64]]:
    """Return where the items of some rows are, and how many each row has."""
    first, stop = offsets[:-1][rows], offsets[1:][rows]
    return list(map(slice, first.tolist(), stop.tolist())), stop - first


def items_of(
    offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[list[slice] | NDArray[np.int64], NDArray[np.int64]]:
    """Return the items of some rows for :func:`gathered`, few by their numbers, and how many each row has."""
    first, stop = offsets[:-1][rows], offsets[1:][rows]
    counts = stop - first
    last = counts.cumsum()
    if not len(rows) or last[-1] > FEW:
        return places_of(offsets, rows)
    return np.arange(last[-1]) + np.repeat(stop - last, counts), counts


def gathered(values: NDArray[Any], places: Sequence[slice] | NDArray[np.int64], dtype: DTypeLike) -> Tensor:
    """Return the values of some places, one after another."""
    if isinstance(places, np.ndarray):
        return torch.from_numpy(values[places].astype(dtype, copy=False))
    return torch.from_numpy(np.concatenate([values[:0], *(values[place] for place in places)], dtype=dtype))


def index_of(
    source: NDArray[np.unsignedinteger],
    target: NDArray[np.unsignedinteger],
    places: Sequence[slice] | NDArray[np.int64],
    num_edges: NDArray[np.int64],
    num_nodes: NDArray[np.int64],
) -> Tensor:
    """Return indices within crystals as indices within the batch, ``(2, edges)``."""
    index = torch.stack([gathered(ends, places, np.int64) for ends in (source, target)])
    index += torch.from_numpy(np.repeat(np.cumsum(num_nodes) - num_nodes, num_edges))
    return index
