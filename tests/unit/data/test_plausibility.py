"""What no solid is, and what hardly is: distances, densities, and nothing said of real crystals."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.data.plausibility import TOO_NEAR, _nearest, _radii, findings
from tlzoo.graphs.graph_chunk import cells_of
from tlzoo.testing.small_crystals import triclinic
from tlzoo.zoo.reference import reference_crystals

BOHR = 0.529177  # Å


def found(*structures: Structure) -> list[tuple[str, str, str]]:
    table = Crystals.from_structures(structures)
    return [(one.severity, one.kind, one.text) for one in findings(table)]


def gallium_nitride(copies: int, apart: float) -> Structure:
    """Wurtzite, each atom several times along c, so many Å apart."""
    sites = [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.377]]
    one = Structure.from_spacegroup("P6_3mc", Lattice.hexagonal(3.19, 5.18), ["Ga", "N"], sites)
    shifts = [[0, 0, apart * i] for i in range(copies)]
    places = [(site.specie, site.coords + shift) for site in one for shift in shifts]
    species, coords = zip(*places, strict=True)
    return Structure(one.lattice, species, coords, coords_are_cartesian=True)


def salt(a: float, kind: tuple[str, str] = ("Na", "Cl")) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), kind, [[0, 0, 0], [0.5] * 3])


def elemental(symbol: str, lattice: Lattice) -> Structure:
    return Structure(lattice, [symbol], [[0, 0, 0]])


def fcc(symbol: str, a: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [symbol], [[0, 0, 0]])


def test_atoms_given_three_times_are_an_error():
    # 2 · 1.22 Å are the radii; (69.72 + 14.01) · 6 u in 45.65 Å³ are 18.3 g/cm³
    (one,) = found(gallium_nitride(3, 0.14))
    assert one[:2] == ("error", "distance")
    assert one[2] == (
        "atoms 1 (Ga) and 2 (Ga) of 12 are 0.14 Å apart, 0.06 of the sum of their radii, 2.44 Å; 18.3 g/cm³, "
        "3.8 Å³ per atom: no solid has atoms so near; correct the structure or leave this crystal out"
    )
    assert found(gallium_nitride(1, 0)) == []


def test_half_a_bond_is_a_warning():
    (one,) = found(salt(2.95))
    assert one[:2] == ("warning", "distance")
    assert "1.48 Å apart, 0.55 of the sum of their radii, 2.68 Å; 15.1 g/cm³, 3.21 Å³ per atom" in one[2]


def test_lengths_in_bohr_are_a_warning():
    (one,) = found(salt(5.64 / BOHR))
    assert one[:2] == ("warning", "distance")
    assert "are 5.33 Å apart, 1.99 of the sum of their radii, 2.68 Å, and no others are nearer" in one[2]
    assert one[2].endswith("is it written in Å?")
    # two of the eight atoms of rock salt: no farther than twice the radius of the larger
    (one,) = found(Structure(Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert "are 5.64 Å apart, 1.70 of the sum of their radii, 3.32 Å" in one[2]


@pytest.mark.parametrize(
    ("structure", "severity", "text"),
    [
        # 190.23 u in 13.99 Å³, and in half of that and less
        (fcc("Os", 3.825 * 0.97), "warning", "24.7 g/cm³, 12.8 Å³ per atom: hardly any crystal is so dense"),
        (fcc("Os", 3.825 * 0.75), "error", "53.5 g/cm³, 5.9 Å³ per atom: no solid is so dense"),
        (elemental("H", Lattice.cubic(0.98)), "error", "1.78 g/cm³, 0.941 Å³ per atom: no solid is so dense"),
    ],
)
def test_density(structure, severity, text):
    (one,) = found(structure)
    assert one[:2] == (severity, "density")
    assert one[2].startswith(text)


def test_an_atom_and_its_own_image():
    (one,) = found(elemental("Fe", Lattice.orthorhombic(1.4, 4, 4)))
    assert one[2].startswith("atoms 1 (Fe) and 1 (Fe) of 1 are 1.40 Å apart, 0.49 of the sum of their radii")


LAYER = [[0, 0, 0.5], [1 / 3, 2 / 3, 0.539], [1 / 3, 2 / 3, 0.461]]
HYDRIDE = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
REAL = {
    "MoS2 in 37 Å of vacuum": Structure(Lattice.hexagonal(3.18, 40), ["Mo", "S", "S"], LAYER),
    "H2, 0.74 Å": Structure(Lattice.cubic(5.3), ["H", "H"], [[0.43, 0.5, 0.5], [0.57, 0.5, 0.5]]),
    "FeH3 under pressure": Structure(Lattice.cubic(2.6), ["Fe", "H", "H", "H"], HYDRIDE),
    "O2, 1.2 Å": Structure(Lattice.cubic(4), ["O", "O"], [[0.35, 0.5, 0.5], [0.65, 0.5, 0.5]]),
    "uranyl, 1.77 Å": Structure(
        Lattice.hexagonal(4, 5.2), ["U", "O", "O"], [[0, 0, 0], [0, 0, 0.34], [0, 0, 0.66]]
    ),
    "Xe": fcc("Xe", 6.13),
    "Os": fcc("Os", 3.825),
}


@pytest.mark.parametrize("name", REAL)
def test_real_crystals_are_not_remarked(name):
    assert found(REAL[name]) == []


def test_reference_crystals_are_not_remarked():
    assert list(findings(reference_crystals())) == []


def test_what_makes_no_sense_is_left_to_others():
    table = Crystals.from_structures([salt(5.64)] * 4 + [salt(5.64)])
    table.lattice[0] = np.nan
    table.lattice[1, 2] = table.lattice[1, 1]
    table.frac_coords[table.offsets[2]] = np.inf
    table.numbers[table.offsets[3]] = 0
    assert list(findings(table)) == []
    twice = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.01]])
    assert found(twice) == []
    assert found(elemental("Xe", Lattice.cubic(30)), elemental("Na", Lattice.cubic(30))) == []


def test_the_nearest_atoms_are_those_of_a_loop():
    crystals = named.load("semiconductors").select(np.arange(0, 200, 9))
    table = Crystals.concatenated([Crystals.from_structures([triclinic()]), replace(crystals, columns={})])
    cells = cells_of(table, 0, len(table))
    radii = _radii()[table.numbers]
    nearest = _nearest(cells, radii, np.full(len(table), 6.0))
    images = np.array(list(product((-2, -1, 0, 1, 2), repeat=3)))
    for row in range(len(table)):
        atoms = slice(table.offsets[row], table.offsets[row + 1])
        frac = table.frac_coords[atoms] % 1
        vectors = (frac[:, None, None] - frac[None, :, None] + images) @ table.lattice[row]
        length = np.linalg.norm(vectors, axis=-1)
        length[length < 1e-9] = np.inf
        sums = radii[atoms][:, None] + radii[atoms][None, :]
        assert nearest.part[row] == pytest.approx((length.min(axis=-1) / sums).min(), rel=1e-6)


def test_no_bond_pays_for_what_is_too_near():
    """Screened nuclei (Ziegler, Biersack & Littmark 1985) repel more than CO, of 11.2 eV, is bound."""
    z, radii = np.arange(1, 97), _radii()[1:97]
    length = TOO_NEAR * (radii[:, None] + radii)
    place = length * (z[:, None] ** 0.23 + z**0.23) / 0.4685
    terms = ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162))
    screening = sum(factor * np.exp(-decay * place) for factor, decay in terms)
    assert (14.39964 * z[:, None] * z / length * screening).min() > 11.2


SETS = ("aflow_agl", "dielectric", "e_form_paper", "expt_gap", "jarvis_2d", "ju2021_sps_kappa", "kappa103",
        "log_gvrh", "phonondb_p3", "phonons", "piezoelectric")  # fmt: skip
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in ("mp", "mp_pool")]


@pytest.mark.parametrize("name", [*SETS, *LARGE])
def test_nothing_is_refused_that_is_real(name, data_dir):
    path = data_dir / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    crystals = Crystals.read_parquet(path)
    strange = list(findings(crystals))
    assert [one for one in strange if one.severity == "error"] == []
    # a warning is rare: 227 + 20 of the pool's 155,345 are the most
    assert len(strange) <= 0.002 * len(crystals)
