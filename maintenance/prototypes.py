"""Structure types: space group and sites as functions of the internal coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# position of the element in the formula, fractional coordinates in the conventional cell
Site = tuple[int, tuple[float, float, float]]


@dataclass(frozen=True)
class Prototype:
    """A structure type.

    Attributes:
        space_group: Hermann-Mauguin symbol, read as pymatgen does: the first of two origins, hexagonal axes,
            unique axis b.
        sites: One site of each orbit, from the internal coordinates (keywords are their names in the table).
    """

    space_group: str
    sites: Callable[..., list[Site]]


ORIGIN: Final = (0.0, 0.0, 0.0)
BODY: Final = (0.5, 0.5, 0.5)
QUARTER: Final = (0.25, 0.25, 0.25)
THIRD, TWO_THIRDS = 1 / 3, 2 / 3


def _hexagonal(z: float) -> tuple[float, float, float]:
    return (THIRD, TWO_THIRDS, z)


def _anti_hexagonal(z: float) -> tuple[float, float, float]:
    return (TWO_THIRDS, THIRD, z)


PROTOTYPES: Final[dict[str, Prototype]] = {
    # elements
    "diamond": Prototype("Fd-3m", lambda: [(0, ORIGIN)]),
    "selenium": Prototype("P3_121", lambda x: [(0, (x, 0, THIRD))]),
    "black-phosphorus": Prototype("Cmce", lambda y, z: [(0, (0, y, z))]),
    # AX, four neighbours
    "zincblende": Prototype("F-43m", lambda: [(0, ORIGIN), (1, QUARTER)]),
    "wurtzite": Prototype("P6_3mc", lambda u: [(0, _hexagonal(0)), (1, _hexagonal(u))]),
    "4H": Prototype(
        "P6_3mc",
        lambda: [(0, ORIGIN), (0, _hexagonal(1 / 4)), (1, (0, 0, 3 / 16)), (1, _hexagonal(7 / 16))],
    ),
    "6H": Prototype(
        "P6_3mc",
        lambda: [
            (0, ORIGIN),
            (0, _hexagonal(1 / 6)),
            (0, _anti_hexagonal(1 / 3)),
            (1, (0, 0, 1 / 8)),
            (1, _hexagonal(7 / 24)),
            (1, _anti_hexagonal(11 / 24)),
        ],
    ),
    "tenorite": Prototype("C2/c", lambda y: [(0, (0.25, 0.25, 0)), (1, (0, y, 0.25))]),
    # AX, six or eight neighbours
    "rocksalt": Prototype("Fm-3m", lambda: [(0, ORIGIN), (1, BODY)]),
    "caesium-chloride": Prototype("Pm-3m", lambda: [(0, ORIGIN), (1, BODY)]),
    "thallium-iodide": Prototype("Cmcm", lambda y, v: [(0, (0, y, 0.25)), (1, (0, v, 0.25))]),
    # AX, layers
    "litharge": Prototype("P4/nmm", lambda z: [(0, (0, 0.5, z)), (1, ORIGIN)]),
    "germanium-sulfide": Prototype("Pnma", lambda x, z, v, w: [(0, (x, 0.25, z)), (1, (v, 0.25, w))]),
    "epsilon-GaSe": Prototype(
        "P-6m2",
        lambda z, w: [
            (0, (0, 0, z)),
            (0, _hexagonal(0.5 - z)),
            (1, _hexagonal(w)),
            (1, _anti_hexagonal(0.5 - w)),
        ],
    ),
    # AX2 and A2X
    "fluorite": Prototype("Fm-3m", lambda: [(0, ORIGIN), (1, QUARTER)]),
    "antifluorite": Prototype("Fm-3m", lambda: [(0, QUARTER), (1, ORIGIN)]),
    "cuprite": Prototype("Pn-3m", lambda: [(0, QUARTER), (1, ORIGIN)]),
    "rutile": Prototype("P4_2/mnm", lambda u: [(0, ORIGIN), (1, (u, u, 0))]),
    "anatase": Prototype("I4_1/amd", lambda z: [(0, ORIGIN), (1, (0, 0, z))]),
    "pyrite": Prototype("Pa-3", lambda u: [(0, ORIGIN), (1, (u, u, u))]),
    "marcasite": Prototype("Pnnm", lambda x, y: [(0, ORIGIN), (1, (x, y, 0))]),
    "quartz": Prototype("P3_221", lambda x, v, w, z: [(0, (x, 0, TWO_THIRDS)), (1, (v, w, z))]),
    "baddeleyite": Prototype(
        "P2_1/c",
        lambda x, y, z, x1, y1, z1, x2, y2, z2: [(0, (x, y, z)), (1, (x1, y1, z1)), (1, (x2, y2, z2))],
    ),
    "cadmium-iodide": Prototype("P-3m1", lambda z: [(0, ORIGIN), (1, _hexagonal(z))]),
    "molybdenite": Prototype("P6_3/mmc", lambda z: [(0, _hexagonal(0.25)), (1, _hexagonal(z))]),
    # AX3 and A3X
    "skutterudite": Prototype("Im-3", lambda y, z: [(0, QUARTER), (1, (0, y, z))]),
    "lithium-nitride": Prototype("P6/mmm", lambda: [(0, (0, 0, 0.5)), (0, _hexagonal(0)), (1, ORIGIN)]),
    # A2X3 and more
    "corundum": Prototype("R-3c", lambda z, x: [(0, (0, 0, z)), (1, (x, 0, 0.25))]),
    "bixbyite": Prototype("Ia-3", lambda u, x, y, z: [(0, QUARTER), (0, (u, 0, 0.25)), (1, (x, y, z))]),
    "lanthana": Prototype("P-3m1", lambda z, w: [(0, _hexagonal(z)), (1, _hexagonal(w)), (1, ORIGIN)]),
    "tetradymite": Prototype("R-3m", lambda z, w: [(0, (0, 0, z)), (1, ORIGIN), (1, (0, 0, w))]),
    "stibnite": Prototype(
        "Pnma",
        lambda x, z, v, w, x1, z1, x2, z2, x3, z3: [
            (0, (x, 0.25, z)),
            (0, (v, 0.25, w)),
            (1, (x1, 0.25, z1)),
            (1, (x2, 0.25, z2)),
            (1, (x3, 0.25, z3)),
        ],
    ),
    "beta-gallia": Prototype(
        "C2/m",
        lambda x, z, v, w, x1, z1, x2, z2, x3, z3: [
            (0, (x, 0, z)),
            (0, (v, 0, w)),
            (1, (x1, 0, z1)),
            (1, (x2, 0, z2)),
            (1, (x3, 0, z3)),
        ],
    ),
    "vanadia": Prototype(
        "Pmmn",
        lambda x, z, x1, z1, x2, z2, z3: [
            (0, (x, 0, z)),
            (1, (x1, 0, z1)),
            (1, (x2, 0, z2)),
            (1, (0, 0, z3)),
        ],
    ),
    "beta-Si3N4": Prototype(
        "P6_3/m", lambda x, y, v, w: [(0, (x, y, 0.25)), (1, (v, w, 0.25)), (1, _hexagonal(0.25))]
    ),
    # ternary and quaternary
    "half-Heusler": Prototype("F-43m", lambda: [(0, BODY), (1, ORIGIN), (2, QUARTER)]),
    "elpasolite-A2BX": Prototype("Fm-3m", lambda: [(0, QUARTER), (1, BODY), (2, ORIGIN)]),
    "chalcopyrite": Prototype("I-42d", lambda u: [(0, ORIGIN), (1, (0, 0, 0.5)), (2, (u, 0.25, 0.125))]),
    "defect-chalcopyrite": Prototype(
        "I-4",
        lambda x, y, z: [(0, ORIGIN), (1, (0, 0, 0.5)), (1, (0, 0.5, 0.25)), (2, (x, y, z))],
    ),
    "kesterite": Prototype(
        "I-4",
        lambda x, y, z: [
            (0, ORIGIN),
            (0, (0, 0.5, 0.25)),
            (1, (0, 0.5, 0.75)),
            (2, (0, 0, 0.5)),
            (3, (x, y, z)),
        ],
    ),
    "spinel": Prototype("Fd-3m", lambda u: [(0, ORIGIN), (1, (0.625, 0.625, 0.625)), (2, (u, u, u))]),
    "perovskite": Prototype("Pm-3m", lambda: [(0, ORIGIN), (1, BODY), (2, (0.5, 0.5, 0))]),
    "tetragonal-perovskite": Prototype(
        "P4mm",
        lambda z, w, v: [(0, ORIGIN), (1, (0.5, 0.5, z)), (2, (0.5, 0.5, w)), (2, (0.5, 0, v))],
    ),
    "rhombohedral-perovskite": Prototype(
        "R-3c", lambda x: [(0, (0, 0, 0.25)), (1, ORIGIN), (2, (x, 0, 0.25))]
    ),
    "lithium-niobate": Prototype("R3c", lambda w, x, y, z: [(0, (0, 0, w)), (1, ORIGIN), (2, (x, y, z))]),
}
