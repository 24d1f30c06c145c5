"""Descriptors of the lattice dynamics of a crystal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.physics.force_constants import phonopy_of
from tlzoo.physics.primitive import Cell

VERSION: Final = 1

PER_CM: Final = 33.35640951981521  # 1/cm of 1 THz

UNITS: Final = {"phonons.highest": "1/cm"}


def describe(known: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the descriptors, in the order of ``UNITS``, from what ``force_constants`` returns."""
    phonons = phonopy_of(Cell(known["lattice"], known["frac_coords"], known["numbers"]), known["supercell"])
    phonons.force_constants = known["force_constants"].astype(np.float64)
    phonons.run_mesh(20.0)
    return np.array([phonons.mesh.frequencies.max() * PER_CM])
