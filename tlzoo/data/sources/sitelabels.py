"""Which element a site of a CIF has, by its type symbol, or by its label if that is all there is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache

VACANCY = ""

# Factors for scattering by valence electrons, in the tables of several refinement programs.
SCATTERING = {"Cval": "C", "Siva": "Si", "Sival": "Si", "Siv": "Si"}
VACANCIES = {"Va", "Vac", "VAC", "vac", "Vacancy", "vacancy", "VACANCY"}
# Groups of atoms at one site, whose first letters are those of some element.
GROUPS = {"WAT", "NH", "NO", "CO", "SO", "PO", "ME", "ET", "PH", "CN", "HOH", "HDO", "DOD", "VA"}
WATER = {"H2O", "H3O", "D2O", "D3O"}
# Where the elements of a mixture begin: Si/Al, (Fe,Mn), Fe0.5Mn0.5; in type symbols also Fe-Mn, but H-O1
# may be the label of hydrogen on O1.
PARTS = re.compile(r"(?:^\(?|[/,&|+] *|\d\.\d+)([A-Z][a-z]?)(?![a-z])")
TYPED_PARTS = re.compile(PARTS.pattern.replace("+]", "+-]"))
# Two capitals without type symbol: C, H, N or O named after a neighbour (HO, CS), or an element (Ho, Cs)?
PARENTS, CHILDREN = set("HCNOSP"), set("HCNO")


def elements_of(
    labels: Sequence[str], types: Sequence[str], known: frozenset[str]
) -> tuple[list[str], list[str], list[str]]:
    """Return the elements of sites, those that are none for certain, and notes.

    Args:
        labels: Label of each site.
        types: Type symbol of each site, ``"."`` or ``"?"`` if unknown.
        known: Elements of the formula, empty if there is none; they decide about labels.

    Returns:
        Symbol of each site, :data:`VACANCY` if it is one; labels (with types) that are unclear; notes.
    """
    found: list[str | None] = []
    guessed: dict[str, str] = {}
    for label, kind in zip(labels, types, strict=True):
        typed = kind not in {".", "?", ""}
        symbol = kind if typed else label
        element, sure = _element(symbol, typed, known)
        found.append(element)
        if element and not sure:
            guessed[symbol] = element
    if "H" in found:  # hydroxide whose hydrogen has a site of its own
        for row, label in enumerate(labels):
            if found[row] is None and _letters(label)[:2] == "OH":
                found[row] = guessed[label] = "O"
    unclear = [
        label if kind in {".", "?", "", label} else f"{label} (type {kind!r})"
        for label, kind, element in zip(labels, types, found, strict=True)
        if element is None
    ]
    notes = []
    if guessed:
        said = ", ".join(f"{symbol} as {element}" for symbol, element in sorted(guessed.items())[:12])
        notes.append(f"labels and symbols that are no element as they stand are read: {said}")
    heavy = [
        x
        for x, kind in zip(labels, types, strict=True)
        if re.match(r"[DT](?![a-z])", kind if kind[:1].isalpha() else x)
    ]
    if heavy and "H" in found:
        notes.append(f"deuterium (or tritium) is read as hydrogen: {', '.join(dict.fromkeys(heavy))[:100]}")
    return [element or VACANCY for element in found], list(dict.fromkeys(unclear)), notes


def mixture(label: str, kind: str) -> str:
    """Return what a site is called, by its type symbol if there is one, if it names several elements.

    >>> mixture("M1", "Si/Al"), mixture("Na,K", "."), mixture("O1", "O2-"), mixture("Fe1", "Fe2+,Fe3+")
    ('Si/Al', 'Na,K', '', '')
    """
    typed = kind not in {".", "?", ""}
    text, parts = (kind, TYPED_PARTS) if typed else (label, PARTS)
    return text if len(set(parts.findall(text)) & _symbols()) > 1 else ""


@lru_cache(maxsize=4096)
def _element(symbol: str, typed: bool, known: frozenset[str]) -> tuple[str | None, bool]:
    """The element, None if unclear; and whether the symbol says so outright."""
    letters = "" if typed and symbol in WATER else _letters(symbol)
    if letters in _symbols() and not (letters == "T" and not typed):
        return letters if letters not in {"D", "T"} else "H", True
    if letters in SCATTERING:
        return SCATTERING[letters], True
    if letters in VACANCIES and (typed or "V" not in known):
        return (VACANCY, True) if typed or known else (None, False)
    two, one = letters[:2].title(), letters[:1].upper()
    if typed and len(letters) <= 2 and letters.title() in _symbols():
        return letters.title(), True
    candidates = [e for e in dict.fromkeys((two, one)) if e in _symbols() - {"D", "T"}]
    if known:
        fitting = [element for element in candidates if element in known]
        return (fitting[0], True) if len(fitting) == 1 else (None, False)
    return _by_letters(letters, candidates), False


def _by_letters(letters: str, candidates: Sequence[str]) -> str | None:
    """The element of a label in a file without formula, None if it may be another or a group of atoms."""
    upper = letters.upper()
    if (
        not candidates
        or upper.startswith("OH")
        or (upper in GROUPS and len(candidates) == 1)
        or upper in {"WAT", "HOH"}
    ):
        return None
    if len(letters) == 1:
        return candidates[0]
    if len(candidates[0]) == 2:
        same_case = letters.isupper() or letters.islower()
        ambiguous = len(candidates) == 2 and upper[0] in CHILDREN and upper[1] in PARENTS
        proper = letters[:2] == candidates[0]
        return candidates[0] if proper or (len(letters) == 2 and same_case and not ambiguous) else None
    return candidates[0] if len(letters) == 2 else None


def _letters(symbol: str) -> str:
    found = re.match(r"[A-Za-z]*", symbol)
    return found[0] if found else ""


@cache
def _symbols() -> frozenset[str]:
    from pymatgen.core import Element

    return frozenset(element.symbol for element in Element) | {"D", "T"}
