"""CIF text as people have it: every site accounted for, the symmetry as the file says or not at all."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifParser, CifWriter

from tlzoo.data import named
from tlzoo.data.sources import read_all
from tlzoo.data.sources.parse import parse

CASES = Path(__file__).parents[2] / "cases"
NACL = ["Na1 Na 0 0 0", "Cl1 Cl 0.5 0.5 0.5"]
SILICON = ["Si1 Si 0.125 0.125 0.125"]
SPINEL = ["Mg1 Mg 0.125 0.125 0.125", "Al1 Al 0.5 0.5 0.5", "O1 O 0.2624 0.2624 0.2624"]
MAGNESIUM = (3.209, 3.209, 5.211, 90, 90, 120)
MONOCLINIC = (5.0, 6.0, 7.0, 90, 101, 90)
COLUMNS = "label type_symbol fract_x fract_y fract_z"
P1 = ("x,y,z",)


def cif(cell, sites, *items, columns=COLUMNS, operations=()):
    """A CIF with a cell of a cube's edge, three edges, or edges and angles."""
    cell = (cell,) * 3 if isinstance(cell, float) else cell
    cell = cell if len(cell) == 6 else (*cell, 90, 90, 90)
    names = ["length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"]
    lines = ["data_x", *(f"_cell_{name} {value}" for name, value in zip(names, cell, strict=True)), *items]
    if operations:
        lines += ["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{operation}'" for operation in operations)]
    lines += ["loop_", *(f"_atom_site_{name}" for name in columns.split()), *sites]
    return "\n".join(lines) + "\n"


def name(text):
    return f"_symmetry_space_group_name_H-M '{text}'"


def formula(text):
    return f"_chemical_formula_sum '{text}'"


def found(text):
    """The crystal of what can be read, and its notes."""
    parsed = parse(text)
    assert parsed.sites is not None, parsed.message
    lattice, numbers, coords = parsed.sites
    return Structure(Lattice(lattice), numbers, coords), list(parsed.notes)


def refused(text):
    """The kind and message of what cannot."""
    parsed = parse(text)
    assert parsed.sites is None
    return parsed.kind, parsed.message


def shortest(structure):
    distances = structure.distance_matrix + 99 * np.eye(len(structure))
    return distances.min()


def in_order(coords):
    """Places in the cell, in an order of their own."""
    return sorted(np.round(np.asarray(coords) % 1, 9).tolist())


def places(structure):
    """Elements with places in the cell, in an order of their own."""
    coords = np.round(structure.frac_coords % 1, 4) % 1
    return sorted((site.specie.Z, *xyz) for site, xyz in zip(structure, coords.tolist(), strict=True))


# ------------------------------------------------------------------------------------------------- symmetry


@pytest.mark.parametrize(
    ("file", "formula", "density", "nearest"),
    [
        ("cif-group/nacl-b-old-Fm3m.cif", "Na4 Cl4", 2.16, 2.82),
        ("cif-group/nacl-c-plain.cif", "Na4 Cl4", 2.16, 2.82),
        ("cif-group/nacl-i-lower.cif", "Na4 Cl4", 2.16, 2.82),
        ("cif-group/nacl-k-nacl-fsum.cif", "Na4 Cl4", 2.16, 2.82),
        ("cif-group/diamond-type-b-colon1-0.cif", "Si8", 2.33, 2.35),
        ("cif-group/diamond-type-c-colon2-eighth.cif", "Si8", 2.33, 2.35),
        ("cif-group/diamond-type-v-hall2-eighth-fsum-Z.cif", "Si8", 2.33, 2.35),
        ("cif-group/s-spinel-colon2.cif", "Mg8 Al16 O32", 3.58, 1.92),
        ("cif-group/r-a-colonR.cif", "Bi2", 9.81, 3.07),
        ("cif-group/r-e-colonR-num.cif", "Bi2", 9.81, 3.07),
        ("cif-group/r-g-hex-colonH.cif", "Al12 O18", 3.99, 1.85),
        ("cif-sites/a-dot.cif", "Na4 Cl4", 2.16, 2.82),
        ("cif-sites/f-srtio3-one-dot.cif", "Sr1 Ti1 O3", 5.12, 1.95),
        ("cif-sites/label-h-OH1-H1.cif", "Mg1 H2 O2", 2.38, 1.00),
        ("cif-text/b-bom.cif", "Cs1 Cl1", 4.03, 3.56),
        ("cif-text/b-data-line.cif", "Cs1 Cl1", 4.03, 3.56),
        ("cif-text/j-upper-DATA.cif", "Cs1 Cl1", 4.03, 3.56),
        ("cif-text/k-upper-tags.cif", "Cs1 Cl1", 4.03, 3.56),
    ],
)
def test_files_that_were_read_wrongly_or_refused(file, formula, density, nearest):
    structure, _ = found(CASES / file)
    assert structure.formula == formula
    assert structure.density == pytest.approx(density, abs=0.01)
    assert shortest(structure) == pytest.approx(nearest, abs=0.01)


