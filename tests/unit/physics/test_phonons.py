"""Frequencies against what physics says of them."""

import numpy as np
import pytest

from tlzoo.descriptors.physics_options import PHONONS
from tlzoo.physics.force_constants import force_constants, phonopy_of
from tlzoo.physics.frames import Copy, responses
from tlzoo.physics.phonons import PER_CM, density_of_states, describe, heat_capacity, last_peak, phase_space
from tlzoo.physics.potentials import potential
from tlzoo.physics.primitive import Cell, primitive, symmetry
from tlzoo.physics.supercell import supercell

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def phonons(run, pairs):
    """Descriptors by name."""

    def phonons(cell, potential=pairs):
        return dict(zip(PHONONS, describe(run(force_constants, cell, potential)), strict=True))

    return phonons


def same(one, other, tolerance=1e-4):
    for name in one:
        assert one[name] == pytest.approx(other[name], rel=tolerance, abs=0.02), name


def test_acoustic_modes_vanish_at_the_zone_centre(run, pairs, rutile):
    known = run(force_constants, rutile, pairs)
    phonons = phonopy_of(primitive(rutile), known["supercell"])
    phonons.force_constants = known["force_constants"].astype(float)
    phonons.run_qpoints([[0, 0, 0]])
    centre = np.sort(np.abs(phonons.qpoints.frequencies[0])) * PER_CM
    assert centre[2] < 0.1
    assert centre[3] > 10


def test_force_constants_are_those_of_the_whole_supercell(run, pairs, rutile):
    """Moving every atom in every direction, without any symmetry, says the same."""
    known = run(force_constants, rutile, pairs)
    large = phonopy_of(primitive(rutile), known["supercell"]).supercell
    copy = Copy.of(
        Cell(large.cell, large.scaled_positions, large.numbers.astype(np.uint8)), pairs.graph.cutoff
    )
    first = phonopy_of(primitive(rutile), known["supercell"]).primitive.p2s_map[2]
    for axis in range(3):
        shift = 0.03 * np.eye(3)[axis]
        up, down = responses([copy.displaced(first, shift), copy.displaced(first, -shift)], pairs)
        full = -(up.forces - down.forces) / 0.06
        np.testing.assert_allclose(known["force_constants"][2, :, axis], full, atol=2e-3 * np.abs(full).max())


def test_frequencies_do_not_depend_on_the_description(phonons, rutile):
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(6)
    turned = Cell(rutile.lattice @ turn, (rutile.frac_coords[order] + 0.13) % 1, rutile.numbers[order])
    doubled = Cell(
        np.diag([1, 1, 2]) @ rutile.lattice,
        np.concatenate([(rutile.frac_coords + np.array([0, 0, shift])) / [1, 1, 2] for shift in (0, 1)]),
        np.tile(rutile.numbers, 2),
    )
    before = phonons(rutile)
    same(before, phonons(turned))
    same(before, phonons(doubled))


def test_they_scale_with_the_masses(phonons, copper):
    """Of one element: as 1/√m. The potential knows no elements."""
    silver = Cell(copper.lattice, copper.frac_coords, np.array([47], np.uint8))
    ratio = phonons(copper)["phonons.highest"] / phonons(silver)["phonons.highest"]
    assert ratio == pytest.approx((107.8682 / 63.546) ** 0.5, rel=1e-5)


def test_the_supercell_is_wide_and_symmetric(copper, rutile):
    for cell in (primitive(copper), primitive(rutile)):
        rotations, _ = symmetry(cell)
        matrix = supercell(cell, rotations, 6.0, 100)
        wide = matrix @ cell.lattice
        steps = np.array(np.meshgrid(*[range(-2, 3)] * 3)).reshape(3, -1).T
        lengths = np.linalg.norm(steps @ wide, axis=1)
        assert lengths[lengths > 0].min() >= 5.99
        for rotation in rotations:
            image = matrix @ rotation.T @ np.linalg.inv(matrix)
            np.testing.assert_allclose(image, np.rint(image), atol=1e-9)
    # the conventional cell, twice as large, is the smallest that has 6 Å
    assert (
        round(abs(np.linalg.det(supercell(primitive(copper), symmetry(primitive(copper))[0], 3.55, 9)))) == 4
    )


def test_costly_crystals_get_a_smaller_supercell(monkeypatch, run, pairs, rutile):
    exact = run(force_constants, rutile, pairs)
    assert exact["edge"] >= 5.99
    monkeypatch.setattr("tlzoo.physics.force_constants.BOUND", 10)
    cheap = run(force_constants, rutile, pairs)
    assert cheap["edge"] == pytest.approx(2.95)
    assert cheap["single"]
    # at the zone centre both are exact
    highest = list(PHONONS).index("phonons.highest_gamma")
    assert describe(cheap)[highest] == pytest.approx(describe(exact)[highest], rel=0.01)


def test_the_density_of_states_and_what_is_made_of_it():
    modes, share = np.array([0.0, 100.0, 100.0, 400.0]), np.full(4, 0.25)
    density = density_of_states(modes, share)
    assert density.sum() == pytest.approx(1, abs=1e-6)
    assert last_peak(density) == 400
    # Dulong and Petit
    assert heat_capacity(np.array([1e-3]), np.ones(1)) == pytest.approx(3 * 8.314463, rel=1e-5)
    # k = 0.695 1/cm per K: at hν = kT the function of Einstein is 0.9207
    assert heat_capacity(np.array([300 / 1.438776877]), np.ones(1)) == pytest.approx(
        24.943 * 0.9207, rel=1e-3
    )
    # twice the frequencies, half the room: its unit is an inverse frequency
    wide = density_of_states(np.linspace(0, 400, 4000), np.full(4000, 1 / 4000))
    wider = density_of_states(np.linspace(0, 800, 4000), np.full(4000, 1 / 4000))
    assert phase_space(wide) / phase_space(wider) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize(
    ("name", "a", "numbers", "measured", "share"),
    [
        ("chgnet", 3.567, [6, 6], 1332, 0.75),
        ("chgnet", 4.36, [14, 6], 796, 0.56),
    ],
)
def test_potentials_are_too_soft(phonons, zincblende, name, a, numbers, measured, share):
    """At the zone centre, of what is measured: the known errors of the potential, diamond and SiC."""
    found = phonons(zincblende(a, numbers), potential(name))
    assert found["phonons.highest_gamma"] / measured == pytest.approx(share, abs=0.05)
