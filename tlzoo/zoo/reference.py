"""Sixteen reference crystals: what every checkpoint is asked, to see that it still gives the same answers.

One of each common structure type, from one to fourteen atoms. Lattice constants in Å are the rounded
room-temperature values of the usual handbooks (R. W. G. Wyckoff, Crystal Structures, 2nd ed., 1963; ZrO2:
Howard, Hill & Reichert, Acta Cryst. B 44, 116, 1988), written down from memory. They make plausible crystals,
no data: look a value up before you rely on it. A change here makes all golden predictions wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS, Crystals

Matrix = NDArray[np.float64]
Site = tuple[float, float, float]
# lattice, and fractional coordinates by element
Cell = tuple[Matrix, Mapping[str, Sequence[Site]]]

ORIGIN: Final = (0.0, 0.0, 0.0)
BODY: Final = (0.5, 0.5, 0.5)
QUARTER: Final = (0.25, 0.25, 0.25)
THREE_QUARTERS: Final = (0.75, 0.75, 0.75)
THIRD, TWO_THIRDS = 1 / 3, 2 / 3


def primitive(a: float) -> Matrix:
    """Primitive vectors of a face-centred cubic lattice; (x, x, x) is the same in it and in the cube."""
    return a / 2 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


def orthogonal(a: float, b: float, c: float) -> Matrix:
    """Vectors at right angles."""
    return np.diag([a, b, c])


def hexagonal(a: float, c: float) -> Matrix:
    """Vectors of a hexagonal lattice, 120° between the first two."""
    return np.array([[a, 0.0, 0.0], [-a / 2, a * np.sqrt(3) / 2, 0.0], [0.0, 0.0, c]])


def monoclinic(a: float, b: float, c: float, beta: float) -> Matrix:
    """Vectors of a monoclinic lattice, unique axis b; beta in degrees."""
    angle = np.radians(beta)
    return np.array([[a, 0.0, 0.0], [0.0, b, 0.0], [c * np.cos(angle), 0.0, c * np.sin(angle)]])


def baddeleyite(x: float, y: float, z: float) -> list[Site]:
    """General position of P2_1/c, unique axis b."""
    return [(x, y, z), (-x, -y, -z), (-x, y + 0.5, 0.5 - z), (x, 0.5 - y, z + 0.5)]


def molybdenite(z: float) -> list[Site]:
    """Position 4f of P6_3/mmc."""
    one, other = (THIRD, TWO_THIRDS), (TWO_THIRDS, THIRD)
    return [(*one, z), (*one, 0.5 - z), (*other, -z), (*other, z + 0.5)]


def spinel(u: float) -> list[Site]:
    """Position 32e of Fd-3m in the primitive cell, origin on the tetrahedral site."""
    one = [(u, u, u), (u, u, -3 * u), (u, -3 * u, u), (-3 * u, u, u)]
    return one + [(0.25 - x, 0.25 - y, 0.25 - z) for x, y, z in one]


def octahedron(x: float) -> list[Site]:
    """Position 24e of Fm-3m in the primitive cell: along the axes of the cube."""
    axes = [(-x, x, x), (x, -x, x), (x, x, -x)]
    return axes + [(-a, -b, -c) for a, b, c in axes]


def rutile(u: float) -> list[Site]:
    """Position 4f of P4_2/mnm."""
    return [(u, u, 0.0), (-u, -u, 0.0), (0.5 - u, u + 0.5, 0.5), (u + 0.5, 0.5 - u, 0.5)]


CELLS: Final[dict[str, Cell]] = {
    "C diamond": (primitive(3.567), {"C": [ORIGIN, QUARTER]}),
    "NaCl rock salt": (primitive(5.640), {"Na": [ORIGIN], "Cl": [BODY]}),
    "ZnS zinc blende": (primitive(5.409), {"Zn": [ORIGIN], "S": [QUARTER]}),
    "ZnO wurtzite": (
        hexagonal(3.250, 5.207),
        {
            "Zn": [(THIRD, TWO_THIRDS, 0.0), (TWO_THIRDS, THIRD, 0.5)],
            "O": [(THIRD, TWO_THIRDS, 0.382), (TWO_THIRDS, THIRD, 0.882)],
        },
    ),
    "CsCl": (orthogonal(4.123, 4.123, 4.123), {"Cs": [ORIGIN], "Cl": [BODY]}),
    "CaF2 fluorite": (primitive(5.463), {"Ca": [ORIGIN], "F": [QUARTER, THREE_QUARTERS]}),
    "SrTiO3 perovskite": (
        orthogonal(3.905, 3.905, 3.905),
        {"Sr": [ORIGIN], "Ti": [BODY], "O": [(0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)]},
    ),
    "TiO2 rutile": (orthogonal(4.594, 4.594, 2.959), {"Ti": [ORIGIN, BODY], "O": rutile(0.305)}),
    "MoS2 2H": (
        hexagonal(3.160, 12.295),
        {"Mo": [(THIRD, TWO_THIRDS, 0.25), (TWO_THIRDS, THIRD, 0.75)], "S": molybdenite(0.621)},
    ),
    "Fe bcc": (2.866 / 2 * (1 - 2 * np.eye(3)), {"Fe": [ORIGIN]}),
    "Cu fcc": (primitive(3.615), {"Cu": [ORIGIN]}),
    "Mg hcp": (hexagonal(3.209, 5.211), {"Mg": [(THIRD, TWO_THIRDS, 0.25), (TWO_THIRDS, THIRD, 0.75)]}),
    "TiNiSn half-Heusler": (primitive(5.921), {"Ti": [BODY], "Ni": [QUARTER], "Sn": [ORIGIN]}),
    "MgAl2O4 spinel": (
        primitive(8.083),
        {
            "Mg": [ORIGIN, QUARTER],
            "Al": [(0.625,) * 3, (0.125, 0.625, 0.625), (0.625, 0.125, 0.625), (0.625, 0.625, 0.125)],
            "O": spinel(0.387),
        },
    ),
    "ZrO2 baddeleyite": (
        monoclinic(5.150, 5.212, 5.317, 99.23),
        {
            "Zr": baddeleyite(0.2754, 0.0395, 0.2083),
            "O": [*baddeleyite(0.0700, 0.3317, 0.3447), *baddeleyite(0.4496, 0.7569, 0.4792)],
        },
    ),
    "K2PtCl6": (primitive(9.755), {"K": [QUARTER, THREE_QUARTERS], "Pt": [ORIGIN], "Cl": octahedron(0.240)}),
}


def reference_crystals() -> Crystals:
    """Return the crystals; their ids say formula and structure type."""
    sites = [
        [(SYMBOLS.index(symbol), site) for symbol, there in atoms.items() for site in there]
        for _, atoms in CELLS.values()
    ]
    return Crystals(
        ids=np.array(list(CELLS), dtype=object),
        lattice=np.array([lattice for lattice, _ in CELLS.values()]),
        offsets=np.concatenate([[0], np.cumsum([len(atoms) for atoms in sites])]).astype(np.int64),
        numbers=np.array([z for atoms in sites for z, _ in atoms], dtype=np.uint8),
        frac_coords=np.array([site for atoms in sites for _, site in atoms]),
        origins=list(CELLS),
    )
