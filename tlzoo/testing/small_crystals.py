"""Crystals of a few atoms, of different symmetry, that contracts are tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from tlzoo.crystals import Crystals

if TYPE_CHECKING:
    from pymatgen.core import Structure


@cache
def rock_salt() -> Structure:
    """NaCl, the cube of eight atoms."""
    from pymatgen.core import Lattice, Structure

    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@cache
def perovskite() -> Structure:
    """Tetragonal BaTiO3: five atoms, polar."""
    from pymatgen.core import Lattice, Structure

    positions = [[0, 0, 0], [0.5, 0.5, 0.52], [0.5, 0.5, 0.02], [0.5, 0, 0.51]]
    return Structure.from_spacegroup(
        "P4mm", Lattice.tetragonal(3.99, 4.04), ["Ba", "Ti", "O", "O"], positions
    )


def triclinic() -> Structure:
    """Four atoms without any symmetry."""
    from pymatgen.core import Lattice, Structure

    lattice = Lattice.from_parameters(4.1, 5.3, 6.2, 81, 97, 104)
    sites = [[0.1, 0.2, 0.3], [0.6, 0.1, 0.8], [0.4, 0.7, 0.55], [0.9, 0.6, 0.1]]
    return Structure(lattice, ["Mg", "Si", "O", "O"], sites)


def iron() -> Structure:
    """A cell of one atom."""
    from pymatgen.core import Lattice, Structure

    return Structure(
        Lattice.cubic(2.87).matrix @ [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
        ["Fe"],
        [[0, 0, 0]],
    )


STRUCTURES: Mapping[str, Callable[[], Structure]] = {
    "rock salt": rock_salt,
    "perovskite": perovskite,
    "triclinic": triclinic,
}


@cache
def four() -> Crystals:
    """Rock salt, iron and the others, of one to eight atoms."""
    return Crystals.from_structures([rock_salt(), iron(), perovskite(), triclinic()])
