"""Known values of known structures, a slow loop from the equations, and continuity."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.descriptors import structure as module
from tlzoo.descriptors.element_properties import elements
from tlzoo.descriptors.structure import CUTOFF, GRID, SPAN, STEP, names, structure
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.graphs.neighbours import all_within
from tlzoo.zoo.reference import reference_crystals


def described(crystals):
    cells, pairs, problems = all_within(cells_of(crystals, 0, len(crystals)), SPAN, CUTOFF)
    assert not problems
    return [dict(zip(names(), row, strict=True)) for row in structure(cells, pairs)]


@pytest.fixture(scope="module")
def reference():
    crystals = reference_crystals()
    return dict(zip(crystals.ids, described(crystals), strict=True))


# Steinhardt et al. (1983), table I, for cubic packings; handbooks for densities
KNOWN = [
    ("C diamond", "mean_effective_coordination", 4, 1e-4),
    ("C diamond", "mean_angle_deviation", 0, 1e-3),
    ("C diamond", "mean_order_4", 0.509, 1e-3),
    ("C diamond", "mean_order_6", 0.629, 1e-3),
    ("C diamond", "mean_bond_length", 3.567 * 3**0.5 / 4, 1e-3),
    ("C diamond", "density", 3.515, 5e-3),
    ("Cu fcc", "mean_order_4", 0.191, 1e-3),
    ("Cu fcc", "mean_order_6", 0.575, 2e-3),
    ("Cu fcc", "mean_effective_coordination", 12, 0.05),
    ("Cu fcc", "volume_per_atom", 3.615**3 / 4, 1e-6),
    ("Mg hcp", "mean_order_6", 0.485, 5e-3),
    ("NaCl rock salt", "mean_order_4", 0.764, 3e-3),
    ("NaCl rock salt", "mean_order_6", 0.354, 3e-3),
    ("NaCl rock salt", "mean_unlike_neighbours", 1, 3e-3),
    ("NaCl rock salt", "mean_electronegativity_step", 3.16 - 0.93, 0.01),
    ("Fe bcc", "mean_nearest_distance", 2.866 * 3**0.5 / 2, 1e-6),
    ("Fe bcc", "std_bond_length", 0, 1e-6),
    ("Fe bcc", "density", 7.87, 0.02),
    ("TiO2 rutile", "max_effective_coordination", 6, 0.1),
]


@pytest.mark.parametrize(("crystal", "name", "value", "tolerance"), KNOWN)
def test_known_structures(reference, crystal, name, value, tolerance):
    assert reference[crystal][name] == pytest.approx(value, abs=tolerance)


def test_coordination_tells_the_cation_from_the_anion(reference):
    rutile = reference["TiO2 rutile"]
    assert rutile["max_effective_coordination"] > 5.9
    assert rutile["min_effective_coordination"] == pytest.approx(3, abs=0.1)
    assert rutile["mean_effective_coordination"] == pytest.approx((6 + 3 + 3) / 3, abs=0.1)


def triclinic():
    lattice = Lattice.from_parameters(4.1, 5.3, 6.2, 81, 97, 104)
    sites = [[0.1, 0.2, 0.3], [0.6, 0.1, 0.8], [0.4, 0.7, 0.55], [0.9, 0.6, 0.1]]
    return Structure(lattice, ["Mg", "Si", "O", "O"], sites)


def test_against_a_slow_loop():
    """The equations of the module, atom by atom and pair by pair, with pymatgen's neighbours."""
    crystal = triclinic()
    found = described(Crystals.from_structures([crystal]))[0]
    scale = (crystal.volume / len(crystal)) ** (1 / 3)
    radius, negativity = (elements().column(n) for n in ("covalent_radius_pyykko", "en_pauling"))
    table = {name: [] for name in module.LOCAL}
    radial = np.zeros(len(GRID))
    for centre in crystal:
        near = crystal.get_neighbors(centre, SPAN * scale)
        d = np.array([n.nn_distance for n in near])
        z, others = centre.specie.Z, np.array([n.specie.Z for n in near])
        first = np.exp(1 - (d / d.min()) ** 6)
        w = np.exp(1 - (d / (first @ d / first.sum())) ** 6)
        touching = (radius[z] + radius[others]) / 100
        units = np.array([(n.coords - centre.coords) / n.nn_distance for n in near])
        cosines = units @ units.T
        pairs = np.outer(w, w)
        different = pairs * ~np.eye(len(w), dtype=bool)
        mean = w @ d / w.sum()
        table["effective_coordination"].append(w.sum())
        table["coordination"].append((1 / (1 + np.exp(-16 * (4 * touching / 3 / d - 1)))).sum())
        table["nearest_distance"].append(d.min())
        table["bond_length"].append(mean)
        table["bond_spread"].append(np.sqrt(w @ (d - mean) ** 2 / w.sum()) / mean)
        table["relative_bond_length"].append(w @ (d / touching) / w.sum())
        table["unlike_neighbours"].append(w[others != z].sum() / w.sum())
        table["electronegativity_step"].append(w @ abs(negativity[z] - negativity[others]) / w.sum())
        deviation = (different * (cosines + 1 / 3) ** 2).sum()
        table["angle_deviation"].append(deviation / (different.sum() + module.LONE * pairs.sum()))
        for order in (4, 6):
            legendre = np.polynomial.Legendre.basis(order)(cosines)
            table[f"order_{order}"].append(np.sqrt((pairs * legendre).sum()) / w.sum())
        for i, s in enumerate(GRID):
            radial[i] += np.clip(1 - abs(d / scale - s) / STEP, 0, None).sum()
    for name, values in table.items():
        wanted = [np.mean(values), np.std(values), min(values), max(values)]
        got = [found[f"{statistic}_{name}"] for statistic in module.STATISTICS]
        assert got == pytest.approx(wanted, rel=2e-5, abs=2e-5), name
    for i, s in enumerate(GRID):
        shell, _ = np.polynomial.legendre.leggauss(40)
        r = s + STEP * shell
        volume = np.trapezoid(4 * np.pi * r**2 * (1 - abs(shell)), r)
        assert found[f"rdf_{s:.1f}"] == pytest.approx(radial[i] / len(crystal) / volume, rel=0.01, abs=1e-9)


