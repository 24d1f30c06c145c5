"""Elastic constants against energies, and against what symmetry and pair potentials demand."""

import numpy as np
import pytest

from tlzoo.descriptors.physics_options import ELASTIC
from tlzoo.physics.elasticity import describe, hill, relaxation
from tlzoo.physics.frames import GPA, Copy, responses
from tlzoo.physics.primitive import Cell, primitive
from tlzoo.physics.strains import needed, operations, strain_response

pytestmark = pytest.mark.filterwarnings("ignore")


def cubic(stiffness):
    return stiffness[0, 0], stiffness[0, 1], stiffness[3, 3]


def test_cubic_crystals_have_three_constants(run, pairs, salt):
    assert len(needed(operations(primitive(salt))[0])) == 2
    stiffness = run(strain_response, salt, pairs)["stiffness"]
    first, second, third = cubic(stiffness)
    expected = np.zeros((6, 6))
    expected[:3, :3] = second
    np.fill_diagonal(expected, [first] * 3 + [third] * 3)
    np.testing.assert_allclose(stiffness, expected, atol=1e-6 * first)


def test_the_bulk_modulus_is_that_of_energy_and_volume(run, pairs, copper):
    known = run(strain_response, copper, pairs)
    k_vrh = describe(known)[list(ELASTIC).index("elastic.k_vrh")]
    scales = np.linspace(0.97, 1.03, 13)
    copies = [
        Copy.of(Cell(copper.lattice * scale, copper.frac_coords, copper.numbers), pairs.graph.cutoff)
        for scale in scales
    ]
    energies = [response.energy for response in responses(copies, pairs)]
    curve = np.polynomial.Polynomial.fit(copper.volume * scales**3, energies, 6)
    assert k_vrh == pytest.approx(copper.volume * curve.deriv(2)(copper.volume) * GPA, rel=2e-3)


def test_central_forces_obey_cauchy(run, pairs, copper):
    """Without pressure c12 = c44 where all atoms are centres of symmetry and forces are central."""
    scales = np.linspace(0.9, 1.1, 400)
    copies = [
        Copy.of(Cell(copper.lattice * s, copper.frac_coords, copper.numbers), pairs.graph.cutoff)
        for s in scales
    ]
    best = scales[np.argmin([response.energy for response in responses(copies, pairs)])]
    known = run(strain_response, Cell(copper.lattice * best, copper.frac_coords, copper.numbers), pairs)
    first, second, third = cubic(known["stiffness"])
    assert abs(np.trace(known["stress"])) / 3 < 0.01 * first
    assert second == pytest.approx(third, abs=0.01 * first)


def test_ions_that_follow_soften_as_a_relaxed_cell_does(run, pairs, rutile):
    """The energy of a strained cell whose ions are moved to their places has the released constants."""
    known = run(strain_response, rutile, pairs)
    cell = Cell(known["lattice"], known["frac_coords"], known["numbers"])
    released = known["stiffness"] - relaxation(known)
    copy = Copy.of(cell, pairs.graph.cutoff)
    axis = int(np.argmax(np.diag(known["stiffness"] - released)[:3]))
    step = 0.002
    stress = []
    for sign in (1, -1):
        strain = np.zeros((3, 3))
        strain[axis, axis] = sign * step
        moved = np.zeros((6, 3))
        # the forces of the unstrained cell stay: it is not at equilibrium either
        (still,) = responses([copy], pairs)
        for _ in range(60):
            from dataclasses import replace

            (here,) = responses([replace(copy.strained(strain), displacement=moved)], pairs)
            moved = moved + 0.02 * (here.forces - still.forces)
        stress.append(here.stress[axis, axis])
    slope = (stress[0] - stress[1]) / (2 * step)
    assert slope < 0.99 * known["stiffness"][axis, axis]
    assert slope == pytest.approx(released[axis, axis], rel=0.03)


def test_averages_of_an_isotropic_and_of_a_cubic_tensor():
    isotropic = np.diag([30.0] * 3 + [30.0] * 3)
    isotropic[:3, :3] += 80
    k, g, *_ = hill(isotropic)
    # λ = 80 and 2μ = 30 give K = λ + 2μ/3; the shear constants of such a tensor are μ
    np.fill_diagonal(isotropic[3:, 3:], 15)
    k, g, k_voigt, k_reuss, g_voigt, g_reuss = hill(isotropic)
    assert (k, k_voigt, k_reuss) == pytest.approx((90, 90, 90))
    assert (g, g_voigt, g_reuss) == pytest.approx((15, 15, 15))
    # copper, as measured: 168, 121, 75 GPa
    copper = np.diag([168.0 - 121] * 3 + [75.0] * 3)
    copper[:3, :3] += 121
    _, _, k_voigt, _, g_voigt, g_reuss = hill(copper)
    assert k_voigt == pytest.approx((168 + 2 * 121) / 3)
    assert g_voigt == pytest.approx((168 - 121 + 3 * 75) / 5)
    assert g_reuss == pytest.approx(5 * 47 * 75 / (4 * 75 + 3 * 47))


def test_an_unstable_crystal_has_finite_descriptors(run, pairs, copper):
    """Stretched until it is about to fall apart."""
    wide = Cell(copper.lattice * 1.25, copper.frac_coords, copper.numbers)
    found = dict(zip(ELASTIC, describe(run(strain_response, wide, pairs)), strict=True))
    assert found["elastic.softest"] < 0
    assert np.isfinite(list(found.values())).all()
