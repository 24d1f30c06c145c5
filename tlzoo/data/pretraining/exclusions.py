"""The crystals that are kept out of pre-training, because a test set has the same one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import pandas as pd

from tlzoo.crystals import Crystals

LIST: Final = Path(__file__).with_name("excluded.csv")
NO_GRAPH: Final = "no_graph"
# Data sets of which all crystals are kept out, whatever becomes of them.
WHOLE: Final = ("semiconductors",)


def keeps_out(data_set: str) -> bool:
    """Whether no crystal of a data set, not only of its test set, is one that a network learns from."""
    return data_set in WHOLE


def signature(crystals: Crystals) -> str:
    """Return what tells one version of a data set from another: a hash of ids and formulas."""
    rows = zip(crystals.ids, crystals.formulas, strict=True)
    lines = "\n".join(f"{name} {formula}" for name, formula in rows)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def read() -> pd.DataFrame:
    """Read the list; the columns are those of :func:`find`."""
    return pd.read_csv(LIST, comment="#", dtype=str, keep_default_na=False)


def signatures() -> dict[str, str]:
    """Return the signature of each source that the list was made of."""
    with LIST.open(encoding="utf-8") as file:
        told = [line.split() for line in file if line.startswith("# ")][1:]
    return {name: told_signature for _, name, _, told_signature in told}
