"""Properties of the elements that networks know; no torch in here, so that data are checked without it.

The table is ``elements.csv`` (Z = 1 … 103): group 0 stands for lanthanides and actinides; valence
electrons are those outside the last noble-gas or filled d or f shell; covalent radii (pm) are those of
Cordero et al., Dalton Trans. 2008, 2832, by way of ase; Pauling electronegativities, first ionisation
energies (eV, NIST Atomic Spectra Database), electron affinities (eV) and molar volumes (cm³/mol) are those
collected by pymatgen.
"""

import csv
from functools import cache
from importlib import resources

Row = dict[str, str]


@cache
def properties() -> dict[int, Row]:
    """Return the rows of ``elements.csv`` by atomic number; an unknown value is an empty string."""
    table = resources.files("tlzoo.nn").joinpath("elements.csv").read_text(encoding="utf-8")
    return {int(row["number"]): row for row in csv.DictReader(table.splitlines())}


def covered() -> tuple[int, ...]:
    """Return the atomic numbers that have features."""
    return tuple(properties())
