"""Which of the settings of a space group a CIF without symmetry operations means."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlzoo.data.sources import spacegroups
from tlzoo.data.sources.cellcontents import Contents
from tlzoo.data.sources.cifblocks import Block, CifError, known_number
from tlzoo.data.sources.spacegroups import Operations
from tlzoo.data.sources.unitcells import Cell, Site, grow, on_special_positions, places_of

if TYPE_CHECKING:
    from pymatgen.core import Lattice

NAMES = (
    "_symmetry_space_group_name_h_m",
    "_space_group_name_h_m_alt",
    "_space_group_name_h_m",
    "_space_group_name_h_m_full",
)
HALL_SYMBOLS = ("_symmetry_space_group_name_hall", "_space_group_name_hall")
NUMBERS = ("_symmetry_int_tables_number", "_space_group_it_number")
METRIC = 0.02  # of the edges: a measured or relaxed cell is never so far from its symmetry


def grown_by_name(block: Block, lattice: Lattice, sites: Sequence[Site], contents: Contents) -> Cell:
    """Grow a crystal by the setting that agrees with all that the file says; if there is one."""
    claims, strange = _claims(block)
    if not claims:
        return _without_group(lattice, sites, contents, strange)
    said = " and ".join(text for text, _ in claims)
    _settings(claims)
    tried = meant(block, lattice, sites, contents)
    if not tried:
        cell = ", ".join(f"{x:g}" for x in lattice.parameters)
        text = f"{said} and the cell ({cell}) contradict each other: such a cell does not have this symmetry"
        raise CifError("contradiction", text)
    if strange:
        warnings.warn(f"{' and '.join(strange)} is unknown; read with {said}", stacklevel=2)
    good = {s: c for s, c in tried.items() if isinstance(c, Cell) and not contents.contradictions(c)}
    if not good:
        raise _none_agrees(said, tried, contents)
    chosen = _decided(good, block)
    if len(chosen) > 1:
        options = " or ".join(f"{spacegroups.label(s)} ({c})" for s, c in list(chosen.items())[:6])
        text = (
            f"has no symmetry operations, and {said} may mean {options}: add the operations, or write the "
            "setting in full (_space_group_name_H-M_alt or _space_group_name_Hall)"
        )
        if len({len(c.coords) for c in chosen.values()}) == len(chosen):
            text += ", or formula and Z, or the density (_exptl_crystal_density_diffrn)"
        raise CifError("unknown symmetry", text)
    ((setting, crystal),) = chosen.items()
    if len(tried) > 1:
        meaning = f"of what {said} may mean, {spacegroups.label(setting)} ({crystal}) is read"
        warnings.warn(f"has no symmetry operations; {meaning}", stacklevel=2)
    return crystal


def meant(
    block: Block, lattice: Lattice, sites: Sequence[Site], contents: Contents
) -> dict[int, Cell | CifError]:
    """The crystal, or what speaks against it, by each setting that a file may mean and its cell can have."""
    fitting = [setting for setting in sorted(claimed(block)) if _fits(lattice, setting)]
    # A monoclinic name without axes is meant for b, if the cell allows it.
    fitting = [s for s in fitting if spacegroups.axis(s) == "b"] or fitting
    return {s: _tried_with(lattice, sites, spacegroups.operations(s), contents) for s in fitting}


def claimed(block: Block) -> set[int]:
    """The settings that name, Hall symbol and number allow; none if these contradict each other."""
    try:
        return _settings(_claims(block)[0])
    except CifError:
        return set()


def _without_group(
    lattice: Lattice, sites: Sequence[Site], contents: Contents, strange: Sequence[str]
) -> Cell:
    crystal = grow(lattice, sites, places_of(sites), spacegroups.operations(1))
    wrong = contents.contradictions(crystal)
    start = f"its space group {' and '.join(strange)} is unknown" if strange else "names no space group"
    if contents.tells_size and not wrong:
        evidence = "its density" if contents.density else "its formula and Z"
        warnings.warn(f"{start}; all atoms are listed ({crystal}), by {evidence}", stacklevel=2)
        return crystal
    raise CifError(
        "unknown symmetry",
        f"{start}, and it has no symmetry operations; the sites alone are {crystal}"
        f"{''.join(f', but {text}' for text in wrong)}. Add the operations (_space_group_symop_operation_xyz"
        "; 'x,y,z' if all atoms of the cell are listed) or the name of the space group",
    )


def _claims(block: Block) -> tuple[list[tuple[str, set[int]]], list[str]]:
    """What a file says of its space group, with the settings it may mean; and what means none."""
    said = [(repr(name), spacegroups.named(name)) for name in _known(block, NAMES)]
    said += [(f"Hall {name!r}", spacegroups.of_hall_symbol(name)) for name in _known(block, HALL_SYMBOLS)]
    for text in _known(block, NUMBERS):
        said.append((f"number {text}", spacegroups.of_number(int(known_number(text) or 0))))
    return [claim for claim in said if claim[1]], [text for text, settings in said if not settings]


def _known(block: Block, tags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, (block.value(tag) for tag in tags))))


def _settings(claims: Sequence[tuple[str, set[int]]]) -> set[int]:
    """The settings that all claims allow.

    Raises:
        CifError: There is none.
    """
    if not claims:
        return set()
    left, believed = claims[0][1], claims[0][0]
    for text, settings in claims[1:]:
        if not left & settings:
            raise CifError(
                "contradiction", f"{believed} and {text} are different space groups or settings; correct one"
            )
        left, believed = left & settings, f"{believed} and {text}"
    return left


def _fits(lattice: Lattice, setting: int) -> bool:
    """Whether a cell has the symmetry of a setting."""
    rotations = spacegroups.operations(setting).rotations
    metric = lattice.matrix @ lattice.matrix.T
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    edges = np.sqrt(np.diag(metric))
    return bool((np.abs(turned - metric) <= METRIC * np.outer(edges, edges)).all())


def _tried_with(
    lattice: Lattice, sites: Sequence[Site], operations: Operations, contents: Contents
) -> Cell | CifError:
    try:
        return on_special_positions(lattice, sites, operations, contents)
    except CifError as error:
        return error


def _none_agrees(said: str, tried: Mapping[int, Cell | CifError], contents: Contents) -> CifError:
    if len(tried) == 1:
        ((setting, crystal),) = tried.items()
        if isinstance(crystal, CifError):
            text = f"has no symmetry operations; with those of {spacegroups.label(setting)}, {crystal}"
            return CifError(crystal.kind, text)
        wrong = contents.contradictions(crystal)
        if contents.wrong_formula(crystal):
            return CifError("incomplete", wrong[0])
        text = f"with those of {spacegroups.label(setting)}, {'; '.join(wrong)}: correct one"
        return CifError("contradiction", f"has no symmetry operations; {text}")
    reasons = [
        f"{spacegroups.label(s)}: {'; '.join(contents.contradictions(c)) if isinstance(c, Cell) else c}"
        for s, c in list(tried.items())[:4]
    ]
    text = f"nothing that {said} may mean agrees with what else the file says: {' | '.join(reasons)}"
    return CifError("contradiction", f"has no symmetry operations, and {text}")


def _decided(good: Mapping[int, Cell], block: Block) -> dict[int, Cell]:
    """Those of several crystals that differ, that can be, and have the multiplicities in the file."""
    different: dict[int, Cell] = {}
    for setting, crystal in good.items():
        if not any(crystal.equals(other) for other in different.values()):
            different[setting] = crystal
    if len(different) > 1:
        different = {s: c for s, c in different.items() if c.is_possible()} or different
    given = [known_number(text) for text in block.column("_atom_site_symmetry_multiplicity")]
    if len(different) > 1 and given:
        fitting = {
            s: c
            for s, c in different.items()
            if [float(c.sites.count(row)) for row in range(len(given))] == given
        }
        different = fitting or different
    return different