@pytest.mark.parametrize(
    ("file", "kind", "texts"),
    [
        ("cif-group/nacl-g-none.cif", "unknown symmetry", ["names no space group", "2 atoms, 0.54 g/cm³"]),
        ("cif-group/nacl-h-question.cif", "unknown symmetry", ["names no space group"]),
        (
            "cif-group/diamond-type-h-num-eighth.cif",
            "unknown symmetry",
            [
                "number 227 may mean F d -3 m :1 (16 atoms, 4.66 g/cm³) or F d -3 m :2 (8 atoms, 2.33 g/cm³)",
                "add the operations",
                "or formula and Z, or the density",
            ],
        ),
        ("cif-sites/a-dot-xyz.cif", "incomplete", ["site(s) O1 have no coordinates"]),
        ("cif-sites/label-a-OH-dropped.cif", "unknown element", ["site(s) OH name no element"]),
        ("cif-sites/label-c-HO1.cif", "unknown element", ["site(s) HO1 name", "_atom_site_type_symbol"]),
        ("cif-sites/label-g-OS-HS.cif", "unknown element", ["site(s) OS, HS name no element"]),
    ],
)
def test_files_that_nobody_can_read_for_certain(file, kind, texts):
    found_kind, message = refused(CASES / file)
    assert found_kind == kind
    for text in texts:
        assert text in message


@pytest.mark.parametrize(
    "text",
    [
        "F m -3 m",
        "Fm-3m",
        "F_m_-3_m",
        "F M -3 M",
        "F m 3 m",
        "Fm3m",
        "F 4/m -3 2/m",
        "F 4/m 3 2/m",
        "Fm-3m (225)",
        "F m \u22123 m",
        "F m 3\u0305 m",
    ],
)
def test_spellings_of_a_name(text):
    structure, notes = found(cif(5.64, NACL, name(text)))
    assert structure.formula == "Na4 Cl4"
    assert notes == []


def test_a_name_with_blanks_needs_no_quotes():
    structure, _ = found(cif(5.64, NACL, "_symmetry_space_group_name_H-M F m -3 m"))
    assert structure.formula == "Na4 Cl4"


# International Tables A, group 14, cell choices 1 and 2 with unique axis b, and 1 with unique axis c.
@pytest.mark.parametrize(
    ("text", "cell", "second"),
    [
        ("P 21/c", MONOCLINIC, (-0.1, 0.7, 0.2)),
        ("P 1 21/c 1", MONOCLINIC, (-0.1, 0.7, 0.2)),
        ("P 21/n", MONOCLINIC, (0.4, 0.7, 0.2)),
        ("P2(1)/n", MONOCLINIC, (0.4, 0.7, 0.2)),
        ("P 1 21/n 1", MONOCLINIC, (0.4, 0.7, 0.2)),
        ("P 1 1 21/a", (5, 6, 7, 90, 90, 101), (0.4, -0.2, 0.8)),
    ],
)
def test_settings_of_a_monoclinic_group(text, cell, second):
    structure, _ = found(cif(cell, ["Si1 Si 0.1 0.2 0.3"], name(text)))
    first = np.array([0.1, 0.2, 0.3])
    expected = np.array([first, -first, second, -np.array(second)]) % 1
    np.testing.assert_allclose(in_order(structure.frac_coords), in_order(expected), atol=1e-9)


