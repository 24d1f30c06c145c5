"""The settings of the 230 space groups, found by what files call them."""

from __future__ import annotations

import re
import unicodedata
import warnings
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SETTINGS = range(1, 541)  # numbers of Hall symbols, as spglib counts
# Not in International Tables, but among minerals: triclinic groups in centred cells, such as C -1 of albite.
CENTRINGS: dict[str, list[tuple[float, float, float]]] = {
    "A": [(0, 0.5, 0.5)],
    "B": [(0.5, 0, 0.5)],
    "C": [(0.5, 0.5, 0)],
    "I": [(0.5, 0.5, 0.5)],
    "F": [(0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)],
}
CENTRED = dict(enumerate(((base, letter) for base in (1, 2) for letter in CENTRINGS), 531))

# Before 1992 the double glide plane e was written as one of its directions: here by the order of the axes,
# for A b m 2 and A b a 2, and for C m c a, C m m a, C c c a (International Tables A, 1983, table 4.3.1).
GLIDES = {
    **{n: {"": "b", "ba-c": "a", "cab": "c", "-cba": "b", "bca": "a", "a-cb": "c"} for n in (39, 41)},
    **{n: {"": "a", "ba-c": "b", "cab": "b", "-cba": "c", "bca": "c", "a-cb": "a"} for n in (64, 67, 68)},
}
# How other programs mark a setting at the end of a name: ICSD with a letter for origin 1 (site of high
# symmetry), origin 2 (centre of inversion), hexagonal or rhombohedral axes; all others with a colon.
ICSD = {"S": "1", "Z": "2", "H": "H", "R": "R"}


class Operations(NamedTuple):
    """Operations on fractional coordinates.

    Attributes:
        rotations: ``(operations, 3, 3)`` float64.
        translations: ``(operations, 3)`` float64.
    """

    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]


def named(name: str) -> set[int]:
    """Return the settings that a Hermann-Mauguin name may mean, of whatever age and spelling.

    >>> named("F m 3 m") == named("F 4/m -3 2/m") == named("fm-3m") == {523}
    True
    >>> named("P 1 21/n 1"), named("F d -3 m :2"), named("F d -3 m Z"), sorted(named("Fd-3m"))
    ({82}, {526}, {526}, [525, 526])
    """
    text, _, choice = re.sub(r"\(\s*(no\.?\s*)?\d{2,3}\s*\)\s*$", "", name.strip(), flags=re.I).partition(":")
    found = _by_name().get(_key(text), set())
    if not found and text[-1:] in ICSD:
        found, choice = _by_name().get(_key(text[:-1]), set()), choice or ICSD[text[-1]]
    choice = choice.strip()
    return {h for h in found if not choice or _has_choice(str(_types()[h].choice), choice)}


def of_hall_symbol(symbol: str) -> set[int]:
    """Return the setting of a Hall symbol, or nothing.

    >>> of_hall_symbol("-f 4vw 2vw 3")
    {526}
    """
    wanted = _hall(symbol)
    return {h for h in SETTINGS if _hall(str(_types()[h].hall_symbol)) == wanted}


def of_number(number: int) -> set[int]:
    """Return the settings of a group in the International Tables, by its number there."""
    return {h for h in SETTINGS if _types()[h].number == number and h not in CENTRED}


def number(setting: int) -> int:
    """Return the number of the group in the International Tables."""
    return int(_types()[setting].number)


def label(setting: int) -> str:
    """Return an unambiguous name.

    >>> label(526), label(82), label(459)
    ('F d -3 m :2', 'P 1 21/n 1', 'R -3 m :R')
    """
    kind = _types()[setting]
    name = _names(kind)[0].replace("_", "")
    mark = str(kind.choice)[:1]
    return f"{name} :{mark}" if mark in {"1", "2", "H", "R"} else name


def axis(setting: int) -> str:
    """Return the unique axis of a monoclinic setting, ``"a"``, ``"b"`` or ``"c"``; else nothing."""
    kind = _types()[setting]
    return str(kind.choice).lstrip("-")[:1] if 3 <= kind.number <= 15 else ""


@cache
def operations(setting: int) -> Operations:
    """Return the operations of a setting, those of the centring included."""
    base, letter = CENTRED.get(setting, (setting, ""))
    found = _spglib("get_symmetry_from_database", base)
    if letter:
        shifts = np.array([(0.0, 0.0, 0.0), *CENTRINGS[letter]])
        return Operations(
            np.tile(found["rotations"].astype(np.float64), (len(shifts), 1, 1)),
            (shifts[:, None] + found["translations"]).reshape(-1, 3),
        )
    return Operations(found["rotations"].astype(np.float64), found["translations"].astype(np.float64))


@cache
def _types() -> dict[int, Any]:
    types = {h: _spglib("get_spacegroup_type", h) for h in SETTINGS if h not in CENTRED}
    for setting, (base, letter) in CENTRED.items():
        name = types[base].international.replace("P", letter)
        hall = types[base].hall_symbol.replace("P", letter)
        types[setting] = SimpleNamespace(
            number=base, international=name, international_full=name, hall_symbol=hall, choice=""
        )
    return types


def _spglib(function: str, setting: int) -> Any:  # noqa: ANN401 (its types changed with 2.7)
    import spglib

    with warnings.catch_warnings():
        # 2.7 announces another way to report errors, of which there are none here
        warnings.simplefilter("ignore", DeprecationWarning)
        return getattr(spglib, function)(setting)


@cache
def _by_name() -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for setting, kind in _types().items():
        for name in _names(kind):
            found.setdefault(_key(name), set()).add(setting)
    return found


def _names(kind: Any) -> list[str]:  # noqa: ANN401 (as above)
    full, names = str(kind.international_full), str(kind.international).split(" = ")
    if 3 <= kind.number <= 15:
        # The first name is that of the standard setting, in all settings; a 1 is an axis without an element.
        return [full, *names[1:], re.sub(r" 1\b", "", full)]
    names.append(full)
    if kind.number >= 195:
        names += [name.replace("-3", "3") for name in names]  # until 1935 and in many programs
    if kind.number in GLIDES:
        order = str(kind.choice).lstrip("12")
        old = [name.replace("e", GLIDES[kind.number][order]) for name in names]
        # Of two orders of axes with one new name it means the first.
        twice = kind.number in {67, 68} and order in {"ba-c", "-cba", "a-cb"}
        names = old if twice else names + old
    return names


def _has_choice(choice: str, wanted: str) -> bool:
    return choice.lower() == wanted.lower() or (wanted in {"1", "2"} and choice.startswith(wanted))


def _key(name: str) -> str:
    """A name without what programs write differently: case, spaces, brackets, the bar of an inversion."""
    text = unicodedata.normalize("NFKD", name.strip())
    # a macron or overline stands after its digit, or before it where somebody mistook the order
    text = re.sub("(\\d)[\u0304\u0305]|[\u0304\u0305](\\d)", r"-\1\2", text)
    text = re.sub("[\u2010-\u2015\u2212]", "-", text)
    return re.sub(r"[\s_()'\"]", "", text).lower()


def _hall(symbol: str) -> str:
    text = symbol.replace("''", '"').replace("_", " ").strip("'").lower()
    return " ".join(text.split())
