"""POSCAR and CONTCAR files of VASP, as its documentation describes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, dropwhile, groupby, takewhile

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS
from tlzoo.periodicity import SMALLEST, fractional

# numbers as Fortran writes them, and those that it wrote without a space between them
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?")
GLUED = re.compile(r"(?<=[\d.])(?=-)")
# more atoms than that are no count, however long the file is
COUNT = re.compile(r"\d{1,9}")
# an element, perhaps numbered or charged: Fe, Fe1, Fe3+
LABEL = re.compile(r"([A-Z][a-z]?)\d*[+-]?")
# the name of a POTCAR after it, perhaps with its hash: Fe_pv, Ga_d_GW, Yb_2, Si/79d9987ad87; V_O is a vacancy
POTCAR = re.compile(r"(_([dfhs]|[a-z]{2}\w*|\d\w*|GW|AE|ZORA))*(/.*)?")
FLAG = re.compile(r"\.?(T|F|TRUE|FALSE)\.?", re.IGNORECASE)
NUMBERS = {name: z for z, name in enumerate(SYMBOLS) if z} | {"D": 1, "T": 1}

NO_ELEMENTS = (
    "it does not name its elements (VASP 4 format): add a line of element symbols above the line of counts"
)


class PoscarError(ValueError):
    """A text that cannot be read as a POSCAR for certain; the message says why."""


def element(label: str) -> str:
    """Return the element that a label is of, D and T of hydrogen included; empty if it is of none.

    >>> [element(label) for label in ("Fe", "Fe1", "O2-", "D", "Va", "X", "V_O", "H.5")]
    ['Fe', 'Fe', 'O', 'D', '', '', '', '']
    """
    match = LABEL.fullmatch(label.strip())
    return match[1] if match and match[1] in NUMBERS else ""


def is_poscar(text: str) -> bool:
    """Whether the second to fifth line are a scale and three vectors, which they are in no other format."""
    head = [_tokens(line) for line in text.split("\n", 5)[1:5]]
    return (
        len(head) == 4
        and bool(head[0])
        and bool(NUMBER.fullmatch(head[0][0]))
        and all(len(_numbers(row)) >= 3 for row in head[1:])
    )


def read_poscar(text: str) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return lattice (Å), atomic numbers and fractional coordinates of the text of a POSCAR.

    What follows the positions (velocities, the predictor-corrector) is not read.

    Raises:
        PoscarError: It is not complete, does not name its elements, or contradicts itself.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) < 8:
        raise PoscarError(f"it has {len(lines)} lines; is it complete?")
    lattice = np.array([_three(lines, at) for at in (2, 3, 4)])
    scale = _scale(lines[1], lattice)
    lattice = lattice * scale
    if abs(np.linalg.det(lattice)) < SMALLEST:
        raise PoscarError("its three vectors are not independent")
    symbols, counts, at = _species(lines)
    selective = _word(lines, at)[0] in "sS"
    at += selective
    cartesian = _word(lines, at)[0] in "cCkK"
    first, atoms = at + 1, sum(counts)
    # before anything is built of so many atoms
    if atoms > len(lines) - first:
        held = sum(bool(line.strip()) for line in lines[first:])
        raise PoscarError(f"its counts give {atoms} atoms, it holds {held} lines of them; is it complete?")
    coords = np.array([_three(lines, row) for row in range(first, first + atoms)]).reshape(-1, 3)
    after = _tokens(lines[first + atoms]) if first + atoms < len(lines) else []
    if after and NUMBER.fullmatch(after[0]):
        raise PoscarError(
            f"its counts give {atoms} atoms, but line {first + atoms + 1} has coordinates too; correct the "
            "counts, or leave an empty line before what follows the atoms"
        )
    if _is_another(lines[first + atoms :]):
        raise PoscarError("it holds several structures; one a file is wanted")
    said = [_trailing(lines[row], selective=selective) for row in range(first, first + atoms)]
    names = _names(symbols, counts, said, first, lines[0])
    if cartesian:
        coords = fractional(lattice, coords * scale)
    return lattice, np.array([NUMBERS[name] for name in names], dtype=np.int64), coords


def _scale(line: str, lattice: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the Cartesian components are multiplied by, ``(3,)``."""
    found = np.array(_numbers(_tokens(line)))
    if len(found) == 1 and found[0] < 0:
        # of a flat cell nothing is made
        return np.full(3, (-found[0] / (abs(np.linalg.det(lattice)) or np.inf)) ** (1 / 3))
    if len(found) not in (1, 3) or not (found > 0).all():
        raise PoscarError(
            f"line 2 holds {line.strip()[:60]!r}; wanted a scale, minus the volume of the cell in Å³, or "
            "three positive scales of the components x, y and z"
        )
    return np.broadcast_to(found, 3)