@pytest.mark.parametrize(
    ("sites", "items"),
    [
        (["Si1 Si 0 0 0"], [name("F d -3 m S")]),  # letters of ICSD
        (SILICON, [name("F d -3 m Z")]),
        (SILICON, [name("Fd-3m:2")]),
        (SILICON, ["_space_group_name_Hall '-F 4vw 2vw 3'"]),
        (["Si1 Si 0 0 0"], ["_symmetry_space_group_name_Hall 'F 4d 2 3 -1d'", name("F d -3 m")]),
        (SILICON, [name("F d -3 m"), formula("Si"), "_cell_formula_units_Z 8"]),
        (SILICON, ["_symmetry_Int_Tables_number 227", "_exptl_crystal_density_diffrn 2.33"]),
    ],
)
def test_what_decides_between_two_origins(sites, items):
    structure, _ = found(cif(5.431, sites, *items))
    assert structure.formula == "Si8"
    assert shortest(structure) == pytest.approx(5.431 * np.sqrt(3) / 4)


def test_the_formula_or_the_distances_decide_and_it_is_said():
    for items in ([], [formula("Mg Al2 O4")]):
        structure, notes = found(cif(8.083, SPINEL, name("F d -3 m"), *items))
        assert structure.formula == "Mg8 Al16 O32"
        said = "of what 'F d -3 m' may mean, F d -3 m :2 (56 atoms, 3.58 g/cm³) is read"
        assert notes == [f"has no symmetry operations; {said}"]


def test_axes_of_a_rhombohedral_group_are_those_of_the_cell():
    rhombohedral = cif((4.746,) * 3 + (57.23,) * 3, ["Bi1 Bi .2339 .2339 .2339"], name("R -3 m"))
    hexagonal = cif((4.546, 4.546, 11.86, 90, 90, 120), ["Bi1 Bi 0 0 .2339"], name("R -3 m"))
    for text, count in ((rhombohedral, 2), (hexagonal, 6)):
        structure, notes = found(text)
        assert (len(structure), notes) == (count, [])
        assert structure.density == pytest.approx(9.81, abs=0.01)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            cif(5.64, NACL, name("F m -3 m"), "_symmetry_Int_Tables_number 221"),
            "'F m -3 m' and number 221 are different space groups or settings",
        ),
        (
            cif(MONOCLINIC, SILICON, name("P 21/c"), "_space_group_name_Hall '-P 2yn'"),
            "'P 21/c' and Hall '-P 2yn' are different",
        ),
        (
            cif((5.64, 5.64, 6.2), NACL, name("F m -3 m")),
            "'F m -3 m' and the cell (5.64, 5.64, 6.2, 90, 90, 90)",
        ),
        (cif((4.5, 4.5, 11.9, 90, 90, 120), SILICON, name("R -3 m :R")), "'R -3 m :R' and the cell"),
        (
            cif(5.64, NACL, name("F m -3 m"), formula("Na Cl"), "_cell_formula_units_Z 8"),
            "its cell holds 4 × Na1 Cl1 (_chemical_formula_sum) where _cell_formula_units_Z is 8",
        ),
        (
            cif(5.64, NACL, name("F m -3 m"), "_exptl_crystal_density_diffrn 4.33"),
            "its cell has 2.16 g/cm³, its _exptl_crystal_density_diffrn is 4.33",
        ),
        (
            cif(5.64, NACL, name("F m -3 m"), formula("Na Cl"), "_cell_formula_units_Z 4", operations=P1),
            "the operations in the file give 2 atoms, 0.54 g/cm³, those of F m -3 m give 8 atoms, 2.16 g/cm³",
        ),
        (
            cif(
                5.64,
                NACL,
                formula("Na Cl"),
                "_cell_formula_units_Z 4",
                "_exptl_crystal_density_diffrn 2.16",
                operations=P1,
            ),
            "its cell has 0.54 g/cm³, its _exptl_crystal_density_diffrn is 2.16; correct",
        ),
        (
            cif(5.431, ["Si1 Si 0.2 0.1 0"], name("F d -3 m"), formula("Si"), "_cell_formula_units_Z 8"),
            "nothing that 'F d -3 m' may mean agrees with what else the file says: F d -3 m :1: its cell",
        ),
    ],
)
def test_contradictions_are_named_with_both_values(text, expected):
    kind, message = refused(text)
    assert kind == "contradiction"
    assert expected in message


def test_a_number_does_not_say_the_setting():
    kind, message = refused(cif(MONOCLINIC, ["Si1 Si 0.1 0.2 0.3"], "_symmetry_Int_Tables_number 14"))
    assert kind == "unknown symmetry"
    assert "P 1 21/c 1 (4 atoms, 0.90 g/cm³) or P 1 21/n 1 (4 atoms" in message
    assert "density (" not in message  # it is the same in all settings


