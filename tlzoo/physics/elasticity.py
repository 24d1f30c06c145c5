"""Descriptors of the elasticity of a crystal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

VERSION: Final = 1

UNITS: Final = {"elastic.k_voigt": "GPa"}


def describe(known: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the descriptors, in the order of ``UNITS``, from what ``strain_response`` returns."""
    return np.array([known["stiffness"][:3, :3].mean()])
