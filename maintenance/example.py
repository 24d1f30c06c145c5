"""Make the embedded example: from structure type, lattice parameters and internal coordinates to crystals."""

from __future__ import annotations

import csv
import hashlib
import re
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.groups import SpaceGroup

from maintenance.prototypes import PROTOTYPES
from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.data.example import BUILT, TABLE

HANDBOOKS: Final = {
    "Madelung 2004": "O. Madelung, Semiconductors: Data Handbook, 3rd edition, Springer (2004)",
    "Landolt-Börnstein III/41": "Landolt-Börnstein, New Series, group III, volume 41, Springer (1998-2003)",
    "Strehlow & Cook 1973": "W. H. Strehlow, E. L. Cook, J. Phys. Chem. Ref. Data 2, 163 (1973)",
    "Adachi 2005": "S. Adachi, Properties of Group-IV, III-V and II-VI Semiconductors, Wiley (2005)",
    "Rowe 1995": "D. M. Rowe (editor), CRC Handbook of Thermoelectrics, CRC Press (1995)",
}

# Rows: primitive vectors in terms of the conventional ones, by the first letter of the space group
PRIMITIVE: Final = {
    "P": np.eye(3),
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "C": np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
    "R": np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3,
}


def build() -> Crystals:
    """Build the table with pymatgen, in primitive cells."""
    rows = table()
    cells = [_cell(row) for row in rows]
    return Crystals(
        ids=np.array([f"{row['formula']}-{row['structure_type']}" for row in rows], dtype=object),
        lattice=np.array([lattice for lattice, _, _ in cells]),
        offsets=np.concatenate([[0], np.cumsum([len(numbers) for _, numbers, _ in cells])]).astype(np.int64),
        numbers=np.concatenate([numbers for _, numbers, _ in cells]),
        frac_coords=np.concatenate([coords for _, _, coords in cells]).astype(np.float32).astype(np.float64),
        columns={
            "band_gap": np.array([float(row["gap_eV"]) for row in rows]),
            "structure_type": np.array([row["structure_type"] for row in rows], dtype=object),
            "handbook": np.array([HANDBOOKS[row["handbook"]] for row in rows], dtype=object),
        },
        units={"band_gap": "eV"},
    )


def table() -> list[dict[str, str]]:
    """Return the rows of the table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table_hash() -> str:
    """Return the SHA-256 of the table, kept with what was built from it."""
    return hashlib.sha256(TABLE.read_bytes()).hexdigest()


def _cell(row: dict[str, str]) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    """Return primitive lattice (3, 3) in Å, atomic numbers (atoms,), fractional coordinates (atoms, 3)."""
    symbol = PROTOTYPES[row["structure_type"]].space_group
    elements = np.array([SYMBOLS.index(e) for e in re.findall("[A-Z][a-z]?", row["formula"])], dtype=np.uint8)
    roles, coords = _sites(row["structure_type"], row["internal"])
    return PRIMITIVE[symbol[0]] @ _lattice(symbol, row).matrix, elements[roles], coords


def _lattice(symbol: str, row: dict[str, str]) -> Lattice:
    """Return the conventional lattice; lengths in Å and the angle beta in degrees."""
    a, system = float(row["a"]), _system(symbol)
    if system == "cubic":
        return Lattice.cubic(a)
    if system == "tetragonal":
        return Lattice.tetragonal(a, float(row["c"]))
    if system in {"trigonal", "hexagonal"}:
        return Lattice.hexagonal(a, float(row["c"]))
    return Lattice.from_parameters(a, float(row["b"]), float(row["c"]), 90, float(row["beta"] or 90), 90)


@cache
def _system(symbol: str) -> str:
    return str(SpaceGroup(symbol).crystal_system)


@cache
def _sites(structure_type: str, internal: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return each atom's place in the formula, (atoms,), and primitive fractional coordinates, (atoms, 3)."""
    prototype = PROTOTYPES[structure_type]
    values = {name: float(value) for name, value in (part.split("=") for part in internal.split())}
    sites = prototype.sites(**values)
    # any lattice that the space group allows will do: fractional coordinates do not depend on it
    example = next(row for row in table() if row["structure_type"] == structure_type)
    conventional = Structure.from_spacegroup(
        prototype.space_group,
        _lattice(prototype.space_group, example),
        [SYMBOLS[1 + role] for role, _ in sites],
        [coords for _, coords in sites],
    )
    roles = np.array([site.specie.Z - 1 for site in conventional])
    coords = conventional.frac_coords @ np.linalg.inv(PRIMITIVE[prototype.space_group[0]])
    coords = (coords + 1e-6) % 1 - 1e-6
    _, kept = np.unique(np.round(coords, 4), axis=0, return_index=True)
    kept.sort()
    return roles[kept], np.abs(coords[kept])


if __name__ == "__main__":
    build().write_parquet(BUILT, table_sha256=table_hash())
