"""POSCAR as VASP documents it: sizes by hand, and what cannot be read for certain is refused."""

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Structure
from pymatgen.io.vasp import Poscar

from tlzoo.data import named
from tlzoo.data.sources import read, read_all
from tlzoo.data.sources.poscar import PoscarError, read_poscar
from tlzoo.errors import UserError

CUBE = "1 0 0\n0 1 0\n0 0 1"
# rock salt: the four of one kind, then the four of the other
SITES = [
    "0 0 0",
    "0 0.5 0.5",
    "0.5 0 0.5",
    "0.5 0.5 0",
    "0.5 0.5 0.5",
    "0.5 0 0",
    "0 0.5 0",
    "0 0 0.5",
]


def poscar(
    *, comment="NaCl", scale="5.64", cell=CUBE, species="Na Cl\n4 4", mode="Direct", sites=SITES, end=""
):
    return "\n".join([comment, scale, cell, species, mode, *sites, end])


def shortest(text):
    """The shortest distance, images included, Å."""
    lattice, numbers, frac_coords = read_poscar(text)
    structure = Structure(lattice, numbers, frac_coords)
    return min(near.nn_distance for near in structure.get_neighbors(structure[0], 4))


def refused(text):
    with pytest.raises(PoscarError) as caught:
        read_poscar(text)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["Direct", "Cartesian", "cart", "K", "Fractional"])
@pytest.mark.parametrize(
    "scale", ["5.64", "-179.406144", "5.64 5.64 5.64", "0.564D1", "5.64 ! Å", "-179.406144 # Å^3"]
)
def test_rock_salt_however_it_is_scaled(scale, mode):
    """Half an edge apart: in a cube of edge 1, Cartesian and fractional coordinates are the same numbers."""
    text = poscar(scale=scale, mode=mode)
    assert read_poscar(text)[1].tolist() == [11] * 4 + [17] * 4
    assert shortest(text) == pytest.approx(5.64 / 2, abs=1e-9)
    assert abs(np.linalg.det(read_poscar(text)[0])) == pytest.approx(5.64**3, abs=1e-6)


def test_zinc_blende_by_its_volume():
    """39.6 Å³ of the primitive cell: an edge of 158.4^(1/3), and the bond is √3/4 of it, 2.343 Å."""
    cell, sites = "0 0.5 0.5\n0.5 0 0.5\n0.5 0.5 0", ["0 0 0", "0.25 0.25 0.25"]
    text = poscar(scale="-39.6", cell=cell, species="Zn S\n1 1", mode="Cartesian", sites=sites)
    assert shortest(text) == pytest.approx(158.4 ** (1 / 3) * 3**0.5 / 4, abs=1e-9)


def test_three_scales_are_of_the_components():
    """Not of the three vectors: of a face-centred cell each vector gets two of them."""
    cell, sites = "0 0.5 0.5\n0.5 0 0.5\n0.5 0.5 0", ["0 0 0", "0.5 0.5 0.5"]
    text = poscar(scale="2 4 6", cell=cell, species="Na Cl\n1 1", mode="Cartesian", sites=sites)
    lattice, _, frac_coords = read_poscar(text)
    np.testing.assert_allclose(lattice, [[0, 2, 3], [1, 0, 3], [1, 2, 0]])
    np.testing.assert_allclose(frac_coords[1] @ lattice, [1, 2, 3])


@pytest.mark.parametrize("scale", ["0", "2 3", "-1 -1 -1", "1 1 0", "1 2 3 4", "nan", "*******", ""])
def test_scales_that_are_none(scale):
    assert "wanted a scale, minus the volume of the cell in Å³, or three" in refused(poscar(scale=scale))


