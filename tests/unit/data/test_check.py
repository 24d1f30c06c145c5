"""All problems at once, by file and row; exit code 0 or 2."""

import subprocess
import sys

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import Crystals
from tlzoo.data.check import check
from tlzoo.graphs.graph_options import GraphOptions

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def salt(metal="Na", a=5.64):
    return Structure(Lattice.cubic(a), [metal] * 4 + ["Cl"] * 4, np.concatenate([FCC, FCC + 0.5]))


METALS = {"Li": 5.14, "Na": 5.64, "K": 6.29, "Rb": 6.58, "Ag": 5.55, "Cu": 5.42}


@pytest.fixture
def crystals():
    """Six different salts with gaps around 5 eV."""
    structures = [salt(metal, a) for metal, a in METALS.items()]
    gaps = [5.0, 5.1, 4.9, 5.2, 4.8, 5.05]
    return Crystals.from_structures(structures, ids=list(METALS), columns={"gap": gaps}, units={"gap": "eV"})


def kinds(problems):
    return [problem.kind for problem in problems]


def test_good_data(crystals):
    report = check(crystals, progress=False)
    assert (report.exit_code, report.problems) == (0, [])
    text = report.text()
    assert "6 crystals, 6 compositions, 48 atoms" in text
    assert "atoms per crystal: 8 to 8, median 8" in text
    assert "7 elements: Li Na Cl K Cu Rb Ag" in text
    assert "gap: 4.8 to 5.2 eV, median 5.025" in text
    assert text.endswith("ready to train on, 0 warnings, 0 notes")


def test_everything_at_once(tmp_path):
    for metal, a in METALS.items():
        salt(metal, a).to(str(tmp_path / f"{metal}.cif"))
    salt("Na", 5.66).to(str(tmp_path / "again.vasp"), fmt="poscar")
    Structure(Lattice.cubic(30), ["Xe"], [[0, 0, 0]]).to(str(tmp_path / "lone.vasp"), fmt="poscar")
    Structure(Lattice.cubic(5), ["Cs", "I"], [[0, 0, 0], [1e-4, 0, 0]]).to(
        str(tmp_path / "twin.vasp"), fmt="poscar"
    )
    (tmp_path / "empty.cif").write_text("")
    (tmp_path / "labels.csv").write_text(
        "id,gap\nLi,5\nNa,5.1\nK,4.9\nRb,\nAg,4.8\nCu,wide\nagain,900\nlone,5.1\ntwin,5\nempty,5\ngone,5\nLi,5\n"
    )
    report = check(tmp_path, targets=["gap"], units={"gap": "eV"}, progress=False)
    found = {(p.kind, p.place.file.removeprefix(f"{tmp_path}/")) for p in report.errors}
    assert found == {
        ("missing file", "labels.csv"),
        ("empty", "empty.cif"),
        ("not a number", "labels.csv"),
        ("duplicate id", "Li.cif"),
        ("neighbours", "lone.vasp"),
        ("neighbours", "twin.vasp"),
    }
    assert sorted(kinds(report.warnings)) == ["duplicate structure", "missing target", "outlier"]
    text = report.text().replace(f"{tmp_path}/", "")
    assert report.exit_code == 2
    assert "labels.csv, line 7: column 'gap' holds 'wide'" in text
    assert "labels.csv, line 12: there is no structure file for 'gone'" in text
    assert "Rb.cif: column 'gap' has no value" in text
    assert "again.vasp: gap is 900 eV, " in text
    assert "again.vasp: is the same structure as Na.cif (NaCl); its gap is 900 eV, not 5.1" in text
    assert text.endswith("6 errors, 3 warnings, 0 notes")


def test_targets_are_found(tmp_path, crystals):
    crystals.columns["gap"][2] = np.nan
    crystals.write_parquet(tmp_path / "a.parquet")
    report = check(tmp_path / "a.parquet", progress=False)
    assert report.problems == []
    assert "1 missing" in report.text()