def test_an_unknown_name_is_none():
    kind, message = refused(cif(5.64, NACL, name("F m m 7"), formula("Na Cl")))
    assert kind == "unknown symmetry"
    assert "its space group 'F m m 7' is unknown" in message
    structure, notes = found(cif(5.64, NACL, name("F m m 7"), "_symmetry_Int_Tables_number 225"))
    assert structure.formula == "Na4 Cl4"
    assert notes == ["'F m m 7' is unknown; read with number 225"]


@pytest.mark.parametrize(
    "items", [[formula("Cs Cl"), "_cell_formula_units_Z 1"], ["_exptl_crystal_density_diffrn 4.0"]]
)
def test_no_group_and_all_atoms_listed(items):
    structure, notes = found(cif(4.12, ["Cs1 Cs 0 0 0", "Cl1 Cl .5 .5 .5"], *items))
    assert structure.formula == "Cs1 Cl1"
    assert "names no space group; all atoms are listed (2 atoms, 4.00 g/cm³)" in notes[0]


def test_operations_that_are_no_group_lose_atoms():
    """One of the four translations of a face-centred cell is missing, and two of eight atoms with it."""
    three = ["x,y,z", "x+1/2,y+1/2,z", "x,y+1/2,z+1/2"]
    text = "its 3 symmetry operations are no group: some are missing, or one is wrong"
    kind, message = refused(cif(5.64, NACL, operations=three))
    assert (kind, message.partition(";")[0]) == ("contradiction", text)
    assert "_cell_formula_units_Z" in message
    kind, message = refused(
        cif(5.64, NACL, formula("Na Cl"), "_cell_formula_units_Z 4", name("F m -3 m"), operations=three)
    )
    assert kind == "contradiction"
    # what Z confirms has lost nothing
    items = [formula("Na Cl"), "_cell_formula_units_Z 3"]
    structure, notes = found(cif(5.64, NACL, *items, operations=three))
    assert structure.formula == "Na3 Cl3"
    assert notes == [text]
    assert "'-x,-y' is no symmetry operation" in refused(cif(5.64, NACL, operations=["x,y,z", "-x,-y"]))[1]


def test_z_that_only_the_file_knows_is_remarked():
    structure, notes = found(cif(4.12, NACL, formula("Na Cl"), "_cell_formula_units_Z 4", operations=P1))
    assert structure.formula == "Na1 Cl1"
    assert notes == ["its cell holds 1 × Na1 Cl1 (_chemical_formula_sum) where _cell_formula_units_Z is 4"]


def test_triclinic_cells_may_be_centred():
    albite = (8.14, 12.79, 7.16, 94.3, 116.6, 87.7)
    structure, _ = found(cif(albite, ["Na1 Na 0.25 0.01 0.12"], name("C -1")))
    expected = [[0.25, 0.01, 0.12], [0.75, 0.51, 0.12], [0.75, 0.99, 0.88], [0.25, 0.49, 0.88]]
    np.testing.assert_allclose(in_order(structure.frac_coords), in_order(expected), atol=1e-9)


# ---------------------------------------------------------------------------------------------------- sites

OCCUPIED = f"{COLUMNS} occupancy"


