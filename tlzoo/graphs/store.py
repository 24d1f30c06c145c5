"""The graphs of a data set as flat arrays: built once, kept on disk by content, gathered into batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data
from tqdm import tqdm

from tlzoo import keys
from tlzoo.crystals import Crystals
from tlzoo.errors import UserError
from tlzoo.graphs import cache
from tlzoo.graphs.neighbours import Bonds, neighbours
from tlzoo.graphs.options import GraphOptions

FORMAT = 1
CHUNK = 1024  # crystals whose graphs are in memory at a time while building


class NoGraphError(UserError):
    """Crystals without a graph: an atom without neighbours, a flat cell, atoms in one place.

    Args:
        problems: For each such row, where it came from and what is wrong.
        total: Number of all crystals.

    Attributes:
        rows: The rows without a graph, ascending.
    """

    def __init__(self, problems: Mapping[int, str], total: int) -> None:
        lines = list(problems.values())[:10]
        if len(problems) > len(lines):
            lines.append(f"and {len(problems) - len(lines)} more")
        super().__init__(
            f"no graph can be made of {len(problems)} of {total} crystals:\n  " + "\n  ".join(lines)
        )
        self.rows = list(problems)


@dataclass(frozen=True, eq=False)
class GraphStore:
    """Graphs of many crystals, concatenated; no targets.

    Attributes:
        numbers: Atomic numbers, ``(atoms,)`` uint8.
        atom_offsets: First atom of each crystal and the total, ``(crystals + 1,)`` int64.
        bond_offsets: First bond of each crystal and the total, ``(crystals + 1,)`` int64.
        source: Neighbour, counted within its crystal, ``(bonds,)`` unsigned.
        target: Centre, counted within its crystal, ascending in each crystal, ``(bonds,)`` unsigned.
        vector: From source to target, ``(bonds, 3)`` float32, Å.
    """

    numbers: NDArray[np.uint8]
    atom_offsets: NDArray[np.int64]
    bond_offsets: NDArray[np.int64]
    source: NDArray[np.unsignedinteger]
    target: NDArray[np.unsignedinteger]
    vector: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.atom_offsets) - 1

    @property
    def num_atoms(self) -> NDArray[np.int64]:
        """Atoms in each crystal, ``(crystals,)``."""
        return np.diff(self.atom_offsets)

    @property
    def num_bonds(self) -> NDArray[np.int64]:
        """Bonds in each crystal, ``(crystals,)``."""
        return np.diff(self.bond_offsets)

    @classmethod
    def open(
        cls,
        crystals: Crystals,
        options: GraphOptions,
        *,
        cache_dir: Path | None = None,
        progress: bool = True,
    ) -> GraphStore:
        """Return the memory-mapped store of these structures and options, built if it is not there yet.

        Args:
            crystals: Crystals; ids, targets and origins do not matter for the content.
            options: Which neighbours are bonds.
            cache_dir: Where stores are kept; None is ``$TLZOO_CACHE``, else the user's cache folder.
            progress: Show a progress bar while building, on a terminal.

        Raises:
            NoGraphError: A crystal has no graph; all such are listed.
            UserError: The store cannot be written.
        """
        _some(crystals)
        key = store_key(crystals, options)
        folder = (cache_dir or cache.default_dir()) / "graphs" / key[:32]
        arrays = cache.read(folder, key)
        if arrays is None:
            _build(folder, key, crystals, options, progress=progress)
            arrays = cache.read(folder, key)
        if arrays is None:
            raise UserError(
                f"{folder} changed while it was read; check the disk, delete the folder, run again"
            )
        return cls(**arrays)

    @classmethod
    def in_memory(cls, crystals: Crystals, options: GraphOptions) -> GraphStore:
        """Return the store of these crystals without any file.

        Raises:
            NoGraphError: A crystal has no graph; all such are listed.
        """
        _some(crystals)
        chunk = graphs_of(crystals, options, 0, len(crystals))
        if chunk.problems:
            raise NoGraphError(chunk.problems, len(crystals))
        return cls(
            crystals.numbers,
            crystals.offsets,
            _offsets(chunk.num_bonds),
            chunk.source,
            chunk.target,
            chunk.vector,
        )

    def batch(self, rows: NDArray[np.int64]) -> Data:
        """Gather crystals into one batch (fields: :mod:`tlzoo.keys`).

        Args:
            rows: Crystals to take, ``(crystals,)``, in any order, also repeatedly.
        """
        rows = np.asarray(rows, dtype=np.int64)
        atoms, num_atoms = _gather(self.atom_offsets, rows)
        bonds, num_bonds = _gather(self.bond_offsets, rows)
        first_atom = np.repeat(np.cumsum(num_atoms) - num_atoms, num_bonds)
        edge_index = np.empty((2, len(bonds)), dtype=np.int64)
        np.add(self.source[bonds], first_atom, out=edge_index[0])
        np.add(self.target[bonds], first_atom, out=edge_index[1])
        fields = {
            keys.NUMBERS: torch.from_numpy(self.numbers[atoms].astype(np.int64)),
            keys.BATCH: torch.from_numpy(np.repeat(np.arange(len(rows)), num_atoms)),
            keys.EDGE_INDEX: torch.from_numpy(edge_index),
            keys.BOND_VECTOR: torch.from_numpy(self.vector[bonds]),
            keys.NUM_CRYSTALS: len(rows),
        }
        return Data(**fields)


def batch_of(crystals: Crystals, options: GraphOptions) -> Data:
    """Return the batch of a few crystals, without any cache.

    Raises:
        NoGraphError: A crystal has no graph; all such are listed.
    """
    return GraphStore.in_memory(crystals, options).batch(np.arange(len(crystals)))


def store_key(crystals: Crystals, options: GraphOptions) -> str:
    """Return the SHA-256 of what a store depends on: structures, options, format."""
    content = {"format": FORMAT, "structures": crystals.content_hash, "options": asdict(options)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Chunk:
    """The graphs of consecutive crystals, as in :class:`GraphStore`, and a line for each that has none."""

    num_bonds: NDArray[np.int64]
    source: NDArray[np.unsignedinteger]
    target: NDArray[np.unsignedinteger]
    vector: NDArray[np.float32]
    problems: dict[int, str]


def graphs_of(crystals: Crystals, options: GraphOptions, start: int, stop: int) -> Chunk:
    """Return the graphs of the crystals from start to stop; a pure function, to be called in any process."""
    index = np.min_scalar_type(int(crystals.num_atoms.max(initial=1)) - 1)
    bonds: list[Bonds] = []
    problems: dict[int, str] = {}
    for row in range(start, stop):
        atoms = slice(crystals.offsets[row], crystals.offsets[row + 1])
        try:
            found = neighbours(
                crystals.lattice[row], crystals.frac_coords[atoms], options, numbers=crystals.numbers[atoms]
            )
        except UserError as error:
            problems[row] = f"{crystals.origin(row)}: {error}"
        else:
            bonds.append(found)
    none = Bonds(np.empty(0, np.int32), np.empty(0, np.int32), np.empty((0, 3), np.float32))
    source, target, vector = (np.concatenate(parts) for parts in zip(none, *bonds, strict=True))
    num_bonds = np.array([len(found.source) for found in bonds], dtype=np.int64)
    return Chunk(num_bonds, source.astype(index), target.astype(index), vector, problems)


def _build(folder: Path, key: str, crystals: Crystals, options: GraphOptions, *, progress: bool) -> None:
    problems: dict[int, str] = {}
    num_bonds: list[NDArray[np.int64]] = []
    bar = tqdm(total=len(crystals), desc="graphs", unit=" crystals", disable=None if progress else True)
    with bar, cache.Writer(folder, key) as writer:
        for start in range(0, len(crystals), CHUNK):
            stop = min(start + CHUNK, len(crystals))
            chunk = graphs_of(crystals, options, start, stop)
            problems |= chunk.problems
            num_bonds.append(chunk.num_bonds)
            for name in ("source", "target", "vector"):
                writer.append(name, getattr(chunk, name))
            writer.progress = stop / len(crystals)
            bar.update(stop - start)
        if problems:
            raise NoGraphError(problems, len(crystals))
        writer.append("numbers", crystals.numbers)
        writer.append("atom_offsets", crystals.offsets)
        writer.append("bond_offsets", _offsets(np.concatenate(num_bonds)))
        writer.finish({"format": FORMAT, "options": asdict(options), "crystals": len(crystals)})


def _some(crystals: Crystals) -> None:
    if len(crystals) == 0:
        raise UserError("there are no crystals to make graphs of; the table has no rows")


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _gather(
    offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the items of some rows, one block after another, and how many each row has."""
    first = offsets[:-1][rows]
    counts = offsets[1:][rows] - first
    shift = first - (np.cumsum(counts) - counts)
    return np.arange(counts.sum()) + np.repeat(shift, counts), counts
