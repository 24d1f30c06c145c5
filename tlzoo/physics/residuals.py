"""What a potential says of a crystal as it is: how far that is from its own equilibrium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def residuals(known: Mapping[str, Any]) -> list[float]:
    """Return energy per atom, largest force, pressure (positive if too dense), Frobenius norm of the rest."""
    stress = known["stress"]
    pressure = -np.trace(stress) / 3
    return [
        float(known["energy"]) / len(known["numbers"]),
        float(np.linalg.norm(known["forces"], axis=1).max()),
        float(pressure),
        float(np.linalg.norm(stress + pressure * np.eye(3))),
    ]