@pytest.mark.parametrize(
    ("rows", "columns", "expected", "note"),
    [
        (["Fe1 Fe 0 0 0 .", "O1 O .5 .5 .5 1"], OCCUPIED, "Fe1 O1", None),
        (["Fe1 Fe 0 0 0 ?"], OCCUPIED, "Fe1", "site(s) with occupancy '?', taken as 1: Fe1"),
        (["Fe1 Fe 0 0 0 1", "O1 O .5 .5 .5 0"], OCCUPIED, "Fe1", "site(s) with occupancy 0, left out: O1"),
        (["Fe1 Fe 0 0 0 1.003(4)"], OCCUPIED, "Fe1", "occupancies that sum to 1.003, taken as 1"),
        (["Fe1 Fe 0 0 0", "Va1 Va .5 .5 .5"], COLUMNS, "Fe1", "site(s) that are vacancies, left out: Va1"),
        (
            ["Fe1 Fe 0 0 0 .", "Q1 C . . . dum"],
            f"{COLUMNS} calc_flag",
            "Fe1",
            "site(s) flagged as no atoms (dum), left out: Q1",
        ),
        (
            ["Pd1 Pd 0 0 0", "D1 D .5 .5 .5"],
            COLUMNS,
            "H1 Pd1",
            "deuterium (or tritium) is read as hydrogen: D1",
        ),
        (["Fe1 Fe3+ 0 0 0", "C1 Cval .5 0 0", "Cl1 CL1- 0 .5 0"], COLUMNS, "Fe1 C1 Cl1", None),
        (["Fe1 0 0 0", "O2A .5 .5 .5"], "label fract_x fract_y fract_z", "Fe1 O1", None),
        (["NA1 0 0 0", "CL1 .5 .5 .5"], "label fract_x fract_y fract_z", "Na1 Cl1", "CL1 as Cl, NA1 as Na"),
        (["Feoct 0 0 0", "OW1 .5 .5 .5"], "label fract_x fract_y fract_z", "Fe1 O1", "Feoct as Fe, OW1 as O"),
    ],
)
def test_every_site_is_accounted_for(rows, columns, expected, note):
    structure, notes = found(cif(4.2, rows, columns=columns, operations=P1))
    assert structure.formula == expected
    assert notes == [] if note is None else (len(notes) == 1 and note in notes[0])


@pytest.mark.parametrize(
    ("rows", "columns", "kind", "expected"),
    [
        (["Fe1 Fe 0 0 0", "X1 X .5 .5 .5"], COLUMNS, "unknown element", "X1 (type 'X')"),
        (["Fe1 Fe 0 0 0", "Dum1 Dum .5 .5 .5"], COLUMNS, "unknown element", "Dum1 (type 'Dum')"),
        (["Na1 Na 0 0 0", "W1 Wat .5 .5 .5"], COLUMNS, "unknown element", "W1 (type 'Wat')"),
        (["T1 0 0 0", "O1 .5 .5 .5"], "label fract_x fract_y fract_z", "unknown element", "site(s) T1 name"),
        (
            ["CO1 0 0 0", "O1 .5 .5 .5"],
            "label fract_x fract_y fract_z",
            "unknown element",
            "site(s) CO1 name",
        ),
        (["Fe1 Fe 0 0 0", "O1 O . ? ."], COLUMNS, "incomplete", "site(s) O1 have no coordinates"),
        (["Fe1 Fe 0 0 0 11.0"], OCCUPIED, "occupancy", "Fe1 (11)"),
        (["Fe1 Fe 0 0 0 -0.2"], OCCUPIED, "occupancy", "Fe1 (-0.2)"),
        (
            ["Fe1 Fe 0 0 0 .3334", "Co1 Co 0 0 0 .3334", "Ni1 Ni 0 0 0 .3334"],
            OCCUPIED,
            "disordered",
            "site(s) Fe1, Co1, Ni1 share one place, disordered, with occupancies that sum to 1.0002",
        ),
        (
            ["Fe1 Fe 0 0 0 1", "Fe2 Fe 0 1 0 1"],
            OCCUPIED,
            "occupancy",
            "site(s) Fe1, Fe2 are at one place, where their occupancies sum to 2",
        ),
        *(
            ([f"M1 '{mixed}' 0 0 0"], COLUMNS, "disordered", f"'M1' is a mixture, {mixed}")
            for mixed in ("0.8Nb + 0.2Zr", "Si/Al", "Na,K", "(Fe,Mn)", "Fe0.5Mn0.5", "Na+K", "Fe-Mn")
        ),
        (["Si/Al . 0 0 0"], COLUMNS, "disordered", "'Si/Al' is a mixture, Si/Al"),
        (["M1 H2O 0 0 0"], COLUMNS, "unknown element", "M1 (type 'H2O')"),
        (
            ["O1 O 0 0 0 1", "Na1 Na .5 .5 .5 0"],
            f"{COLUMNS} attached_hydrogens",
            "incomplete",
            "site(s) O1 have hydrogen attached",
        ),
    ],
)
def test_sites_that_cannot_be_read_are_named(rows, columns, kind, expected):
    found_kind, message = refused(cif(4.2, rows, columns=columns, operations=P1))
    assert found_kind == kind
    assert expected in message


