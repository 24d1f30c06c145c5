"""Forces and stresses against energies, and against what the packages say."""

import numpy as np
import pytest

from tlzoo.physics.force_constants import force_constants
from tlzoo.physics.frames import GPA, Copy, responses, together
from tlzoo.physics.potentials import potential
from tlzoo.physics.primitive import Cell, primitive

# the packages' imports warn of each other
pytestmark = pytest.mark.filterwarnings("ignore")

rng = np.random.default_rng(3)


def said(potential, *copies):
    return list(responses(copies, potential))


def test_forces_and_stress_are_slopes_of_the_energy(pairs, rutile):
    copy, step = Copy.of(rutile, pairs.graph.cutoff), 1e-4
    (here,) = said(pairs, copy)
    moves = [(atom, axis) for atom in (0, 3) for axis in range(3)]
    for atom, axis in moves:
        shift = step * np.eye(3)[axis]
        up, down = said(pairs, copy.displaced(atom, shift), copy.displaced(atom, -shift))
        assert here.forces[atom, axis] == pytest.approx(-(up.energy - down.energy) / (2 * step), abs=1e-6)
    for i, j in ((0, 0), (2, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        up, down = said(pairs, copy.strained(strain), copy.strained(-strain))
        slope = (up.energy - down.energy) / (2 * step) / rutile.volume * GPA
        assert here.stress[i, j] == pytest.approx(slope, abs=1e-4)


def test_copies_share_neighbours_that_come_near_and_leave(pairs, rutile):
    """A changed copy is the changed crystal, of which neighbours are searched anew."""
    strain = np.diag([0.004, -0.004, 0.003])
    copy = Copy.of(rutile, pairs.graph.cutoff).displaced(2, np.array([0.02, -0.01, 0.03])).strained(strain)
    coords = rutile.frac_coords.copy()
    coords[2] += np.array([0.02, -0.01, 0.03]) @ np.linalg.inv(rutile.lattice)
    anew = Copy.of(Cell(rutile.lattice @ (np.eye(3) + strain), coords, rutile.numbers), pairs.graph.cutoff)
    changed, searched = said(pairs, copy, anew)
    assert changed.energy == pytest.approx(searched.energy, abs=1e-9)
    np.testing.assert_allclose(changed.forces, searched.forces, atol=1e-9)
    np.testing.assert_allclose(changed.stress, searched.stress, atol=1e-8)


def test_a_batch_says_what_each_says_alone(pairs, rutile, salt, copper):
    copies = [Copy.of(primitive(cell), pairs.graph.cutoff) for cell in (rutile, salt, copper)]
    for one, together_ in zip(copies, said(pairs, *copies), strict=True):
        (alone,) = said(pairs, one)
        np.testing.assert_allclose(alone.forces, together_.forces, atol=1e-12)
        assert alone.energy == pytest.approx(together_.energy, abs=1e-12)


def test_who_fails_is_named_and_the_others_go_on(pairs, copper):
    far = Cell(np.eye(3) * 20, np.zeros((1, 3)), np.array([18], np.uint8))
    good, bad = together([force_constants(cell, pairs.graph.cutoff) for cell in (copper, far)], pairs)
    assert not isinstance(good, str)
    assert "atom 1 (Ar) of 1: no neighbour within 5.1 Å" in bad


@pytest.mark.parametrize("name", ["chgnet", "sevennet-0"])
def test_the_packages_say_the_same(name, rutile):
    from ase import Atoms

    if name == "chgnet":
        dynamics = pytest.importorskip("chgnet.model.dynamics")
        calculator = dynamics.CHGNetCalculator(use_device="cpu", check_cuda_mem=False)
    else:
        calculator = pytest.importorskip("sevenn.calculator").SevenNetCalculator("7net-0", device="cpu")
    shift, strain = np.array([0.03, -0.02, 0.01]), np.diag([0.003, -0.002, 0.004])
    network = potential(name)
    (ours,) = said(network, Copy.of(rutile, network.graph.cutoff).displaced(3, shift).strained(strain))
    positions = rutile.frac_coords @ rutile.lattice
    positions[3] += shift
    change = np.eye(3) + strain
    atoms = Atoms(rutile.numbers, positions @ change, cell=rutile.lattice @ change, pbc=True)
    atoms.calc = calculator
    assert ours.energy == pytest.approx(atoms.get_potential_energy(), abs=6e-5)
    np.testing.assert_allclose(ours.forces, atoms.get_forces(), atol=1e-4)
    np.testing.assert_allclose(ours.stress, atoms.get_stress(voigt=False) * GPA, atol=1e-2)
