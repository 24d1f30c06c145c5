"""The embedded example: a small real data set, built from structure types and lattice parameters.

The space groups take seconds to expand, so that the result is kept beside the table. After a change of the
table: ``python -m maintenance.example``.
"""

from pathlib import Path
from typing import Final

from tlzoo.crystals import Crystals

TABLE: Final = Path(__file__).with_name("semiconductors.csv")
BUILT: Final = TABLE.with_suffix(".parquet")


def semiconductors() -> Crystals:
    """Return the embedded data set, in primitive cells.

    Columns: ``band_gap`` (eV, 300 K), ``structure_type``, and ``handbook``, where the gap stands.
    """
    return Crystals.read_parquet(BUILT)
