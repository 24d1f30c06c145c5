"""Structures as the databases of OPTIMADE give them, also in tables with a column for each property.

As its specification says (version 1.2): lengths in Å, positions Cartesian, and a site is of a species, which
may be several elements, or have further atoms attached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS
from tlzoo.data.sources.problems import StructureError
from tlzoo.data.sources.unitcells import ORDER
from tlzoo.periodicity import set_apart

NEEDED: Final = ("lattice_vectors", "cartesian_site_positions", "species_at_sites", "species")
# What belongs to the structure besides; all else are labels.
STRUCTURAL: Final = (*NEEDED, "dimension_types", "nperiodic_dimensions", "structure_features", "assemblies")
NUMBERS: Final = {name: z for z, name in enumerate(SYMBOLS) if z}


def is_optimade(value: object) -> bool:
    """Whether a value has the properties of a structure, or is an entry or an answer that has."""
    return isinstance(value, Mapping) and set(NEEDED[:3]) <= set(entry(value))


def entry(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return id and properties of an entry, and of an answer with one entry; other dicts as they are."""
    inside = value.get("data")
    if isinstance(inside, Mapping) and "attributes" in inside:
        value = inside
    inside = value.get("attributes")
    return {"id": value["id"], **inside} if isinstance(inside, Mapping) and "id" in value else value


def read(value: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], str]:
    """Return lattice (Å), atomic numbers and fractional coordinates, and a note of what was done to the cell.

    Raises:
        StructureError: Something is missing, atoms are without a place, or it is disordered.
        ValueError: It is not periodic.
    """
    value = entry(value)
    if missing := [name for name in NEEDED if value.get(name) is None]:
        raise StructureError("unreadable", f"is a structure of OPTIMADE without {', '.join(missing)}")
    if "implicit_atoms" in _list(value.get("structure_features")):
        raise StructureError("incomplete", "has atoms without a place (structure_features: implicit_atoms)")
    if len(_list(value.get("assemblies"))):
        raise StructureError("disordered", f"has sites that exclude each other (assemblies); {ORDER}")
    elements = {str(species["name"]): _element(species) for species in value["species"]}
    names = [str(name) for name in value["species_at_sites"]]
    if unknown := sorted(set(names) - set(elements)):
        raise StructureError(
            "unreadable", f"has sites of species that it does not list: {', '.join(unknown)}"
        )
    periodic = np.array(_list(value.get("dimension_types")) or [1, 1, 1], dtype=bool)
    lattice = _vectors("lattice_vectors", value["lattice_vectors"], 3)
    positions = _vectors("cartesian_site_positions", value["cartesian_site_positions"], len(names))
    lattice[~periodic] = np.nan_to_num(lattice[~periodic])  # null where it is not periodic
    lattice, coords, note = set_apart(lattice, positions, periodic)
    return lattice, np.array([NUMBERS[elements[name]] for name in names], dtype=np.int64), coords, note


def _element(species: Mapping[str, Any]) -> str:
    """Return the element of a species.

    Raises:
        StructureError: It is none, several, or in part a vacancy, or it has atoms attached.
    """
    name, symbols = species["name"], [str(symbol) for symbol in _list(species["chemical_symbols"])]
    if attached := [str(symbol) for symbol in _list(species.get("attached"))]:
        text = f"has atoms without a place: {', '.join(attached)}, attached to the species {name!r}"
        raise StructureError("incomplete", f"{text}; give them sites of their own")
    amounts = [float(part) for part in _list(species["concentration"])]
    if len(symbols) != 1 or amounts != [1.0]:
        parts = ", ".join(f"{s} {a:g}" for s, a in zip(symbols, amounts, strict=False))
        raise StructureError("disordered", f"has sites of the species {name!r} ({parts}); {ORDER}")
    if symbols[0] not in NUMBERS:
        raise StructureError("unknown element", f"has sites that are no element: {symbols[0]}")
    return symbols[0]


def _vectors(name: str, rows: Sequence[Sequence[float | None]], count: int) -> NDArray[np.float64]:
    """Return rows of three numbers, NaN for null."""
    found = np.array([[np.nan if x is None else x for x in row] for row in rows], dtype=np.float64)
    if found.shape != (count, 3):
        raise StructureError("unreadable", f"has {name} of shape {found.shape}; wanted ({count}, 3)")
    return found


def _list(value: Any) -> list[Any]:  # noqa: ANN401 (lists, arrays, or nothing)
    return [] if value is None else list(value)