def test_missing_column(tmp_path, crystals):
    crystals.write_parquet(tmp_path / "a.parquet")
    for source in (crystals, tmp_path / "a.parquet"):
        (error,) = check(source, targets=["density"], progress=False).errors
        assert error.message == "there is no column 'density'; there are: gap"


def test_target_without_any_value(crystals):
    crystals.columns["gap"][:] = np.nan
    (error,) = check(crystals, targets=["gap"], progress=False).errors
    assert error.message == "column 'gap' has no value in any row"


def test_text_as_target(crystals):
    crystals.columns["gap"] = np.array(list("abcdef"), dtype=object)
    (error,) = check(crystals, targets=["gap"], progress=False).errors
    assert error.message == "column 'gap' is text; a target must be numbers"


def test_nothing_to_read(tmp_path):
    report = check(tmp_path / "none", progress=False)
    assert kinds(report.errors) == ["unreadable"]
    assert "does not exist" in report.text()
    (tmp_path / "a.cif").write_text("")
    assert kinds(check(tmp_path / "a.cif", progress=False).errors) == ["empty", "empty"]


def test_element_without_features():
    alien = Crystals.from_structures([salt("Og", 7.0)], ids=["og"])
    (error,) = check(alien, progress=False).errors
    assert error.kind == "elements"
    assert "Og" in error.message


def test_short_cutoff_leaves_atoms_alone(crystals):
    report = check(crystals, options=GraphOptions(cutoff=2.0), progress=False)
    assert kinds(report.errors) == ["neighbours"] * 6


def test_outliers_need_a_spread(crystals):
    crystals.columns["gap"][:] = [0, 0, 0, 0, 0, 9]
    assert check(crystals, progress=False).problems == []
    crystals.columns["gap"][:] = [1, 2, 3, 2, 1, 50]
    (warning,) = check(crystals, progress=False).warnings
    assert warning.message == "gap is 50 eV, 32 robust standard deviations from the median, 2 eV"


def test_many_outliers_are_none(crystals):
    crystals.columns["gap"][:] = [1, 2, 1.5, 50, 2, 60]
    (note,) = check(crystals, progress=False).problems
    assert note.message.startswith("gap: 2 of 6 values are far from the median, 2 eV")
    assert note.severity == "note"


def test_long_lists_are_cut_but_errors_are_not():
    many = Crystals.from_structures([salt()] * 30, ids=[str(i) for i in range(30)])
    text = check(many, progress=False).text()
    assert "warnings: duplicate structure (29)" in text
    assert "  … and 9 more" in text
    text = check(many, options=GraphOptions(cutoff=2.0), progress=False).text()
    assert text.count("no neighbour") == 30


def test_too_many_to_compare(monkeypatch):
    for module in ("check", "duplicates"):
        monkeypatch.setattr(f"tlzoo.data.{module}.MANY", 1)
    report = check(Crystals.from_structures([salt(), salt(a=5.7), salt()]), progress=False)
    assert [p.message for p in report.warnings] == ["is the same structure as crystal '0' (row 1) (NaCl)"]
    assert "2 crystals share formula and volume with another, too many to compare" in report.notes[0].message


@pytest.mark.parametrize("name", ["phonons", "jarvis_2d"])
def test_real_data_are_ready(data_dir, name):
    report = check(data_dir / f"{name}.parquet", progress=False)
    assert report.errors == []
    assert "duplicate structure" in kinds(report.warnings)


def test_the_command_loads_no_torch(tmp_path):
    """It is quick: what networks compute with would take five times as long to import as all of it."""
    salt().to(filename=tmp_path / "one.cif")
    code = (
        "import sys\n"
        "from tlzoo.__main__ import main\n"
        f"assert main(['data', 'check', {str(tmp_path)!r}]) == 0\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *report, loaded = done.stdout.splitlines()
    assert report[-1].startswith("ready to predict, without labels to train on")
    assert "pymatgen" in loaded.split()
    assert not {"torch", "torch_geometric", "lightning", "pandas", "sklearn"} & set(loaded.split())
