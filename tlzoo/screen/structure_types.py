"""Structure types: the label of AFLOW, and the name that everybody knows where there is one."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple

from tlzoo.crystals import Crystals
from tlzoo.screen.facts import SYMPREC, analysed
from tlzoo.screen.screening import Screening

# By Pearson symbol, space group and the Wyckoff positions of each element in alphabetical order, whichever
# element is where. Where coordinates are free it is the type that nearly all compounds with the label have.
NAMES: Final = {
    "cF8_227_a": "diamond",
    "hP4_194_f": "lonsdaleite",
    "hP4_194_bc": "graphite",
    "cF8_216_a_c": "zinc blende",
    "hP4_186_b_b": "wurtzite",
    "hP8_186_ab_ab": "4H polytype",
    "hP4_194_c_d": "hexagonal BN",
    "cF8_225_a_b": "rock salt",
    "cP2_221_a_b": "CsCl",
    "hP4_194_a_c": "NiAs",
    "hP2_187_a_d": "WC",
    "cF12_225_a_c": "fluorite",
    "tP6_136_a_f": "rutile",
    "tI12_141_a_e": "anatase",
    "cP12_205_a_c": "pyrite",
    "hP3_191_a_d": "AlB2",
    "hR30_167_c_e": "corundum",
    "cP4_221_a_c": "Cu3Au",
    "cP7_221_b_e": "CaB6",
    "tI16_122_a_b_d": "chalcopyrite",
    "cP5_221_a_b_c": "perovskite",
    "cF12_216_a_b_c": "half-Heusler",
    "cF16_225_a_b_c": "Heusler",
    "cF56_227_a_d_e": "spinel",
    "cF4_225_a": "fcc",
    "cI2_229_a": "bcc",
    "hP2_194_c": "hcp",
}


class StructureType(NamedTuple):
    """What kind of structure a crystal has.

    Attributes:
        group: Space group, symbol and number: ``F-43m (216)``.
        prototype: Anonymous formula, Pearson symbol, number of the space group, Wyckoff positions of each
            element: ``AB_cF8_216_a_c``; empty if spglib finds none.
        name: ``zinc blende``; empty if it has no common one.
    """

    group: str
    prototype: str
    name: str


UNKNOWN: Final = StructureType("?", "", "")


def structure_type(crystals: Crystals, row: int) -> StructureType:
    """Return the structure type of a crystal, by spglib with a tolerance of 0.01 Å; takes some 50 ms."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer, SymmetryUndeterminedError

    if (found := analysed(crystals, row)) is None:
        return UNKNOWN
    group = f"{found.get_space_group_symbol()} ({found.get_space_group_number()})"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # positions of a supercell would be counted several times
            primitive = SpacegroupAnalyzer(found.find_primitive(), symprec=SYMPREC)
            label = _labeller()(primitive, raise_errors=True)
        except (SymmetryUndeterminedError, ValueError, KeyError):
            return StructureType(group, "", "")
    prototype = label.partition(":")[0]
    return StructureType(group, prototype, name_of(prototype))


@cache
def _labeller() -> Callable[..., str]:
    """Return pymatgen's function that labels a structure type."""
    from pymatgen.util import provenance

    # On import pymatgen checks the BibTeX of 288 prototypes, for seconds: they come with it and are in order.
    check = provenance.is_valid_bibtex
    provenance.is_valid_bibtex = lambda _: True
    try:
        from pymatgen.analysis.prototypes import get_protostructure_label_from_spg_analyzer
    finally:
        provenance.is_valid_bibtex = check
    labeller: Callable[..., str] = get_protostructure_label_from_spg_analyzer
    return labeller


def name_of(prototype: str) -> str:
    """Return the common name of a structure type; empty if it has none.

    >>> name_of("AB_cF8_216_a_c"), name_of("A2B_cF12_225_c_a"), name_of("AB_oP8_62_c_c")
    ('zinc blende', 'fluorite', '')
    """
    _, pearson, group, *positions = prototype.split("_")
    return NAMES.get("_".join([pearson, group, *sorted(positions)]), "")


def structure_types(rows: Sequence[int], screening: Screening) -> list[StructureType]:
    """Return the structure types of some crystals of the pool."""
    found = {}
    size = screening.request.shard
    for part in screening.slices(sorted({row // size for row in rows})):
        for row in rows:
            if part.first <= row < part.first + len(part.crystals):
                found[row] = structure_type(part.crystals, row - part.first)
    return [found[row] for row in rows]
