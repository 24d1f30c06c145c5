"""Short keys of structures: whether a crystal is among some others is told without their cells.

A key is a hash of the reduced formula, the volume per atom, and four numbers that say how far the neighbours
of each element are. They depend on neither cell, origin, orientation nor order of atoms, and the last four
not on the scale either. Two crystals are the same if their formulas are, their volumes differ by at most
12 %, and their shapes by at most 0.025 on average; if only the formula of one is known, if that is the same.

Of 7,777 pairs of one formula and about one volume in the data set ``pretraining``, 88 % of those that
pymatgen's ``StructureMatcher`` calls the same pass for the same, and 9 % of those that it calls different,
polytypes and other orders on the same sites most of them. Of crystals in another cell, with atoms moved by
0.1 Å or strained by 1 %, none was missed; of those strained by 2 %, 1 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.duplicates import VOLUME_TOLERANCE
from tlzoo.data.fingerprints import FIRST_SPHERE, NEAREST, fingerprint
from tlzoo.machine.progress import bar

Flags = NDArray[np.bool_]

# Another formula has the hash of one of 100,000 with a probability of 1e-7.
DIGEST: Final = 5
SHAPE: Final = 4
TOLERANCE: Final = 0.025
# Pairs of atoms in the fingerprint of a crystal beyond which none is made, as it takes 10 ms and more: cells
# with hundreds of atoms, or a dopant whose next of kind is far. Then formula and volume decide alone.
MOST_PAIRS: Final = 20_000
NAMES: Final = ("formulas", "volumes", "shapes")


@dataclass(frozen=True, eq=False)
class StructureKeys:
    """Keys of structures, as arrays.

    Attributes:
        formulas: Hashes of reduced formulas, ``(crystals, 5)`` uint8.
        volumes: Volume per atom, Å³, ``(crystals,)``.
        shapes: Shape of each, NaN where none is known, ``(crystals, 4)``.
    """

    formulas: NDArray[np.uint8]
    volumes: NDArray[np.floating[Any]]
    shapes: NDArray[np.floating[Any]]

    @classmethod
    def of(cls, crystals: Crystals, *, shapes: bool = True) -> Self:
        """Make the keys of crystals: some milliseconds each, or nothing without ``shapes``."""
        found = np.full((len(crystals), SHAPE), np.nan, dtype=np.float16)
        if shapes:
            found = _shapes(_Table(crystals))
        return cls(hashes(crystals), crystals.volume_per_atom.astype(np.float16), found)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take what :attr:`arrays` gave.

        Raises:
            ValueError: They are something else.
        """
        keys = cls(*(arrays[name] for name in NAMES))
        if [array.shape for array in keys.arrays.values()] != [
            (len(keys), DIGEST),
            (len(keys),),
            (len(keys), SHAPE),
        ]:
            raise ValueError("its keys do not fit together")
        return keys

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The same by name, to be stored."""
        return {name: getattr(self, name) for name in NAMES}

    def __len__(self) -> int:
        return len(self.formulas)

    def select(self, rows: NDArray[Any]) -> StructureKeys:
        """Return some of the keys."""
        return StructureKeys(self.formulas[rows], self.volumes[rows], self.shapes[rows])

    def holds(self, crystals: Crystals, *, shapes: bool = True) -> Flags:
        """Return which crystals are among these structures, ``(crystals,)``.

        Without ``shapes`` other polymorphs of about the same density count too, at no cost.
        """
        volumes, asked = crystals.volume_per_atom, _numbers(hashes(crystals))
        codes, order = self._ordered
        first, last = (np.searchsorted(codes, asked, side) for side in ("left", "right"))
        found = np.zeros(len(crystals), dtype=bool)
        for row in np.flatnonzero(first < last).tolist():
            there = order[first[row] : last[row]]
            known = self.volumes[there].astype(np.float64)
            # of a formula without a structure, on either side, the volume is not known
            near = there[~(np.abs(known - volumes[row]) > VOLUME_TOLERANCE * known)]
            found[row] = len(near) and (not shapes or self._shaped(crystals, row, near))
        return found

    def _shaped(self, crystals: Crystals, row: int, near: NDArray[np.int64]) -> bool:
        own = np.array(shape(crystals, row))
        differences = np.abs(self.shapes[near].astype(np.float64) - own).mean(axis=1)
        # where a shape is not known nothing speaks against it
        return bool((~(differences > TOLERANCE)).any())

    @cached_property
    def _ordered(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Hashes of the formulas, ascending, and the rows that have them."""
        codes = _numbers(self.formulas)
        order = np.argsort(codes, kind="stable")
        return codes[order], order


def hashes(crystals: Crystals) -> NDArray[np.uint8]:
    """Return a hash of the reduced formula of each crystal, ``(crystals, 5)``."""
    digests = b"".join(blake2b(text.encode(), digest_size=DIGEST).digest() for text in crystals.formulas)
    return np.frombuffer(digests, np.uint8).reshape(-1, DIGEST)


class _Table(NamedTuple):
    """Crystals, equal to others of the same content."""

    crystals: Crystals

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and other.crystals.content_hash == self.crystals.content_hash

    def __hash__(self) -> int:
        return hash(self.crystals.content_hash)


# several trainings on the same crystals ask for the same
@lru_cache(maxsize=2)
def _shapes(table: _Table) -> NDArray[np.float16]:
    crystals = table.crystals
    numbers = range(len(crystals))
    rows = [shape(crystals, row) for row in bar(len(numbers), "keys of structures", iterable=numbers)]
    return np.array(rows, dtype=np.float16).reshape(-1, SHAPE)


def shape(crystals: Crystals, row: int) -> list[float]:
    r"""Return the shape of a crystal: sums of its fingerprint with fixed signs.

    .. math::
        s_m = \frac{1}{\sqrt n} \sum_{ABk} \sigma_{mABk} F_{ABk}

    over the n numbers of the :func:`~tlzoo.data.fingerprints.fingerprint` F. Differences of s are
    on average as large as those of F (Johnson & Lindenstrauss 1984). NaN if the fingerprint costs too much,
    or there is no structure.
    """
    if np.isnan(crystals.lattice[row]).all():
        return [float("nan")] * SHAPE
    atoms = crystals.numbers[crystals.offsets[row] : crystals.offsets[row + 1]]
    rarest = np.unique(atoms, return_counts=True)[1].min()
    if FIRST_SPHERE * NEAREST * len(atoms) ** 2 / rarest > MOST_PAIRS:
        return [float("nan")] * SHAPE
    flat = fingerprint(crystals, row).ravel().astype(np.float64)
    found: list[float] = (_signs(len(flat)) @ flat / np.sqrt(len(flat))).tolist()
    return found


@cache
def _signs(size: int) -> NDArray[np.float64]:
    """Return the signs, ``(4, size)``: bits of a hash, the same on every machine and in every version."""
    count = -(-SHAPE * size // 8)
    blocks = (blake2b(f"{size} {block}".encode()).digest() for block in range(-(-count // 64)))
    bits = np.unpackbits(np.frombuffer(b"".join(blocks), np.uint8))[: SHAPE * size]
    signs: NDArray[np.float64] = 2.0 * bits.reshape(SHAPE, size).astype(np.float64) - 1.0
    return signs


def _numbers(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return hashes as numbers, ``(crystals,)``."""
    places = 256 ** np.arange(DIGEST, dtype=np.int64)
    numbers: NDArray[np.int64] = codes.astype(np.int64) @ places
    return numbers