@pytest.mark.parametrize("flags", ["T T T", "F F F", "T F T", ".TRUE. .FALSE. T"])
@pytest.mark.parametrize("mode", ["Direct", "Selective dynamics\nDirect"])
def test_flags_are_no_elements(flags, mode):
    sites = [f"{site} {flags}" for site in SITES]
    old = poscar(comment="Na4 Cl4", species="4 4", mode=mode, sites=sites)
    assert "it does not name its elements (VASP 4 format): add a line" in refused(old)
    # with names, flags say nothing about the crystal
    assert read_poscar(poscar(mode=mode, sites=sites))[1].tolist() == [11] * 4 + [17] * 4


def test_flags_that_are_missing_hide_no_contradiction():
    sites = [*SITES[:7], f"{SITES[7]} Br"]
    text = poscar(mode="Selective dynamics\nDirect", sites=sites)
    assert "atom 8 is Cl by the line of symbols and Br by line 17" in refused(text)


def test_a_comment_that_may_name_the_elements_is_told_not_believed():
    assert "perhaps 'Na Cl', its comment" in refused(poscar(comment="Na Cl", species="4 4"))
    assert "comment" not in refused(poscar(comment="rock salt", species="4 4"))


@pytest.mark.parametrize(
    ("mode", "flags"), [("Direct", ""), ("Direct", "T F T"), ("Selective dynamics\nDirect", "T F T")]
)
def test_elements_behind_the_coordinates(mode, flags):
    """As pymatgen and AFLOW write them; a single F is fluorine, three are flags."""
    sites = [f"{site} {flags} {'Li' if i < 4 else 'F'}" for i, site in enumerate(SITES)]
    assert read_poscar(poscar(species="4 4", mode=mode, sites=sites))[1].tolist() == [3] * 4 + [9] * 4


def test_elements_behind_the_coordinates_that_contradict():
    sites = [*SITES[:4], *(f"{site} Br" for site in SITES[4:])]
    assert refused(poscar(sites=sites)) == (
        "atom 5 is Cl by the line of symbols and Br by line 13; correct one of them"
    )
    assert "one count is of atoms with different symbols (Na, Cl)" in refused(
        poscar(species="8", sites=[f"{site} {'Na' if i < 4 else 'Cl'}" for i, site in enumerate(SITES)])
    )
    assert "does not name its elements" in refused(poscar(species="4 4", sites=sites))


@pytest.mark.parametrize("trailing", ["Na1", "! Br", "# Br", "1 0.3", "site"])
def test_what_else_stands_behind_the_coordinates(trailing):
    assert len(read_poscar(poscar(sites=[f"{SITES[0]} {trailing}", *SITES[1:]]))[1]) == 8


@pytest.mark.parametrize(
    ("species", "expected"),
    [
        ("Na Cl\n4", "it names 2 species (Na, Cl) and has 1 count (4)"),
        ("Na\n4 4", "it names 1 species (Na) and has 2 counts (4, 4)"),
        ("Na Cl\n4 4 4", "and has 3 counts"),
        ("Na Cl\n4 5", "its counts give 9 atoms, it holds 8 lines of them; is it complete?"),
        ("Na Cl\n4 3", "its counts give 7 atoms, but line 16 has coordinates too"),
        ("Na Cl\n4 -4", "line 7 holds '4 -4'; wanted how many atoms of each species"),
        ("Na Cl\n4 4.0", "line 7 holds '4 4.0'; wanted how many"),
        ("Na Cl\n4*2", "line 7 holds '4*2'; wanted how many"),
        ("Na Cl", "wanted how many"),
        ("Na Cl\n999999999 4", "its counts give 1000000003 atoms, it holds 8 lines of them"),
        ("Na Cl\n4 99999999999999999999", "line 7 holds '4 99999999999999999999'"),
    ],
)
def test_counts_that_do_not_fit(species, expected):
    assert expected in refused(poscar(species=species, end="").rstrip("\n"))


