"""Formulas: what a compound is made of, where nobody says how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import gcd, lcm
from typing import Final, NamedTuple, TypeAlias

from tlzoo.data.sources.poscar import NUMBERS, element

FORMULA_NAMES: Final = (
    "formula",
    "composition",
    "reduced_formula",
    "pretty_formula",
    "formula_pretty",
    "chemical_formula",
)

# Amounts are in steps of a ten-thousandth of all atoms: finer than nearly all compositions are known.
MOST_ATOMS: Final = 10_000
# What is longer is a text.
LONGEST: Final = 200

# By atomic number.
Amounts: TypeAlias = dict[int, Fraction]

# Subscripts, brackets and dots of all kinds; what has no width goes.
_PLAIN: Final = str.maketrans(
    "₀₁₂₃₄₅₆₇₈₉[]{}•∙⋅‧・･", "0123456789()()······", "\u200b\u200c\u200d\u2060\ufeff\xad"
)
# "CuSO4.5H2O": 4.5 atoms of oxygen, or five molecules of water?
_STOP: Final = re.compile(r"(?<=[A-Za-z)\d])\.([1-9]\d*)(?=[A-Z(])")
_WATER: Final = re.compile(r"\(?(?:H2O|D2O|NH3)(?![a-z\d])")
_SYMBOL: Final = re.compile(r"[A-Z][a-z]?")
_TOKEN: Final = re.compile(r"([A-Z][a-z]?)|(\()|(\))|(\d+\.?\d*|\.\d+)")
# What may be meant by a character that is not read.
_HINTS: Final = {
    "abcdefghijklmnopqrstuvwxyzδ": "; elements are written as in NaCl, amounts as numbers",
    "+-−–⁺⁻": "; leave charges out, and write amounts as numbers",
    ".": "; between compounds write ·",
    ",": "; decimals have a point",
}


class Formula(NamedTuple):
    """A text that is to be read as a formula, not as a path or a structure."""

    text: str


class FormulaError(ValueError):
    """A text that is no formula, and why."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"{text.strip()[:60]!r} cannot be read as a formula: {why}")
        self.why = why


def is_formula(text: str) -> bool:
    """Whether a text is a formula of known elements.

    >>> [is_formula(text) for text in ("BaTiO3", "Bi0.5Sb1.5Te3", "CuSO4·5H2O", "a.cif", "mp", "Xx2", "")]
    [True, True, True, False, False, False, False]
    """
    try:
        read_formula(text)
    except FormulaError:
        return False
    return True


def like_formula(text: str) -> str:
    """Return why a text that looks like a formula is none; "" of other texts.

    >>> like_formula("Xx2O3"), like_formula("Crystals.cif"), like_formula("folder")
    ("'Xx' is no element", '', '')
    """
    if not re.fullmatch(r"(?=.*\d)(\d*[(\[]*[A-Z][\w.()\[\]+·*-]*)", text) or re.search(r"\.[A-Za-z]", text):
        return ""
    try:
        read_formula(text)
    except FormulaError as error:
        return error.why
    return ""


