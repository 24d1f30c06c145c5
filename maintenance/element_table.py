"""From published tables of the elements to ``elements.csv``: only facts, an unknown value stays empty.

``tlzoo/descriptors/properties.csv`` says for each of the 58 properties where it comes from: tlzoo's own table
(``tlzoo.nn``), mendeleev, pymatgen, or the table of Magpie that matminer carries (Ward et al., npj Comput.
Mater. 2, 16028, 2016). The properties are those of Ju et al., Phys. Rev. Materials 5, 053801 (2021).
After a change of it, with matminer and mendeleev installed: ``python -m maintenance.element_table``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS
from tlzoo.descriptors.element_properties import PROPERTIES, TABLE, read
from tlzoo.machine.files import write_text
from tlzoo.nn.elements import properties as own

LAST: Final = 103
# at 295 K; their density would be ten thousand times that of any other element
GASES: Final = ("H", "He", "N", "O", "F", "Ne", "Cl", "Ar", "Kr", "Xe", "Rn")
# where Magpie repeats the value of the element before, it has none: by the start of the key, where to look
REPEATED: Final = {"GS": "GSenergy_pa", "ICSDVolume": "ICSDVolume"}
# columns of the periodic table that have no number
F_BLOCK: Final = {"6": "lanthanides", "7": "actinides"}

Values = NDArray[np.float64]


def build() -> None:
    """Write the table."""
    columns: dict[str, Values] = {}
    sources = {"tlzoo": _own, "mendeleev": _mendeleev, "pymatgen": _pymatgen, "magpie": _magpie}
    for row in read(PROPERTIES):
        if row["source"] != "derived":
            columns[row["name"]] = sources[row["source"]](row["key"])
    gas = np.isin(SYMBOLS[1 : LAST + 1], GASES)
    columns["density"][gas] = (columns["atomic_weight"] / columns["molar_volume"])[gas]
    columns["atomic_volume"] = columns["atomic_weight"] / columns["density"]
    write_text(TABLE, _text({row["name"]: columns[row["name"]] for row in read(PROPERTIES)}))


def _text(columns: Mapping[str, Values]) -> str:
    lines = [["symbol", "column", *columns]]
    for z in range(LAST):
        values = [float(column[z]) for column in columns.values()]
        row = own()[z + 1]
        column = row["group"] if row["group"] != "0" else F_BLOCK[row["period"]]
        texts = ("" if np.isnan(value) else f"{value:.6g}" for value in values)
        lines.append([SYMBOLS[z + 1], column, *texts])
    return "".join(",".join(line) + "\n" for line in lines)


def _own(key: str) -> Values:
    rows = own()
    return np.array([float(rows[z][key] or nan) if key != "number" else z for z in range(1, LAST + 1)])


def _mendeleev(key: str) -> Values:
    from mendeleev.fetch import fetch_table

    return np.array(fetch_table("elements")[key], dtype=np.float64)[:LAST]


def _pymatgen(key: str) -> Values:
    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for each unknown value
        values = [getattr(Element.from_Z(z), key) for z in range(1, LAST + 1)]
    return np.array([nan if value is None else float(value) for value in values])


def _magpie(key: str) -> Values:
    values = _magpie_table(key)
    for start, decisive in REPEATED.items():
        if key.startswith(start):
            values[1:][np.diff(_magpie_table(decisive)) == 0] = nan
    return values


def _magpie_table(key: str) -> Values:
    import matminer

    folder = Path(matminer.__file__).parent / "utils" / "data_files" / "magpie_elementdata"
    lines = (folder / f"{key}.table").read_text(encoding="utf-8").splitlines()[:LAST]
    return np.array([_number(line) for line in lines] + [nan] * (LAST - len(lines)))


def _number(text: str) -> float:
    """Return the number that a line begins with; NaN where it says that there is none."""
    try:
        return float(text.split(maxsplit=1)[0])
    except (ValueError, IndexError):
        return nan


if __name__ == "__main__":
    build()