def test_counts_are_met_by_lines_before_anything_is_built(tmp_path):
    (tmp_path / "POSCAR").write_text(poscar(species="Na Cl\n999999999 1"))
    with pytest.raises(UserError, match="its counts give 1000000000 atoms"):
        read(tmp_path / "POSCAR")


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        ("Fe_pv O", [26, 8]),
        ("Mg_pv/f474ac0d Si/79d9987ad87", [12, 14]),
        ("Ga_d_GW As_sv_GW", [31, 33]),
        ("Yb_2 N_h", [70, 7]),
        ("Fe1 Fe2", [26, 26]),
        ("Fe3+ O2-", [26, 8]),
        ("V_sv V_pv/0a1b", [23, 23]),
        ("Li D", [3, 1]),
    ],
)
def test_names_of_elements(names, numbers):
    text = poscar(species=f"{names}\n1 1", sites=SITES[:2])
    assert read_poscar(text)[1].tolist() == numbers


@pytest.mark.parametrize("name", ["Va", "Vac", "V_O", "V_Na", "X", "Xx", "H.5", "na", "NA", "Uue", "A", "Du"])
def test_names_of_no_element(name):
    assert f"{name!r} is no element" in refused(poscar(species=f"{name} Cl\n4 4"))


def test_many_groups_are_on_several_lines():
    """VASP breaks the lines at 20 species."""
    names = ["Na", "Cl"] * 12
    species = [" ".join(names[:20]), " ".join(names[20:]), "1 " * 20, "1 " * 4]
    sites = [f"0 0 {row / 24}" for row in range(24)]
    assert read_poscar(poscar(species="\n".join(species), sites=sites))[1].tolist() == [11, 17] * 12