@pytest.mark.parametrize(
    ("rows", "text", "expected"),
    [
        (["OH1 0 0 0", "H1 .2 .2 .2"], "O H", "H1 O1"),
        (["CO1 0 0 0", "O1 .5 .5 .5"], "C O", "C1 O1"),
        (["CO1 0 0 0", "O1 .5 .5 .5"], "Co O", "Co1 O1"),
        (["HO1 0 0 0", "OS3 .5 .5 .5", "S1 .2 .2 .2"], "H O S", "H1 S1 O1"),
    ],
)
def test_the_formula_decides_about_labels(rows, text, expected):
    structure, _ = found(
        cif(4.2, rows, formula(text), columns="label fract_x fract_y fract_z", operations=P1)
    )
    assert structure.formula == expected


def test_hydrogen_that_is_in_the_formula_is_not_missed():
    rows = ["O1 O 0 0 0 1", "H1 H .2 .2 .2 0"]
    structure, notes = found(
        cif(4.2, rows, formula("H O"), columns=f"{COLUMNS} attached_hydrogens", operations=P1)
    )
    assert structure.formula == "H1 O1"
    assert "yet the sites are those of its formula" in notes[0]


def test_zeros_that_old_files_leave_out():
    """As ICSD 59959, KMnF3: Mn at the origin, F at the middle of an edge."""
    operations = ["x,y,z", "y,z,x", "z,x,y"]
    rows = ["K1 K .5 .5 .5", "Mn1 Mn . . .", "F1 F .5 . ."]
    structure, notes = found(cif(4.19, rows, formula("F3 K1 Mn1"), operations=operations))
    assert structure.formula == "K1 Mn1 F3"
    assert notes[0].endswith("written without zeros: Mn1, F1")
    assert refused(cif(4.19, rows, operations=operations))[0] == "incomplete"


def test_a_single_site_may_stand_outside_a_loop():
    text = cif(3.61, [], name("F m -3 m")).partition("loop_")[0]
    text += "_atom_site_label Cu1\n" + "".join(f"_atom_site_fract_{axis} 0\n" for axis in "xyz")
    assert found(text)[0].formula == "Cu4"


def test_two_loops_of_sites_do_not_replace_each_other():
    second = (
        "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nK1 .2 .2 .2\n"
    )
    assert "_atom_site_fract_x stands twice" in refused(cif(4.2, NACL, operations=P1) + second)[1]


def test_all_atoms_and_all_operations_are_too_many():
    kind, message = refused(cif(4.2, ["Cs1 Cs .25 0 0", "Cs2 Cs -.25 0 0"], operations=["x,y,z", "-x,-y,-z"]))
    assert kind == "occupancy"
    assert "if all atoms of the cell are listed, 'x,y,z' is the only operation" in message


@pytest.mark.parametrize(("x", "y"), [("0.333", "0.667"), ("0.33", "0.67")])
def test_rounded_thirds(x, y):
    sites, group = [f"Mg1 Mg {x} {y} 0.25"], name("P 63/m m c")
    structure, notes = found(cif(MAGNESIUM, sites, group, formula("Mg"), "_cell_formula_units_Z 2"))
    assert structure.formula == "Mg2"
    np.testing.assert_allclose(sorted(structure.frac_coords[:, 0]), [1 / 3, 2 / 3], atol=1e-9)
    assert f"site(s) Mg1 ({x}, {y}, 0.25) are read at (0.33333, 0.66667, 0.25000)" in notes[0]
    for items in ([], [formula("Mg")]):  # the formula of an element says nothing about counts
        kind, message = refused(cif(MAGNESIUM, sites, group, *items))
        assert kind == "rounded coordinates"
        assert "6 atoms, 5.21 g/cm³ become 2 atoms, 1.74 g/cm³; write more digits" in message


# ----------------------------------------------------------------------------------------------------- text


def test_a_formula_is_blamed_only_where_it_is():
    text = cif(4.12, ["Cs1 Cs 0 0 0"], "_chemical_formula_structural CsCl", operations=P1)
    kind, message = refused(text)
    assert kind == "incomplete"
    assert "its _chemical_formula_structural have different elements (Cs1 against Cs1 Cl1)" in message