@pytest.mark.parametrize(
    ("crystal", "neighbours"),
    # shells up to 1.8 cube roots of the volume per atom: 4 + 12 + 12, 12 + 6, 8 + 6 + 12
    [("C diamond", 28), ("Cu fcc", 18), ("Fe bcc", 26)],
)
def test_the_radial_distribution_counts_neighbours(reference, crystal, neighbours):
    shells = [4 * np.pi * (STEP * s**2 + STEP**3 / 6) for s in GRID]
    counted = sum(reference[crystal][f"rdf_{s:.1f}"] * shell for s, shell in zip(GRID, shells, strict=True))
    assert counted == pytest.approx(neighbours)


def test_nothing_jumps():
    """A crystal that is strained little by little: no step is much larger than its neighbours."""
    crystal = triclinic()
    steps = []
    for i in range(60):
        strained = crystal.copy()
        strained.apply_strain([0.0, 0.0, 0.002 * i])
        steps.append(list(described(Crystals.from_structures([strained]))[0].values()))
    values = np.array(steps)
    change = abs(np.diff(values, axis=0)) / (values.std(axis=0) + 1e-4)
    # a sixtieth of the way, and a bend where one atom takes the place of another as the nearest
    assert change.max() < 0.5


def test_an_open_crystal_is_searched_as_far_as_its_atoms_need():
    """Molecules far apart: each atom has one neighbour."""
    pairs = Structure(Lattice.cubic(14), ["N", "N"], [[0, 0, 0], [0, 0, 1.1 / 14]])
    found = described(Crystals.from_structures([pairs]))[0]
    assert found["mean_effective_coordination"] == pytest.approx(1)
    assert found["mean_nearest_distance"] == pytest.approx(1.1)
    assert found["mean_angle_deviation"] == pytest.approx(0, abs=1e-6)


def test_beyond_the_span_an_atom_is_searched_up_to_the_cutoff():
    """Four layers of iron, and an atom of xenon that floats 6.25 Å above and below them."""
    slab = [
        [2.5 * x / 7.5, 2.5 * y / 7.5, 2.5 * z / 20] for x in range(3) for y in range(3) for z in range(4)
    ]
    lattice = Lattice.orthorhombic(7.5, 7.5, 20)
    crystal = Structure(lattice, ["Fe"] * 36 + ["Xe"], [*slab, [1.25 / 7.5, 1.25 / 7.5, 13.75 / 20]])
    alone = np.hypot(6.25, 1.25 * 2**0.5)
    assert SPAN * (crystal.volume / 37) ** (1 / 3) < alone < CUTOFF
    found = described(Crystals.from_structures([crystal]))[0]
    assert found["max_nearest_distance"] == pytest.approx(alone)
    assert found["min_nearest_distance"] == pytest.approx(2.5)
