"""Which physics of crystals is computed with which potential, and the names and units of what describes it.

The numbers themselves: :mod:`tlzoo.physics.phonons`, :mod:`tlzoo.physics.elasticity`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from tlzoo.errors import UserError, no_such

RESIDUALS: Final[Mapping[str, str]] = {
    "energy": "eV/atom",
    "residual_force": "eV/Å",
    "residual_pressure": "GPa",
    "residual_shear": "GPa",
}

PHONONS: Final[Mapping[str, str]] = {
    "phonons.highest": "1/cm",
    "phonons.last_peak": "1/cm",
    "phonons.highest_gamma": "1/cm",
    "phonons.lowest_optical": "1/cm",
    "phonons.lowest": "1/cm",
    "phonons.acoustic_cutoff": "1/cm",
    "phonons.optical_floor": "1/cm",
    "phonons.mean": "1/cm",
    "phonons.root_mean_square": "1/cm",
    "phonons.deviation": "1/cm",
    "phonons.imaginary": "1",
    "phonons.heat_capacity": "J/(K mol)",
    "phonons.log10_phase_space": "log10(ps/rad)",
    "phonons.edge": "Å",
    "phonons.single": "1",
} | {f"phonons.{name}": unit for name, unit in RESIDUALS.items()}

ELASTIC: Final[Mapping[str, str]] = {
    "elastic.log10_k_vrh": "log10(GPa)",
    "elastic.log10_g_vrh": "log10(GPa)",
    "elastic.log10_k_clamped": "log10(GPa)",
    "elastic.log10_g_clamped": "log10(GPa)",
    "elastic.k_vrh": "GPa",
    "elastic.g_vrh": "GPa",
    "elastic.k_voigt": "GPa",
    "elastic.k_reuss": "GPa",
    "elastic.g_voigt": "GPa",
    "elastic.g_reuss": "GPa",
    "elastic.softest": "GPa",
    "elastic.pugh": "1",
    "elastic.poisson": "1",
    "elastic.log10_anisotropy": "1",
    "elastic.sound": "km/s",
    "elastic.debye": "K",
    "elastic.single": "1",
} | {f"elastic.{name}": unit for name, unit in RESIDUALS.items()}

UNITS: Final = {"phonons": PHONONS, "elastic": ELASTIC}


@dataclass(frozen=True)
class PhysicsOptions:
    """What is computed of crystals.

    Attributes:
        kind: ``phonons`` or ``elastic``.
        potential: Name of the potential.
        cache_dir: Where results are kept; empty is ``$TLZOO_CACHE``, else the user's cache folder.

    Raises:
        UserError: There is no such kind.
    """

    kind: str
    potential: str
    cache_dir: str = ""

    def __post_init__(self) -> None:
        if self.kind not in UNITS:
            raise UserError(no_such("kind of physics", self.kind, UNITS))

    @classmethod
    def named(cls, name: str, cache_dir: str = "") -> Self:
        """Return those of a name as ``phonons:sevennet-0``."""
        kind, _, potential = name.partition(":")
        return cls(kind, potential, cache_dir)

    @property
    def units(self) -> Mapping[str, str]:
        """Units of the descriptors by name, in their order; ``1`` is none."""
        return UNITS[self.kind]


def is_physics(name: str) -> bool:
    """Whether a name is one of physics: a kind, a colon, a potential."""
    return name.partition(":")[0] in UNITS and ":" in name
