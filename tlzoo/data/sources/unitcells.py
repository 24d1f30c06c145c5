"""From the sites of a file to the atoms of a cell, by symmetry operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlzoo.data.sources.cellcontents import Contents
from tlzoo.data.sources.cellsize import too_large
from tlzoo.data.sources.cifblocks import CifError, number, some
from tlzoo.data.sources.spacegroups import Operations

if TYPE_CHECKING:
    from pymatgen.core import Lattice, Structure

SAME = 1e-4  # of a cell edge: two places are one, as in pymatgen
ROUNDED = 5e-3  # of a cell edge: what two decimals leave open
APART = 0.6  # Å; the shortest bond there is, H-H, has 0.74
NEAREST = 0.6  # of the sum of covalent radii; the quadruple bonds of chromium, at 0.66, are the shortest
FULL = 1.02  # a sum of occupancies of two decimals, such as 0.33 + 0.34 + 0.35, is still meant to be 1
ORDER = (
    "tlzoo needs ordered structures: choose one ordering, for example with pymatgen's "
    "OrderDisorderedStructureTransformation"
)


class Site(NamedTuple):
    """A row of a file's atom sites; ``xyz`` as written."""

    label: str
    element: str
    occupancy: float
    xyz: Sequence[str]


@dataclass
class Cell:
    """The atoms of a cell; of several elements at a place if it is disordered.

    Attributes:
        lattice: The cell, in Å.
        species: Occupancy by element, of each atom.
        coords: Fractional coordinates, ``(atoms, 3)``.
        sites: Number of the site that each atom comes from.
        labels: Labels of the sites.
        notes: What is remarkable.
    """

    lattice: Lattice
    species: list[dict[str, float]]
    coords: NDArray[np.float64]
    sites: list[int]
    labels: list[str]
    notes: list[str] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        """Atoms by element."""
        counts: Counter[str] = Counter()
        for species in self.species:
            counts.update(species)
        return counts

    def density(self) -> float:
        """Density in g/cm³."""
        from pymatgen.core import Element

        mass = sum(amount * float(Element(symbol).atomic_mass) for symbol, amount in self.counts().items())
        return float(1.66053907 * mass / self.lattice.volume)  # u/Å³ in g/cm³

    def shortest(self) -> float:
        """Shortest distance between two atoms, in Å."""
        return float(self._distances().min())

    def is_possible(self) -> bool:
        """Whether no two atoms are so near that no solid can have them so."""
        from ase.data import atomic_numbers, covalent_radii

        radii = np.array([min(covalent_radii[atomic_numbers[symbol]] for symbol in s) for s in self.species])
        return bool((self._distances() >= NEAREST * (radii[:, None] + radii)).all())

    def _distances(self) -> NDArray[np.float64]:
        distances: NDArray[np.float64] = self.lattice.get_all_distances(self.coords, self.coords)
        np.fill_diagonal(distances, np.inf)
        return distances

    def equals(self, other: Cell) -> bool:
        """Whether the same elements are at the same places."""
        if self.counts() != other.counts():
            return False
        apart = self.coords[:, None] - other.coords[None]
        near = np.all(np.abs(apart - np.round(apart)) < 10 * SAME, axis=2)
        return all(
            any(species == other.species[k] for k in np.flatnonzero(near[row]))
            for row, species in enumerate(self.species)
        )

    def structure(self) -> Structure:
        """The crystal for pymatgen, its atoms sorted as pymatgen sorts those of a CIF."""
        from pymatgen.core import Structure

        species = [next(iter(s)) if list(s.values()) == [1.0] else s for s in self.species]
        structure: Structure = Structure(self.lattice, species, self.coords).get_sorted_structure()
        return structure

    def __str__(self) -> str:
        return f"{len(self.coords)} atoms, {self.density():.2f} g/cm³"


def grow(
    lattice: Lattice, sites: Sequence[Site], places: NDArray[np.float64], operations: Operations
) -> Cell:
    """Apply operations to sites; those at one place become one."""
    rotations, translations = operations
    first = np.empty_like(places)
    species: list[dict[str, float]] = []
    names: list[str] = []
    atoms = []
    for site, place in zip(sites, places, strict=True):
        images = rotations @ place + translations
        apart = first[: len(species)] - images[:, None]
        hits = np.argwhere((np.abs(apart - np.round(apart)) < SAME).all(axis=2))
        if len(hits):
            row = int(hits[0][1])
            species[row][site.element] = species[row].get(site.element, 0.0) + site.occupancy
            names[row] += f", {site.label}"
            continue
        first[len(species)] = place
        species.append({site.element: site.occupancy})
        names.append(site.label)
        atoms.append(_distinct(images - np.floor(images), place))
    if text := too_large(sum(map(len, atoms))):
        raise CifError("too large", f"it has {text}")
    owners = [row for row, coords in enumerate(atoms) for _ in range(len(coords))]
    totals = [sum(amounts.values()) for amounts in species]
    species = [_full(amounts, name) for amounts, name in zip(species, names, strict=True)]
    coords = np.concatenate(atoms) if atoms else np.empty((0, 3))
    notes = [
        f"site(s) {name} have occupancies that sum to {total:g}, taken as 1"
        for name, total in zip(names, totals, strict=True)
        if total > 1
    ]
    return Cell(lattice, [species[row] for row in owners], coords, owners, names, notes)