def test_what_follows_the_positions_is_not_read():
    structure = Structure.from_spacegroup(225, 5.64 * np.eye(3), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    motion = {
        "velocities": np.full((8, 3), 0.1).tolist(),
        "predictor_corrector": np.full((8, 3, 3), 0.2).tolist(),
        "predictor_corrector_preamble": "1\n0.5\n0 0 0 0",
        "lattice_velocities": np.full((6, 3), 0.3).tolist(),
    }
    text = Poscar(structure, **motion).get_str()
    assert text.count("\n") > 50
    lattice, numbers, frac_coords = read_poscar(text)
    np.testing.assert_allclose(lattice, structure.lattice.matrix)
    assert numbers.tolist() == list(structure.atomic_numbers)
    np.testing.assert_allclose(frac_coords, structure.frac_coords)


def test_several_structures():
    assert "it holds several structures" in refused(poscar() + poscar())
    assert "it holds several structures" in refused(poscar() + "\n" + poscar())
    step = "\n".join(["Direct configuration=     2", *SITES])
    assert "it holds several structures" in refused(
        poscar(mode="Direct configuration=     1", end=f"{step}\n")
    )


@pytest.mark.parametrize(
    ("site", "coords"),
    [("-0.25-0.50-0.75", [-0.25, -0.5, -0.75]), ("1.0E-01 2d-1 +.3", [0.1, 0.2, 0.3]), ("1. 0 0", [1, 0, 0])],
)
def test_numbers_as_fortran_writes_them(site, coords):
    np.testing.assert_allclose(read_poscar(poscar(sites=[site, *SITES[1:]]))[2][0], coords)


@pytest.mark.parametrize("site", ["0 0", "0 0 nan", "0 0 inf", "0 0 ******", "0 0 1_0", "a b c", ""])
def test_coordinates_that_are_none(site):
    text = poscar(sites=[*SITES[:3], site, *SITES[4:]])
    assert "line 12 holds" in refused(text)
    assert "wanted three numbers" in refused(text)


@pytest.mark.parametrize("cell", ["1 0\n0 1 0\n0 0 1", "1 0 0 0\n0 1 0\n0 0 1", "1 0 x\n0 1 0\n0 0 1"])
def test_vectors_that_are_none(cell):
    assert "line 3 holds" in refused(poscar(cell=cell))


@pytest.mark.parametrize("scale", ["1", "-100"])
@pytest.mark.parametrize("mode", ["Direct", "Cartesian"])
def test_vectors_that_are_not_independent(scale, mode):
    text = poscar(scale=scale, mode=mode, cell="1 0 0\n2 0 0\n0 0 1")
    assert "its three vectors are not independent" in refused(text)


def test_a_missing_line_does_not_move_the_atoms():
    text = poscar().replace("Direct\n", "")
    assert "line 8 holds '0 0 0'; wanted 'Direct' or 'Cartesian'" in refused(text)


def test_a_file_of_windows():
    assert len(read_poscar(poscar().replace("\n", "\r\n"))[1]) == 8


def test_it_reads_what_pymatgen_writes():
    example = named.load("semiconductors")
    for row in range(40):
        structure = example.structure(row)
        lattice, numbers, frac_coords = read_poscar(Poscar(structure).get_str(significant_figures=12))
        np.testing.assert_allclose(lattice, structure.lattice.matrix, atol=1e-10)
        assert numbers.tolist() == list(structure.atomic_numbers)
        np.testing.assert_allclose(frac_coords, structure.frac_coords, atol=1e-10)


@pytest.mark.parametrize(
    "comment", ["# rock salt", "data_NaCl", "{NaCl}", "loop_", "[1, 2]", "\ufeffNaCl", ""]
)
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json", ".vasp"])
def test_a_poscar_is_known_by_what_is_in_it(tmp_path, comment, ending):
    text, path = poscar(comment=comment), tmp_path / f"a{ending}"
    table = pd.DataFrame({"id": ["x"], "structure": [text], "gap": [8.5]})
    if ending == ".csv":
        table.to_csv(path, index=False)
    elif ending == ".parquet":
        table.to_parquet(path)
    elif ending == ".json":
        table.to_json(path, orient="records")
    else:
        path.write_text(text)
    crystals, problems = read_all(path)
    assert problems == []
    assert crystals.formulas == ["Na1-Cl1"]
    assert crystals.num_atoms.tolist() == [8]


def test_a_cif_in_a_cell_is_known_by_what_is_in_it(tmp_path):
    structure = Structure.from_spacegroup(225, 5.64 * np.eye(3), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    cif = structure.to(fmt="cif")
    for start in ("\ufeff", "# a\n# b\n", "\n\n"):
        pd.DataFrame({"id": ["x"], "cif": [start + cif]}).to_csv(tmp_path / "a.csv", index=False)
        assert read(tmp_path / "a.csv").num_atoms.tolist() == [8]


def test_the_message_names_the_file_and_the_format(tmp_path):
    (tmp_path / "a.vasp").write_text(poscar(species="Na Cl\n4"))
    with pytest.raises(UserError, match=r"a\.vasp: is read as a POSCAR: it names 2 species \(Na, Cl\)"):
        read(tmp_path / "a.vasp")


@pytest.mark.parametrize(
    "data",
    [
        poscar().replace("\n", "\r").encode(),
        poscar().encode("utf-16"),  # with its byte-order mark
        b"\xef\xbb\xbf" + poscar().encode(),
    ],
)
def test_files_of_other_systems(tmp_path, data):
    (tmp_path / "a.vasp").write_bytes(data)
    crystals = read(tmp_path / "a.vasp")
    assert crystals.formulas[0] == "Na1-Cl1"
    assert abs(np.linalg.det(crystals.lattice[0])) == pytest.approx(5.64**3)


def test_a_file_by_another_name(tmp_path):
    """A CIF is one by what it says; a POSCAR that is called a CIF may be anything that was renamed."""
    salt = Structure.from_spacegroup("Fm-3m", np.eye(3) * 5.64, ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    (tmp_path / "a.vasp").write_text(salt.to(fmt="cif"))
    assert read(tmp_path / "a.vasp").num_atoms.tolist() == [8]
    (tmp_path / "a.cif").write_text(poscar())
    with pytest.raises(UserError, match=r"is named as a CIF, but holds a POSCAR: name it \.vasp"):
        read(tmp_path / "a.cif")
