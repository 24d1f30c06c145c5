"""Descriptors of the lattice dynamics of a crystal: harmonic frequencies, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.physics.force_constants import phonopy_of
from tlzoo.physics.primitive import Cell
from tlzoo.physics.residuals import residuals

Values = NDArray[np.float64]

VERSION: Final = 2  # of these descriptors; force constants have their own

PER_CM: Final = 33.35640951981521  # 1/cm of 1 THz
RADIANS: Final = 2 * np.pi / PER_CM  # rad/ps of 1 1/cm

# Of the mesh of wave vectors: Å; as many along each direction as this has of the cell.
MESH: Final = 30.0
SMEARING: Final = 5.0  # standard deviation of a mode in the density of states, 1/cm
STEP: Final = 1.0  # of the density of states, 1/cm
PEAK: Final = 0.005  # of the highest peak of the density of states; what is lower is a shoulder
IMAGINARY: Final = -10.0  # 1/cm: what is less negative is rounding and interpolation
ROOM: Final = 300.0  # K
HC_OVER_K: Final = 1.438776877  # K of 1 1/cm
GAS_CONSTANT: Final = 8.31446261815324  # J/(K mol)


def describe(known: Mapping[str, Any]) -> Values:
    """Return the descriptors, in the order of their units, from what ``force_constants`` returns.

    Without long-range electric fields: longitudinal optical modes at the zone centre are as transverse ones.

    ``highest``, ``lowest``: of the mesh, imaginary frequencies as negative numbers. ``last_peak``: the
    highest peak in frequency of the density of states. ``highest_gamma``, ``lowest_optical``: at the zone
    centre, 0 with one atom. ``acoustic_cutoff``: highest of the three lowest branches; ``optical_floor``:
    lowest of the others, as ``acoustic_cutoff`` with one atom. ``mean``, ``root_mean_square``,
    ``deviation``: of all modes, imaginary ones as 0. ``imaginary``: share of modes. ``heat_capacity``: per
    mole of atoms at 300 K. ``log10_phase_space``: see :func:`phase_space`. ``edge``: shortest vector of the
    supercell; ``single``: 1 if displacements had one sign, which is less accurate.
    """
    phonons = phonopy_of(Cell(known["lattice"], known["frac_coords"], known["numbers"]), known["supercell"])
    phonons.force_constants = known["force_constants"].astype(np.float64)
    phonons.run_mesh(MESH)
    mesh: Any = phonons.mesh
    frequencies, weights = mesh.frequencies * PER_CM, mesh.weights
    phonons.run_qpoints([[0, 0, 0]])
    assert phonons.qpoints is not None
    centre = phonons.qpoints.frequencies[0] * PER_CM
    optical = np.sort(centre[np.argsort(np.abs(centre))[3:]])
    modes, share = frequencies.reshape(-1), np.repeat(weights / weights.sum(), frequencies.shape[1])
    share = share / frequencies.shape[1]
    real = np.maximum(modes, 0)
    mean, square = share @ real, share @ real**2
    acoustic = float(frequencies[:, :3].max())
    density = density_of_states(real, share)
    # commensurate with the supercell, the zone centre is exact; the mesh may miss it
    highest = max(float(modes.max()), float(centre.max()))
    values = [
        highest,
        last_peak(density),
        optical[-1] if len(optical) else 0.0,
        optical[0] if len(optical) else 0.0,
        min(float(modes.min()), float(centre.min())),
        acoustic,
        float(frequencies[:, 3:].min()) if len(optical) else acoustic,
        mean,
        square**0.5,
        max(square - mean**2, 0.0) ** 0.5,
        float(share[modes < IMAGINARY].sum()),
        heat_capacity(real, share),
        float(np.log10(max(phase_space(density), 1e-9))),
        float(known["edge"]),
        float(known["single"]),
    ]
    return np.array([*values, *residuals(known)])


def density_of_states(modes: Values, share: Values) -> Values:
    """Return modes per 1/cm, ``(frequencies,)``, at 0, 1, 2 … 1/cm; the integral is the sum of shares.

    Args:
        modes: Frequencies, 1/cm.
        share: Of each mode.
    """
    grid = np.arange(0, modes.max() + 6 * SMEARING, STEP)
    histogram = np.bincount(np.rint(modes / STEP).astype(np.int64), share, len(grid))
    reach = np.arange(-6 * SMEARING, 6 * SMEARING + STEP, STEP)
    kernel = np.exp(-((reach / SMEARING) ** 2) / 2)
    density: Values = np.convolve(histogram, kernel / kernel.sum() / STEP)
    # what reaches below 0 is reflected
    half = len(reach) // 2
    folded = density[half : half + len(grid)].copy()
    folded[1 : half + 1] += density[:half][::-1][: len(folded) - 1]
    return folded


def last_peak(density: Values) -> float:
    """Return the highest frequency at which a density of states has a peak, in 1/cm."""
    inner = density[1:-1]
    high = (inner >= density[:-2]) & (inner > density[2:]) & (inner > PEAK * density.max())
    places = np.flatnonzero(high) + 1
    return float((places[-1] if len(places) else density.argmax()) * STEP)


def heat_capacity(modes: Values, share: Values) -> float:
    """Return the harmonic heat capacity at 300 K per mole of atoms, in J/(K mol)."""
    x = np.maximum(modes * HC_OVER_K / ROOM, 1e-6)
    return float(3 * GAS_CONSTANT * (share @ ((x / 2 / np.sinh(x / 2)) ** 2)))


def phase_space(density: Values) -> float:
    r"""Return how much room three-phonon scattering has, in ps/rad, counting energy and not momentum.

    .. math::
        P_3 = \int\!\!\int g(\omega)\, g(\omega')\, g(\omega + \omega')\, d\omega\, d\omega'

    with a density of states g whose integral is 1. With momentum it is that of Lindsay & Broido, J. Phys.:
    Condens. Matter 20, 165209 (2008), 2/3 (P⁺ + P⁻/2), where both parts are then the same integral.
    """
    sums = np.convolve(density, density)[: len(density)]
    return float(sums @ density * STEP**2 / RADIANS)
