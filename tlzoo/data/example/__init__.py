"""The embedded example: a small real data set, built from structure types and lattice parameters."""

from tlzoo.crystals import Crystals

__all__ = ["semiconductors"]


def semiconductors() -> Crystals:
    """Return the embedded data set, in primitive cells.

    Columns: ``band_gap`` (eV, 300 K), ``structure_type``, and ``handbook``, where the gap stands.
    """
    from tlzoo.data.example import build

    return Crystals.read_parquet(build.BUILT) if build.BUILT.is_file() else build.build()
