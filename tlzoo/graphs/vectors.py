"""Bond vectors of a chunk of crystals; no torch in here: worker processes start fast and stay small."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS
from tlzoo.graphs.graph_chunk import Chunk, smallest
from tlzoo.graphs.neighbours import Bonds, Cells, checked, mask, neighbour_list
from tlzoo.graphs.vector_options import VectorOptions
from tlzoo.graphs.workers import Product

# Atoms whose bonds are sorted at a time: each has some 100 within 6 Å, of 100 bytes, several times.
ATOMS: Final = 1024


class Directed(NamedTuple):
    """Bonds of crystals in both directions, sorted by target. Atoms and bonds are counted over all crystals.

    Attributes:
        source: Neighbour, ``(bonds,)``.
        target: Centre, ``(bonds,)``.
        image: Cell that the source is in, seen from the target, ``(bonds, 3)`` int64.
        vector: From source to target, ``(bonds, 3)``, Å.
        reverse: The same bond the other way round, ``(bonds,)``.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    image: NDArray[np.int64]
    vector: NDArray[np.float64]
    reverse: NDArray[np.int64]


def directed(cells: Cells, cutoff: float) -> tuple[Cells, Directed, dict[int, str]]:
    """Return all bonds within a cut-off (Å), images of the atom itself included.

    Returns:
        The crystals that have such bonds, these, and what is wrong with the others, by row: the cell is flat
        or not finite, an atom has no neighbour, two are in one place.
    """
    images: list[NDArray[np.int64]] = []

    def search(usable: Cells) -> Bonds:
        first = np.cumsum(usable.num_atoms) - usable.num_atoms
        found = [(np.empty((0, 2), dtype=np.uint64), np.empty((0, 3)), np.empty(0))]
        for row, start in enumerate(first):
            fractional = usable.frac_coords[start : start + usable.num_atoms[row]]
            fractional = fractional % 1
            search = neighbour_list()(cutoff=cutoff, full_list=True, n_threads=1)
            pair, shift, vector, length = search.compute(
                fractional @ usable.lattice[row], usable.lattice[row], periodic=True, quantities="PSDd"
            )
            order = np.argsort(pair[:, 1], kind="stable")
            found.append((pair[order] + np.uint64(start), vector[order], length[order]))
            images.append(shift[order].astype(np.int64))
        pair, vector, length = (np.concatenate(values) for values in zip(*found, strict=True))
        atoms = pair.astype(np.int64)
        return Bonds(atoms[:, 0], atoms[:, 1], vector, length)

    good, bonds, problems = checked(cells, cutoff, search)
    shift = np.concatenate([np.empty((0, 3), dtype=np.int64), *images])
    if len(shift) != len(bonds.source):
        # bonds of crystals that are left out are gone: search once more, without these
        images.clear()
        good, bonds, _ = checked(good, cutoff, search)
        shift = np.concatenate([np.empty((0, 3), dtype=np.int64), *images])
    there = np.lexsort((*shift.T, bonds.source, bonds.target))
    back = np.lexsort((*-shift.T, bonds.target, bonds.source))
    reverse = np.empty(len(there), dtype=np.int64)
    reverse[there] = back
    # vesin counts images from the first atom of a pair to the second: of the target, seen from the source
    return good, Directed(bonds.source, bonds.target, -shift, bonds.vector, reverse), problems


def vectors_of(cells: Cells, options: VectorOptions) -> Chunk:
    """Return the bond vectors of crystals; a pure function, to be called in any process."""
    known, problems = _known(cells, options.elements)
    piece = np.cumsum(cells.num_atoms) // ATOMS
    chunks = []
    for number in np.unique(piece):
        rows = np.flatnonzero(known & (piece == number))
        chunks.append(_vectors_of(cells.keep(mask(rows, len(known))), options.cutoff))
        problems |= {int(rows[row]): text for row, text in chunks[-1].problems.items()}
    arrays = {name: np.concatenate([each.arrays[name] for each in chunks]) for name in chunks[0].arrays}
    sizes = np.concatenate([each.sizes for each in chunks], axis=1)
    return Chunk(sizes, arrays, dict(sorted(problems.items())))


def _vectors_of(cells: Cells, cutoff: float) -> Chunk:
    good, bonds, problems = directed(cells, cutoff)
    crystal = np.repeat(np.arange(len(good.num_atoms)), good.num_atoms)[bonds.target]
    num_bonds = np.bincount(crystal, minlength=len(good.num_atoms))
    first_atom = np.cumsum(good.num_atoms) - good.num_atoms
    first_bond = np.cumsum(num_bonds) - num_bonds
    arrays = {
        "numbers": good.numbers,
        "source": smallest(bonds.source - first_atom[crystal]),
        "target": smallest(bonds.target - first_atom[crystal]),
        "vector": bonds.vector.astype(np.float32),
        "reverse": smallest(bonds.reverse - first_bond[crystal]),
    }
    return Chunk(np.stack([good.num_atoms, num_bonds]), arrays, problems)


def _known(cells: Cells, elements: tuple[int, ...] | None) -> tuple[NDArray[np.bool_], dict[int, str]]:
    """Return which crystals have known elements alone, ``(crystals,)``, and what others have, by row."""
    known = np.ones(len(cells.num_atoms), dtype=bool)
    if elements is None:
        return known, {}
    crystal = np.repeat(np.arange(len(known)), cells.num_atoms)
    strange = ~np.isin(cells.numbers, elements)
    known[crystal[strange]] = False
    found = {}
    for row in np.flatnonzero(~known).tolist():
        found[row] = unknown(cells.numbers[strange & (crystal == row)], elements)
    return known, found


def unknown(numbers: NDArray[np.uint8], elements: tuple[int, ...] | None) -> str:
    """Say which elements of a crystal a network does not know; empty if it knows all."""
    strange: list[int] = [] if elements is None else np.setdiff1d(numbers, elements).tolist()
    names = ", ".join(SYMBOLS[z] for z in strange)
    return names and f"the network does not know {names}; take another one or leave this crystal out"


# What networks read that look at directions.
VECTORS: Final = Product("bond vectors", vectors_of, VectorOptions, "tlzoo.graphs.vector_workers")