def _species(lines: Sequence[str]) -> tuple[list[str] | None, list[int], int]:
    """Return symbols (None: a file of VASP 4), counts, and the index of the line after them."""
    if _is_counts(_tokens(lines[5])):
        return None, _counts(lines[5:6], 6), 6
    # VASP breaks these lines at 20 species, and the counts as often
    height = next((n for n in range(1, len(lines) - 5) if re.match(r"\s*[-+\d]", lines[5 + n])), 0)
    if not height:
        raise PoscarError("it has no line of counts below the line of element symbols; is it complete?")
    names = list(chain.from_iterable(_tokens(line) for line in lines[5 : 5 + height]))
    counts = _counts(lines[5 + height : 5 + 2 * height], 6 + height)
    if len(names) != len(counts):
        plural = "s" if len(counts) > 1 else ""
        raise PoscarError(
            f"it names {len(names)} species ({', '.join(names[:9])}) and has {len(counts)} count{plural} "
            f"({', '.join(map(str, counts[:9]))}); give each species its count"
        )
    return [_element(name) for name in names], counts, 5 + 2 * height


def _is_another(lines: Sequence[str]) -> bool:
    """Whether lines begin a second structure: a whole one, or the next step of an XDATCAR."""
    rest = list(dropwhile(lambda line: not line.strip(), lines))
    if rest and "configuration" in rest[0].lower():
        return True
    try:
        return len(rest) > 7 and is_poscar("\n".join(rest[:6])) and _species(rest)[0] is not None
    except PoscarError:
        return False


def _counts(lines: Sequence[str], number: int) -> list[int]:
    tokens = list(chain.from_iterable(map(_tokens, lines)))
    if not _is_counts(tokens):
        raise PoscarError(
            f"line {number} holds {' '.join(tokens)[:60]!r}; wanted how many atoms of each species"
        )
    return [int(token) for token in tokens]


def _is_counts(tokens: Sequence[str]) -> bool:
    return bool(tokens) and all(COUNT.fullmatch(token) for token in tokens)


def _element(name: str) -> str:
    label = LABEL.match(name)
    symbol = element(label[0]) if label and POTCAR.fullmatch(name, label.end()) else ""
    if not symbol:
        raise PoscarError(f"{name!r} is no element; wanted symbols such as 'Na Cl' above the counts")
    return symbol


def _names(
    symbols: Sequence[str] | None, counts: Sequence[int], said: Sequence[str], first: int, comment: str
) -> list[str]:
    """Return the element of each atom, from the line of symbols and what stands behind the coordinates."""
    if symbols is None:
        if "" in said or "T" in said:
            hint = comment.split()
            guess = len(hint) == len(counts) and all(name in NUMBERS for name in hint)
            raise PoscarError(NO_ELEMENTS + (f", perhaps {' '.join(hint)!r}, its comment" if guess else ""))
        start = 0
        for count in counts:
            if len(kinds := [name for name, _ in groupby(said[start : start + count])]) > 1:
                text = f"one count is of atoms with different symbols ({', '.join(kinds[:9])})"
                raise PoscarError(f"{text}; add a line of element symbols above the line of counts")
            start += count
        return list(said)
    names = [name for name, count in zip(symbols, counts, strict=True) for _ in range(count)]
    for row, (name, other) in enumerate(zip(names, said, strict=True)):
        if other and NUMBERS[other] != NUMBERS[name]:
            raise PoscarError(
                f"atom {row + 1} is {name} by the line of symbols and {other} by line {first + row + 1}; "
                "correct one of them"
            )
    return names


def _trailing(line: str, *, selective: bool) -> str:
    """Return the element behind the coordinates; empty if there is none.

    Three flags are flags, with or without 'Selective dynamics': not tritium, and not fluorine.
    """
    tokens = _tokens(line)[3:]
    flags = len(list(takewhile(FLAG.fullmatch, tokens[:3])))
    if selective or flags == 3:
        tokens = tokens[flags:]
    return element(tokens[0]) if tokens else ""


def _word(lines: Sequence[str], at: int) -> str:
    line = lines[at].strip() if at < len(lines) else ""
    if not line[:1].isalpha():
        raise PoscarError(f"line {at + 1} holds {line[:60]!r}; wanted 'Direct' or 'Cartesian'")
    return line


def _three(lines: Sequence[str], at: int) -> list[float]:
    tokens = _tokens(lines[at])
    if len(_numbers(tokens)) < 3:
        tokens = GLUED.sub(" ", " ".join(tokens)).split()
    found = _numbers(tokens)
    if len(found) < 3 or (at < 5 and len(found) > 3):
        raise PoscarError(f"line {at + 1} holds {lines[at].strip()[:60]!r}; wanted three numbers")
    return found[:3]


def _numbers(tokens: Sequence[str]) -> list[float]:
    """Return the numbers that tokens begin with."""
    found = []
    for token in tokens:
        if not NUMBER.fullmatch(token):
            break
        found.append(float(token.upper().replace("D", "E")))
    return found


def _tokens(line: str) -> list[str]:
    return re.split("[#!]", line, maxsplit=1)[0].split()