def test_an_empty_first_block_hides_nothing():
    second = cif(4.12, ["Cs1 Cs 0 0 0"], formula("Cs Cl"), operations=P1)
    kind, message = refused("data_global\n_journal_name_full 'J. X'\n" + second)
    assert kind == "incomplete"
    assert "_chemical_formula_sum have different elements (Cs1 against Cs1 Cl1)" in message
    good = "data_global\n_journal_name_full 'J. X'\n" + cif(4.12, NACL, formula("Na Cl"), operations=P1)
    assert found(good)[1] == []


def test_a_block_without_a_cell_is_remarked():
    bare = "data_molecule\nloop_\n_atom_site_label\n_atom_site_fract_x\nC1 0.1\n"
    structure, notes = found(bare + cif(4.12, NACL, operations=P1))
    assert structure.formula == "Na1 Cl1"
    assert notes == ["block(s) molecule have atom sites but no cell, and are left out"]


def test_a_charge_or_number_makes_no_mixture():
    rows = ["Fe1 Fe2+,Fe3+ 0 0 0", "H-O1 . .5 .5 .5", "Cl1 Cl1- .5 .5 0", "Fe2 Fe(III) 0 0 .5"]
    assert found(cif(4.2, rows, operations=P1))[0].formula == "Fe2 H1 Cl1"


def test_operations_of_another_group_than_is_named_are_remarked():
    structure, notes = found(cif(5.64, NACL, name("F m -3 m"), operations=P1))
    assert structure.formula == "Na1 Cl1"
    (one,) = notes
    assert one == (
        "names F m -3 m and lists 1 operation(s), not those of F m -3 m: these are used, which give 2 atoms, "
        "0.54 g/cm³; F m -3 m would give 8 atoms, 2.16 g/cm³"
    )
    # all atoms of the cell, although the name is that of their group
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    rows = [f"{site.specie} {site.specie} {site.a} {site.b} {site.c}" for site in cell]
    assert found(cif(5.64, rows, name("F m -3 m"), operations=P1))[1] == []


def test_a_modulated_structure_is_refused():
    for item in (
        "_cell_modulation_dimension 1",
        "loop_\n_space_group_symop.ssg_operation_algebraic\nx1,x2,x3,x4",
    ):
        kind, message = refused(cif(5.64, NACL, item, operations=P1))
        assert kind == "modulated"
        assert "which no cell repeats exactly" in message
    assert found(cif(5.64, NACL, "_cell_modulation_dimension 0", operations=P1))[0].formula == "Na1 Cl1"


def test_magnetic_operations_move_atoms_too():
    """Body centring with time reversal, as in an antiferromagnet."""
    magnetic = [
        "loop_",
        "_space_group_symop_magn_operation.xyz",
        "x,y,z,+1",
        "x+1/2,y+1/2,z+1/2,-1",
        "loop_",
        "_atom_site_moment.label",
        "_atom_site_moment.crystalaxis_x",
        "_atom_site_moment.crystalaxis_y",
        "_atom_site_moment.crystalaxis_z",
        "Cr1 0 0 1",
    ]
    text = cif(2.91, ["Cr1 Cr 0 0 0"], *magnetic)
    structure, notes = found(text)
    assert structure.formula == "Cr2"
    assert notes == ["magnetic moments are not read: crystals that differ in them alone are the same"]
    centred = text.replace(
        "x+1/2,y+1/2,z+1/2,-1",
        "-x,-y,-z,+1\nloop_\n_space_group_symop_magn_centering.xyz\nx,y,z,+1\nx+1/2,y+1/2,z+1/2,-1",
    )
    assert found(centred)[0] == structure
    # the dictionary's default of an occupancy is 1
    assert (
        found(
            centred.replace("fract_z\n", "fract_z\n_atom_site_occupancy\n").replace("Cr 0 0 0", "Cr 0 0 0 .")
        )[0]
        == structure
    )
    assert refused(text.replace("data_x", f"data_x\n{formula('Cr O')}"))[0] == "incomplete"