def read_formula(text: str) -> list[tuple[int, int]]:
    """Return atomic numbers, ascending, and the atoms of each in the smallest formula of whole numbers.

    Brackets of any kind, amounts with decimals, and parts joined by a dot on the line (``·`` or ``*``), each
    with a number before it, may be in it; spaces mean nothing. Amounts that take more than 10,000 atoms are
    rounded to so many, and none of them to nothing.

    >>> read_formula("Bi0.5Sb1.5Te3"), read_formula("Ca3(PO4)2"), read_formula("Fe0.999973C0.000027")
    ([(51, 3), (52, 6), (83, 1)], [(8, 8), (15, 2), (20, 3)], [(6, 1), (26, 10000)])

    Raises:
        FormulaError: It is none, or can be read in two ways; the message says where.
    """
    plain = re.sub(r"\s|_", "", text.translate(_PLAIN)).replace("*", "·")
    if not plain or len(plain) > LONGEST:
        raise FormulaError(text, f"wanted 1 to {LONGEST} characters, got {len(plain)}")
    amounts: Amounts = {}
    for part in plain.split("·"):
        times = re.match(r"\d+\.?\d*|\.\d+", part)
        compound = part[times.end() :] if times else part
        if not compound:
            raise FormulaError(text, "a compound is missing at its beginning, at its end or between two dots")
        _refuse_two_meanings(plain, compound, text)
        _add(amounts, _sum(_tokens(compound, text), text), Fraction(times[0]) if times else Fraction(1))
    found = sorted((number, amount) for number, amount in amounts.items() if amount)
    if not found:
        raise FormulaError(text, "there are no atoms in it")
    whole = lcm(*(amount.denominator for _, amount in found))
    counts = [int(amount * whole) for _, amount in found]
    if (atoms := sum(counts)) // gcd(*counts) > MOST_ATOMS:
        counts = [max(1, round(Fraction(count * MOST_ATOMS, atoms))) for count in counts]
    divisor = gcd(*counts)
    return [(number, count // divisor) for (number, _), count in zip(found, counts, strict=True)]


def _refuse_two_meanings(plain: str, compound: str, text: str) -> None:
    """Refuse a stop that may be a decimal point, or join two compounds: before water, or an element again.

    >>> _refuse_two_meanings("Al2O3.2SiO2", "Al2O3.2SiO2", "Al2O3.2SiO2")
    Traceback (most recent call last):
    ...
    tlzoo.data.sources.formula.FormulaError: 'Al2O3.2SiO2' cannot be read as a formula: ...
    """
    for stop in _STOP.finditer(compound):
        before, after = compound[: stop.start()], compound[stop.end() :]
        if re.search(r"(?<!\d)0$", before):  # 0.5 is a number
            continue
        shared = set(_SYMBOL.findall(before)) & set(_SYMBOL.findall(after))
        if _WATER.match(after) or (shared and len(set(_SYMBOL.findall(after))) > 1):
            joined = plain.replace(compound, f"{before}·{stop[1]}{after}", 1)
            number = re.search(r"\d*$", before)[0] + stop[0]  # type: ignore[index]
            raise FormulaError(
                text,
                f"{number} may be a number, or a stop between two compounds: write {joined} or, if it is a "
                "number, each element once",
            )


def _tokens(part: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind of each piece (``e``, ``(``, ``)``, ``n``), and the piece."""
    place = 0
    while place < len(part):
        match = _TOKEN.match(part, place)
        if match is None:
            hint = next((hint for some, hint in _HINTS.items() if part[place] in some), "")
            raise FormulaError(text, f"{part[place]!r} has no meaning there{hint}")
        kind = "e()n"[match.lastindex - 1]  # type: ignore[operator]
        if kind == "e" and not element(match[0]):
            raise FormulaError(text, f"{match[0]!r} is no element")
        yield kind, match[0]
        place = match.end()


def _sum(tokens: Iterable[tuple[str, str]], text: str) -> Amounts:
    """Return the amounts of a part without dots."""
    open_: list[Amounts] = [{}]
    last: Amounts = {}  # what a number would be of
    for kind, piece in tokens:
        if kind == "(":
            open_.append({})
            last = {}
        elif kind == "n":
            if not last:
                raise FormulaError(text, f"{piece} is of nothing")
            _add(open_[-1], last, Fraction(piece) - 1)
            last = {}
        else:
            if kind == ")" and len(open_) == 1:
                raise FormulaError(text, "its brackets do not close")
            last = {NUMBERS[piece]: Fraction(1)} if kind == "e" else open_.pop()
            _add(open_[-1], last, Fraction(1))
    if len(open_) > 1:
        raise FormulaError(text, "its brackets do not close")
    return open_[0]


def _add(total: Amounts, more: Amounts, times: Fraction) -> None:
    """Add amounts, so many times."""
    for number, amount in more.items():
        total[number] = total.get(number, Fraction(0)) + times * amount