def _full(amounts: dict[str, float], names: str) -> dict[str, float]:
    """Occupancies of a place, made to sum to 1 if rounding made them sum to a little more."""
    total = sum(amounts.values())
    if total <= 1:
        return amounts
    if total > FULL:
        text = (
            f"site(s) {names} are at one place, where their occupancies sum to {total:g}: list one of each "
            "set of equivalent sites; if all atoms of the cell are listed, 'x,y,z' is the only operation"
        )
        raise CifError("occupancy", text)
    if len(amounts) > 1:
        text = f"site(s) {names} share one place, disordered, with occupancies that sum to {total:g}; {ORDER}"
        raise CifError("disordered", text)
    return dict.fromkeys(amounts, 1.0)


def _distinct(coords: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distinct ones among the images of a place."""
    if len(coords) == 1:
        return coords
    apart = coords - place
    if (np.abs(apart - np.round(apart)) < 100 * SAME).all(axis=1).sum() == 1:
        return coords  # only the identity keeps it: a general position
    apart = coords[:, None] - coords
    near = (np.abs(apart - np.round(apart)) < SAME).all(axis=2)
    return coords[~np.tril(near, -1).any(axis=1)]


def places_of(sites: Sequence[Site]) -> NDArray[np.float64]:
    """Fractional coordinates, thirds of four decimals made exact as in pymatgen."""
    places = np.array([[number(text) for text in site.xyz] for site in sites]).reshape(-1, 3)
    for third in (1 / 3, 2 / 3):
        places[np.abs(places / third - 1) <= SAME] = third
    return places


def on_special_positions(
    lattice: Lattice, sites: Sequence[Site], operations: Operations, contents: Contents
) -> Cell:
    """Apply operations; a full site whose images all but meet, by rounding, is put where they meet.

    Raises:
        CifError: There is such a site, and neither formula, Z nor density says that it is meant so.
    """
    places = places_of(sites)
    crystal = grow(lattice, sites, places, operations)
    if len(operations.rotations) == 1:
        return crystal
    ideal = places.copy()
    for row, site in enumerate(sites):
        if site.occupancy >= 1:  # else it is disordered: split between images that need not meet
            ideal[row] = _ideal(places[row], operations, lattice)
    moved = [row for row in range(len(sites)) if np.abs(ideal[row] - places[row]).max() > 1e-7]
    if not moved:
        return crystal
    better = grow(lattice, sites, ideal, operations)
    if len(better.coords) == len(crystal.coords):
        return crystal
    wrong, said = contents.contradictions(crystal), contents.contradictions(better)
    if not wrong and said:
        return crystal
    named = some([f"{sites[row].label} ({', '.join(sites[row].xyz)})" for row in moved])
    where = some([f"({', '.join(f'{x:.5f}' for x in ideal[row])})" for row in moved])
    if wrong and not said:
        text = f"site(s) {named} are read at {where}, with which {crystal} become {better}, as the file says"
        better.notes.append(f"rounded coordinates: {text}")
        return better
    text = (
        f"symmetry makes atoms {crystal.shortest():.2g} Å apart of site(s) {named}: rounded coordinates? "
        f"With {where} {crystal} become {better}; write more digits"
    )
    raise CifError("rounded coordinates", text)


def _ideal(place: NDArray[np.float64], operations: Operations, lattice: Lattice) -> NDArray[np.float64]:
    """The special position a place was rounded from, or the place."""
    apart = operations.rotations @ place + operations.translations - place
    apart -= np.round(apart)
    # The error of x is that of 2x and of x - y twice.
    near = np.abs(apart).max(axis=1) < 3 * ROUNDED
    if near.sum() == 1:
        return place
    shift = apart[near].mean(axis=0)
    too_near = (np.linalg.norm(apart[near] @ lattice.matrix, axis=1) < APART).all()
    return place + shift if too_near and np.abs(shift).max() < ROUNDED else place