def test_two_blocks_of_one_name_are_two_structures():
    assert refused(cif(4.12, NACL, operations=P1) * 2)[0] == "several structures"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("data_", "DATA_").replace("loop_", "Loop_"),
        lambda text: text.replace("_cell_", "_CELL_").replace("_fract_", "_Fract_"),
        lambda text: text.replace("_cell_", "_cell.").replace("_atom_site_", "_atom_site."),
        lambda text: text.replace("data_x\n", "data_x\n_comment\n;\ndata_1\nloop_\n_cell_length_a 9\n;\n"),
        lambda text: text.replace(
            "data_x\n", "# a 'comment\ndata_x\n_x \"a 'b' c\"\n_y 'a dog's life' # data_z\n"
        ),
        lambda text: text.replace(
            "data_x\n", "#\\#CIF_2.0\ndata_x\n_x '''It's \"so\"\nloop_\n_cell_length_a 9'''\n"
        ),
        lambda text: text.replace("data_x\n", '#\\#CIF_2.0\ndata_x\n_x """\n_cell_length_a 9\n;\n"""\n'),
    ],
)
def test_text_that_the_grammar_allows(change, tmp_path):
    plain = cif(4.12, NACL, operations=P1)
    structure, notes = found(change(plain))
    assert (structure, notes) == found(plain)
    (tmp_path / "a.cif").write_bytes(change(plain).encode())
    assert found(tmp_path / "a.cif")[0] == structure


def test_cif_text_in_a_table_is_known_by_its_tags(tmp_path):
    text = cif(4.12, NACL, operations=P1).upper().replace("'X,Y,Z'", "'x,y,z'").replace("NA1 NA", "Na1 Na")
    poscar = Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3]).to(fmt="poscar")
    (tmp_path / "a.csv").write_text(f'id,cell\na,"{text}"\nb,"{poscar}"\nc,"data_{poscar}"\nd,"# {poscar}"\n')
    crystals, problems = read_all(tmp_path / "a.csv")
    assert [crystals.structure(row).formula for row in range(len(crystals))] == ["Na1 Cl1"] + 3 * ["Cs1 Cl1"]
    assert problems == []


def test_notes_are_notes_of_the_file(tmp_path):
    (tmp_path / "a.cif").write_text(cif(8.083, SPINEL, name("F d -3 m")))
    _, (problem,) = read_all(tmp_path / "a.cif")
    assert (problem.severity, problem.file) == ("note", str(tmp_path / "a.cif"))
    assert "F d -3 m :2 (56 atoms, 3.58 g/cm³) is read" in problem.message


@pytest.mark.parametrize(("values", "rest"), [("Cs 0 0 0 Cl .5 .5", 2), ("Cs 0 0 0 Cl", 1)])
def test_a_loop_that_is_cut_off(values, rest):
    text = cif(4.12, [values], columns="type_symbol fract_x fract_y fract_z", operations=P1)
    kind, message = refused(text)
    assert kind == "unreadable"
    assert f"has {len(values.split())} values for rows of 4" in message
    assert message.endswith("is it complete?")


# --------------------------------------------------------------------- real crystals, in three programs' CIF


@pytest.fixture(scope="module")
def crystals():
    """Crystals of the embedded example, in all crystal systems."""
    example = named.load("semiconductors")
    return [example.structure(row) for row in range(0, len(example), max(1, len(example) // 30))]


def ase_text(structure):
    from ase.io import write

    file = io.BytesIO()
    write(file, AseAtomsAdaptor.get_atoms(structure, msonable=False), format="cif")
    return file.getvalue().decode()


# pymatgen does not yet catch the exceptions of spglib 2.7, and warns of thirds that it makes exact
@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Issues encountered while parsing:UserWarning")
@pytest.mark.parametrize(
    "written", [lambda s: str(CifWriter(s)), lambda s: str(CifWriter(s, symprec=0.01)), ase_text]
)
def test_ordinary_files_are_read_as_pymatgen_reads_them(crystals, written):
    for structure in crystals:
        text = written(structure)
        ours, notes = found(text)
        (theirs,) = CifParser.from_str(text).parse_structures(primitive=False)
        assert notes == []
        assert [site.specie.Z for site in ours] == [site.specie.Z for site in theirs]
        np.testing.assert_allclose(ours.lattice.matrix, theirs.lattice.matrix, rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours.frac_coords, theirs.frac_coords, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_the_name_of_a_group_stands_for_its_operations(crystals):
    several = 0
    for structure in crystals:
        text = str(CifWriter(structure, symprec=0.01))
        bare = re.sub(
            r"loop_\n _symmetry_equiv_pos_site_id\n _symmetry_equiv_pos_as_xyz\n(  .*\n)+", "", text
        )
        several += len(text) - len(bare) > 200
        assert places(found(bare)[0]) == places(found(text)[0])
    assert several > 10
