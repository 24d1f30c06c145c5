"""Copies of crystals with displaced atoms and a strained lattice: what lies around equilibrium."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.plausibility import findings
from tlzoo.errors import UserError
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.neighbours import Bonds, all_nearer
from tlzoo.graphs.workers import CHUNK

Rows = NDArray[np.int64]

# Columns of the table of copies: the id of the crystal that a row is a copy of, and the part it is in.
PARENT: Final = "parent"
PART: Final = "part"
LEARNED: Final = ("train", "val")
# Between the id of a crystal and the number of its copy, from 1.
MARK: Final = "~"

# Of the distance that two atoms had. At 0.7 of its length a bond costs electronvolts (C-C: 8, by Morse's
# curve), more than any vibration or relaxation has, and than what potentials have learned from.
NEAREST: Final = 0.7
# Å. Atoms farther apart hardly repel each other at 0.7 of it: hardly any bond is longer, but in caesium.
REACH: Final = 5.0

# Å. Lindemann's rule: atoms that are a tenth of the distance to their neighbours off, some 0.3 Å, are a melt.
LARGEST_DISPLACEMENT: Final = 0.3
# Strains of a tenth are where even ideal crystals yield; with three of these two atoms are at 0.7.
LARGEST_STRAIN: Final = 0.1
# What one draw in a hundred does not give is another crystal: the message says to ask for less.
DRAWS: Final = 100


def perturbed(
    crystals: Crystals,
    *,
    copies: int = 1,
    displacement: float = 0.05,
    strain: float = 0.02,
    seed: int = 0,
) -> Crystals:
    """Return copies ``ID~1``, ``ID~2`` … of each crystal, without labels; columns ``parent`` and ``part``.

    What is drawn depends on the seed, the id and the number of the copy alone, not on other rows. Where two
    atoms come nearer than 0.7 of the distance they had, or as near as in no solid, it is drawn again.

    Args:
        crystals: Crystals; the column ``part``, if they have one, is kept.
        copies: Of each crystal.
        displacement: Standard deviation of the displacement of an atom along x, y and z, Å.
        strain: Standard deviation of each of the six components of the symmetric strain.
        seed: Of the draw.

    Raises:
        UserError: An argument is out of bounds, or no plausible copy was drawn of a crystal.
    """
    _check(copies, displacement, strain, seed)
    parts = [
        _near(crystals.select(np.repeat(rows, copies)), copies, displacement, strain, seed)
        for rows in np.split(np.arange(len(crystals)), range(CHUNK, len(crystals), CHUNK))
    ]
    return Crystals.concatenated(parts)


def _check(copies: int, displacement: float, strain: float, seed: int) -> None:
    if copies < 1 or seed < 0:
        raise UserError(f"wanted at least 1 copy and a seed of at least 0, got {copies} and {seed}")
    most = {
        "displacement": (displacement, LARGEST_DISPLACEMENT, " Å"),
        "strain": (strain, LARGEST_STRAIN, ""),
    }
    for name, (value, largest, unit) in most.items():
        if not 0 <= value <= largest:
            raise UserError(f"{name} must be from 0 to {largest}{unit}, got {value}: no crystal is like that")
    if not displacement and not strain:
        raise UserError("displacement and strain are 0: nothing would change; give one of them")


def _near(parents: Crystals, copies: int, displacement: float, strain: float, seed: int) -> Crystals:
    """Return a copy of each row of a table in which each crystal is so many times."""
    number = np.arange(len(parents)) % copies + 1
    ids = [f"{name}{MARK}{copy}" for name, copy in zip(parents.ids, number, strict=True)]
    draws = [_generator(seed, name) for name in ids]
    lattice, coords = parents.lattice.copy(), parents.frac_coords.copy()
    waiting = np.arange(len(parents))
    for _ in range(DRAWS):
        for row in waiting.tolist():
            atoms = slice(parents.offsets[row], parents.offsets[row + 1])
            free = np.triu(draws[row].normal(scale=strain, size=(3, 3)))
            lattice[row] = parents.lattice[row] @ (np.eye(3) + free + np.triu(free, 1).T)
            moved = draws[row].normal(scale=displacement, size=(parents.num_atoms[row], 3))
            coords[atoms] = parents.frac_coords[atoms] + moved @ np.linalg.inv(lattice[row])
        # as it will be read from a file, so that its content is the same
        made = replace(parents, lattice=lattice, frac_coords=coords.astype(np.float32).astype(float))
        waiting = waiting[_too_near(parents.select(waiting), made.select(waiting))]
        if not len(waiting):
            break
    else:
        raise UserError(
            f"{parents.origin(int(waiting[0]))}: of {DRAWS} copies none keeps its atoms {NEAREST} of their "
            "distances apart; ask for a smaller displacement or strain"
        )
    columns: dict[str, NDArray[Any]] = {PARENT: parents.ids.astype(object)}
    columns |= {PART: parents.columns[PART]} if PART in parents.columns else {}
    named = np.array(ids, dtype=object)
    return replace(made, ids=named, columns=columns, units={}, origins=())


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:16])])


def _too_near(before: Crystals, after: Crystals) -> NDArray[np.bool_]:
    """Return in which crystals atoms came too near each other, ``(crystals,)``."""
    size, atoms = len(before), len(before.numbers)

    def pairs(crystals: Crystals, radius: float) -> tuple[Bonds, Rows]:
        found = all_nearer(cells_of(crystals, 0, size), np.full(size, radius))
        found = found.keep(np.argsort(found.length))
        return found, found.target * atoms + found.source

    old, old_pairs = pairs(before, REACH)
    new, new_pairs = pairs(after, NEAREST * REACH)
    known, first = np.unique(old_pairs, return_index=True)
    # the shortest distance of each pair; of one that was farther apart, all that is found is too near
    known, shortest = np.append(known, atoms**2), np.append(old.length[first], np.inf)
    place = np.searchsorted(known, new_pairs)
    limit = NEAREST * np.where(known[place] == new_pairs, shortest[place], np.inf)
    wrong = np.zeros(size, dtype=np.bool_)
    row = np.repeat(np.arange(size), before.num_atoms)
    wrong[row[new.target[new.length < limit]]] = True
    wrong[[found.row for found in findings(after) if found.severity == "error"]] = True
    return wrong


def to_perturb(crystals: Crystals, parts: Sequence[str] = (), max_atoms: int | None = None) -> Rows:
    """Return the rows to copy: small cells that are learned from; all parts of a table without any.

    Args:
        crystals: Crystals.
        parts: Values of the column ``part``; by default ``train`` and ``val`` where there is that column.
        max_atoms: Atoms of the largest cell, all by default.

    Raises:
        UserError: There is no such part, or it is for tests, or no crystal is left.
    """
    rows = np.arange(len(crystals))
    if wrong := [part for part in parts if part not in LEARNED]:
        raise UserError(f"parts are train and val, got {wrong[0]!r}: copies of test crystals are for nothing")
    if parts or PART in crystals.columns:
        rows = rows[np.isin(crystals.column(PART).astype(str), parts or LEARNED)]
    if max_atoms is not None:
        rows = rows[crystals.num_atoms[rows] <= max_atoms]
    if not len(rows):
        raise UserError("no crystal is left to copy; allow larger cells or other parts")
    return rows


def copied(crystals: Crystals) -> Mapping[int, str]:
    """Return the ids of the crystals that rows are perturbed copies of, by row; other rows are not there.

    A copy has a ``parent``, and an id ``ID~N``; other tables may have a column of that name.
    """
    if PARENT not in crystals.columns:
        return {}
    rows = np.flatnonzero(crystals.known(PARENT)).tolist()
    # the id says it: a column of ids that look like numbers was read as numbers
    names = {row: str(crystals.ids[row]).rpartition(MARK)[0] for row in rows}
    return {row: name for row, name in names.items() if name}


def parents(crystals: Crystals) -> Rows:
    """Return the row of what each is a perturbed copy of; its own if it is none, or that is not there."""
    rows = np.arange(len(crystals), dtype=np.int64)
    if copies := copied(crystals):
        row_of = {str(name): row for row, name in enumerate(crystals.ids)}
        for row, name in copies.items():
            rows[row] = row_of.get(name, row)
    return rows
