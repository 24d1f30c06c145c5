"""Neighbours as other packages count them, for weights that were trained there.

Where such a rule cuts through a shell, which of several equal neighbours stays depends on rounding, and so on
the order of atoms and the orientation of the cell: weights of others give their own numbers only on graphs of
their own. Networks trained here have complete shells (:mod:`tlzoo.graphs.neighbours`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import Bonds, Cells, all_neighbours, checked

Floats = NDArray[np.float64]
Numbers = NDArray[np.uint8]

# An atom with fewer neighbours within the cut-off than are wanted has others this much beyond it, in Å.
BEYOND: Final = 1.0
# Atoms nearer than this, in Å, are one.
ONE: Final = 0.15
# Of the lattice vectors by which jarvis places atoms.
DECIMALS: Final = 5
# A search that grows until every atom has enough neighbours ends here, in Å.
FARTHEST: Final = 200.0


def bonded(cells: Cells, options: GraphOptions) -> tuple[Cells, Bonds, dict[int, str]]:
    """Return the bonds of many crystals by the rule of the options; else as :func:`all_neighbours`."""
    if options.rule == "shells":
        return all_neighbours(cells, options)
    count = RULES[options.rule]

    def search(usable: Cells) -> Bonds:
        none = np.empty(0, dtype=np.int64)
        parts, first = [Bonds(none, none, np.empty((0, 3)), np.empty(0))], 0
        for lattice, atoms in zip(usable.lattice, usable.num_atoms, strict=True):
            of = slice(first, first + atoms)
            found = count(lattice, usable.numbers[of], usable.frac_coords[of], options)
            found = found.keep(np.lexsort((found.length, found.target)))
            parts.append(found._replace(source=found.source + first, target=found.target + first))
            first += int(atoms)
        return Bonds(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    return checked(cells, options.cutoff, search)


def _cut(lattice: Floats, numbers: Numbers, frac_coords: Floats, options: GraphOptions) -> Bonds:
    """Return exactly k bonds into each atom, as the code of Xie & Grossman (2018) does.

    Of equal neighbours the first stay in the order of pymatgen's list of a structure that is sorted by
    electronegativity, as it is when pymatgen has read it from a CIF. What lacks of k are bonds to the first
    atom, farther than the cut-off.
    """
    from pymatgen.core import Lattice, Structure

    rows = {"row": list(range(len(numbers)))}
    structure = Structure(Lattice(lattice), numbers.tolist(), frac_coords, site_properties=rows)
    structure = structure.get_sorted_structure()
    row = np.array([site.properties["row"] for site in structure])
    target, source, image, length = structure.get_neighbor_list(options.cutoff)
    order = np.lexsort((length, target))
    found = np.bincount(target, minlength=len(row))
    place = np.arange(len(target)) - (np.cumsum(found) - found)[target[order]]
    kept = order[place < options.neighbours]
    target, source, image, length = target[kept], source[kept], image[kept], length[kept]
    coords = structure.frac_coords
    vector = (coords[target] - coords[source] - image) @ lattice
    lacking = np.repeat(np.arange(len(row)), np.maximum(options.neighbours - found, 0))
    none = np.full(len(lacking), options.cutoff + BEYOND)
    return Bonds(
        row[np.concatenate([source, np.zeros_like(lacking)])],
        row[np.concatenate([target, lacking])],
        np.concatenate([vector, none[:, None] * np.eye(3)[0]]),
        np.concatenate([length, none]),
    )


def _both_ways(lattice: Floats, numbers: Numbers, frac_coords: Floats, options: GraphOptions) -> Bonds:  # noqa: ARG001 (as the others)
    """Return bonds as ALIGNN with DGL does: k nearest and what is as far to the last digit, both ways.

    The search grows until each atom has k. An image of the atom itself and the opposite one are two bonds,
    and both are there both ways, so each counts twice. Atoms and bonds are placed by lattice vectors of five
    decimals, in Å, images of atoms are looked for by all digits of them: that decides which shells are cut.
    """
    radius, rounded = options.cutoff, lattice.round(DECIMALS)
    points = frac_coords @ rounded
    centre, other, image, length = _within(lattice, frac_coords, points, radius)
    edges = np.linalg.norm(rounded, axis=1)
    while np.bincount(centre, minlength=len(frac_coords)).min() < options.neighbours and radius < FARTHEST:
        radius = float(edges.max()) if radius < edges.max() else 2 * radius
        centre, other, image, length = _within(lattice, frac_coords, points, radius)
    order = np.lexsort((length, centre))
    centre, other, image, length = centre[order], other[order], image[order], length[order]
    first = np.searchsorted(centre, np.arange(len(frac_coords)))
    last = np.minimum(first + options.neighbours, np.searchsorted(centre, np.arange(1, len(first) + 1))) - 1
    near = length <= length[last][centre]
    centre, other, image = centre[near], other[near], image[near]
    turned = other < centre
    pairs = np.unique(
        np.column_stack(
            [
                np.where(turned, other, centre),
                np.where(turned, centre, other),
                np.where(turned[:, None], -image, image),
            ]
        ),
        axis=0,
    )
    one, two, image = pairs[:, 0], pairs[:, 1], pairs[:, 2:]
    vector = (frac_coords[two] + image - frac_coords[one]) @ rounded
    length = np.linalg.norm(vector, axis=1)
    return Bonds(
        np.concatenate([one, two]),
        np.concatenate([two, one]),
        np.concatenate([vector, -vector]),
        np.concatenate([length, length]),
    )


def _within(
    lattice: Floats, frac_coords: Floats, points: Floats, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return centre, neighbour, its image and the distance of all pairs at most a radius apart, in Å.

    By the plain sum over images: which of two equal distances is larger in the last digit decides.
    """
    planes = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    reach = np.ceil((radius + ONE) / planes)
    low, high = np.floor(frac_coords.min(axis=0)) - reach, np.ceil(frac_coords.max(axis=0)) + reach
    found = []
    for image in product(*(np.arange(a, b) for a, b in zip(low, high, strict=True))):
        apart = ((points + np.dot(image, lattice))[:, None] - points) ** 2
        length = np.sum(apart, axis=-1) ** 0.5
        other, centre = np.nonzero((length <= radius) & (length > ONE))
        if len(other):
            found.append((centre, other, np.tile(image, (len(other), 1)), length[other, centre]))
    if not found:
        none = np.empty(0, dtype=np.int64)
        return none, none, np.empty((0, 3), dtype=np.int64), np.empty(0)
    centre, other, images, length = (np.concatenate(values) for values in zip(*found, strict=True))
    return centre, other, images.astype(np.int64), length


RULES: Final[Mapping[str, Callable[[Floats, Numbers, Floats, GraphOptions], Bonds]]] = {
    "cgcnn": _cut,
    "alignn": _both_ways,
}
