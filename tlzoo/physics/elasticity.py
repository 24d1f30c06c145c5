"""Descriptors of the elasticity of a crystal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.descriptors.element_properties import elements
from tlzoo.physics.frames import GPA
from tlzoo.physics.residuals import residuals

Values = NDArray[np.float64]

VERSION: Final = 2  # of these descriptors; what they are made of has its own

# Force constants, in eV/Å², below which a mode counts as if it had this: a potential has soft modes that are
# not there, and what ions yield to strain along them is without bound.
SOFTEST: Final = 1.0
# Elastic constants, in GPa, below which a strain counts as if it had this: moduli of a crystal that is not
# stable, or of layers that hardly hold together, have a logarithm even so.
LEAST: Final = 1.0

DENSITY: Final = 1.66053906892  # g/cm³ of 1 u/Å³
# h/k (3/4π)^(1/3) of 1 km/s and an atom in 1 Å³, in K
DEBYE: Final = 297.72


def describe(known: Mapping[str, Any]) -> Values:
    """Return the descriptors, in the order of their units, from what ``strain_response`` returns.

    Averages of Voigt, Reuss and Hill (Proc. Phys. Soc. A 65, 349, 1952) with ions that follow the strain;
    ``clamped``: with ions that do not, Hill's. ``softest``: lowest eigenvalue of the elastic tensor, negative
    if the crystal is not stable. ``pugh``: k/g. ``log10_anisotropy``: log10(1 + Aᵁ), Ranganathan &
    Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008). ``sound``: mean velocity, ``debye``: temperature
    from it (Anderson, J. Phys. Chem. Solids 24, 909, 1963). ``single``: 1 if displacements had one sign.
    """
    clamped = (known["stiffness"] + known["stiffness"].T) / 2
    released = clamped - relaxation(known)
    k_clamped, g_clamped = hill(clamped)[:2]
    k, g, k_voigt, k_reuss, g_voigt, g_reuss = hill(released)
    sound, debye = velocity(known, k, g)
    anisotropy = 5 * g_voigt / g_reuss + k_voigt / k_reuss - 6
    logarithms = np.log10([k, g, k_clamped, g_clamped, 1 + max(anisotropy, 0.0)])
    values = [
        *logarithms[:4],
        *(k, g, k_voigt, k_reuss, g_voigt, g_reuss),
        np.linalg.eigvalsh(mandel(released))[0],
        k / g,
        (3 * k - 2 * g) / (6 * k + 2 * g),
        logarithms[4],
        sound,
        debye,
        float(known["single"]),
    ]
    return np.array([*values, *residuals(known)])


def relaxation(known: Mapping[str, Any]) -> Values:
    r"""Return by how much ions that follow a strain soften a crystal, ``(6, 6)``, GPa.

    .. math::
        \Delta C = \Lambda^T \Phi^{-1} \Lambda / V

    with the change of the forces by strain :math:`\Lambda` and the force constants at the zone centre
    :math:`\Phi`, without translations (Born & Huang, 1954).
    """
    atoms = len(known["numbers"])
    matrix = known["force_constants"].astype(np.float64).transpose(0, 2, 1, 3).reshape(3 * atoms, 3 * atoms)
    stiffness, modes = np.linalg.eigh((matrix + matrix.T) / 2)
    # of each mode the part that is no translation
    shared = np.tile(np.eye(3), (atoms, 1)) / atoms**0.5
    modes = modes[:, np.square(shared.T @ modes).sum(axis=0) < 0.5]
    stiffness = np.einsum("im,ij,jm->m", modes, (matrix + matrix.T) / 2, modes)
    along = modes.T @ known["pull"].reshape(3 * atoms, 6)
    volume = abs(np.linalg.det(known["lattice"]))
    softer: Values = along.T @ (along / np.maximum(stiffness, SOFTEST)[:, None]) / volume * GPA
    return softer


def mandel(stiffness: Values) -> Values:
    """Return elastic constants in Voigt's notation in Mandel's, whose eigenvalues mean something."""
    factor = np.array([1, 1, 1, 2**0.5, 2**0.5, 2**0.5])
    changed: Values = stiffness * factor[:, None] * factor
    return changed


def hill(stiffness: Values) -> tuple[float, float, float, float, float, float]:
    """Return k and g of Hill, k of Voigt and of Reuss, g of Voigt and of Reuss, all in GPa.

    Args:
        stiffness: Elastic constants in Voigt's notation, ``(6, 6)``, GPa; softer ones than 1 GPa count as 1.
    """
    values, axes = np.linalg.eigh(mandel(stiffness))
    values = np.maximum(values, LEAST)
    k_voigt, g_voigt = _averages((axes * values) @ axes.T)
    k_inverse, g_inverse = _averages((axes / values) @ axes.T)
    # of the inverse of an isotropic tensor these are 1/9k and 1/4g
    k_reuss, g_reuss = 1 / (9 * k_inverse), 1 / (4 * g_inverse)
    return (k_voigt + k_reuss) / 2, (g_voigt + g_reuss) / 2, k_voigt, k_reuss, g_voigt, g_reuss


def _averages(tensor: Values) -> tuple[float, float]:
    """Return bulk and shear part of the isotropic average of a tensor in Mandel's notation."""
    bulk = tensor[:3, :3].sum() / 9
    return float(bulk), float((np.trace(tensor) - 3 * bulk) / 10)


def velocity(known: Mapping[str, Any], k: float, g: float) -> tuple[float, float]:
    """Return the mean velocity of sound, km/s, and the Debye temperature, K, from moduli in GPa."""
    masses = elements().column("atomic_weight")[known["numbers"]]
    volume = abs(np.linalg.det(known["lattice"]))
    density = float(masses.sum()) * DENSITY / volume
    # GPa / (g/cm³) = (km/s)²
    along, across = ((k + 4 / 3 * g) / density) ** 0.5, (g / density) ** 0.5
    sound = ((1 / along**3 + 2 / across**3) / 3) ** (-1 / 3)
    return sound, DEBYE * sound * (len(masses) / volume) ** (1 / 3)
