"""Tables of formulas: read as crystals without a structure, and said to be so where one is wanted."""

import re

import numpy as np
import pandas as pd
import pytest

import tlzoo
from tlzoo.backbones import CGCNN, Roost
from tlzoo.crystals import Crystals
from tlzoo.data.check import check
from tlzoo.data.duplicates import duplicate_groups, shared_structures
from tlzoo.data.overlap import common
from tlzoo.data.plausibility import findings
from tlzoo.data.sources import read_all
from tlzoo.data.sources.formula import FormulaError, is_formula, read_formula
from tlzoo.data.structure_keys import StructureKeys
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.testing.small_crystals import iron, perovskite, rock_salt

GAPS = "id,formula,gap\na,GaAs,1.4\nb,BaTiO3,3.2\nc,Bi0.5Sb1.5Te3,0.1\nd,Ba2Ti2O6,3.3\n"


@pytest.fixture
def gaps(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text(GAPS)
    return path


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("NaCl", {"Na": 1, "Cl": 1}),
        ("CO", {"C": 1, "O": 1}),
        ("Co", {"Co": 1}),
        ("Fe2O3", {"Fe": 2, "O": 3}),
        ("Fe₂O₃", {"Fe": 2, "O": 3}),
        ("Fe_2 O_3", {"Fe": 2, "O": 3}),
        ("O6Ti2Ba2", {"Ba": 1, "Ti": 1, "O": 3}),
        ("Ca3(PO4)2", {"Ca": 3, "P": 2, "O": 8}),
        ("K[Fe(CN)3]2", {"K": 1, "Fe": 2, "C": 6, "N": 6}),
        ("CuSO4·5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("CuSO4*5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("Ga.5In.5As", {"Ga": 1, "In": 1, "As": 2}),
        ("(Al0.3Ga0.7)0.5As0.5", {"Al": 3, "Ga": 7, "As": 10}),
        ("Fe2O3.H2O", {"Fe": 1, "O": 2, "H": 1}),
        ("CuSO4‧5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("Na0.7CoO2·1.3H2O", {"Na": 7, "Co": 10, "O": 33, "H": 26}),
        ("2.5H2O", {"O": 1, "H": 2}),
        ("NaCl\u200b", {"Na": 1, "Cl": 1}),
        ("Li0.5H2O", {"Li": 1, "H": 4, "O": 2}),
        ("Ni1.5H2O4", {"Ni": 3, "H": 4, "O": 8}),
        ("LiFe0PO4", {"Li": 1, "P": 1, "O": 4}),
        # ten thousand atoms at most
        ("Ga0.33333As0.66667", {"Ga": 3333, "As": 6667}),
        ("Sr8.007Ge2.043Bi7.949Se24", {"Sr": 1906, "Ge": 486, "Bi": 1893, "Se": 5714}),
        ("Fe0.99999C0.00001", {"Fe": 10000, "C": 1}),
    ],
)
def test_a_formula_is_read(text, wanted):
    assert {tlzoo.crystals.SYMBOLS[z]: n for z, n in read_formula(text)} == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wanted 1 to 200 characters, got 0"),
        ("Xx2", "'Xx' is no element"),
        ("CuSO4.5H2O", "write CuSO4·5H2O or, if it is a number"),
        ("Ca SO4.2(H2O)", "write CaSO4·2(H2O) or"),
        ("Ni(NO3)2.6H2O", "write Ni(NO3)2·6H2O or"),
        ("GaxAs", "'x' has no meaning there"),
        ("Ga(As", "its brackets do not close"),
        ("GaAs)", "its brackets do not close"),
        ("(2)As", "2 is of nothing"),
        ("Ga0", "there are no atoms in it"),
        ("Na+", "'+' has no meaning there; leave charges out"),
        ("Fe0,5O", "decimals have a point"),
        ("H" * 300, "wanted 1 to 200 characters, got 300"),
        ("K4[Fe(CN)6].3H2O", "write K4(Fe(CN)6)·3H2O or"),
        ("Al2O3.2SiO2", "3.2 may be a number, or a stop between two compounds: write Al2O3·2SiO2 or"),
        ("CoO.Fe2O3", "between compounds write ·"),
        ("·NaCl", "a compound is missing"),
        ("NaCl··KCl", "a compound is missing"),
    ],
)
def test_what_is_no_formula_is_told_with_the_reason(text, message):
    assert not is_formula(text)
    with pytest.raises(FormulaError, match=re.escape(message)):
        read_formula(text)


def test_a_table_of_formulas_holds_crystals_without_structures(gaps):
    crystals = tlzoo.read(gaps, targets=["gap"])
    assert crystals.ids.tolist() == ["a", "b", "c", "d"]
    assert not crystals.structured.any()
    assert crystals.formulas == ["Ga1-As1", "O3-Ti1-Ba1", "Sb3-Te6-Bi1", "O3-Ti1-Ba1"]
    assert crystals.columns["gap"].tolist() == [1.4, 3.2, 0.1, 3.3]
    with pytest.raises(UserError, match=r"gaps\.csv, line 2 is a formula without a structure"):
        crystals[0]
    with pytest.raises(UserError, match=r"gaps.csv, line 2 and 3 more: a formula without a structure: bring"):
        batch_of(crystals, CGCNN(dim=4, depth=1).graph)


def test_all_ways_give_the_same_table(gaps, tmp_path):
    wanted = tlzoo.read(gaps, targets=["gap"])
    table = pd.read_csv(gaps)
    table.rename(columns={"formula": "Composition"}).to_parquet(tmp_path / "gaps.parquet")
    wanted.write_parquet(tmp_path / "columnar.parquet")
    for source in (
        table,
        wanted.to_pandas(),
        tmp_path / "gaps.parquet",
        tmp_path / "columnar.parquet",
    ):
        got = tlzoo.read(source, targets=["gap"])
        assert got.content_hash == wanted.content_hash
        assert got.ids.tolist() == wanted.ids.tolist()
        assert got.columns["gap"].tolist() == wanted.columns["gap"].tolist()
    assert Crystals.read_parquet(tmp_path / "columnar.parquet").content_hash == wanted.content_hash


def test_amounts_with_many_decimals_are_rounded(tmp_path):
    (tmp_path / "gaps.csv").write_text("formula,gap\nSr8.007Ge2.043Bi7.949Se24,0.3\n")
    crystals = tlzoo.read(tmp_path / "gaps.csv", targets=["gap"])
    assert crystals.formulas == ["Ge486-Se5714-Sr1906-Bi1893"]
    assert len(batch_of(crystals, Roost(dim=4, depth=1).graph).numbers) == 4


def test_ids_of_tables_and_lists_in_memory():
    assert tlzoo.read(pd.DataFrame({"formula": ["GaAs", "Si"], "id": [7, 8]})).ids.tolist() == ["7", "8"]
    assert tlzoo.read(["GaAs", "Si"]).formulas == ["Ga1-As1", "Si1"]
    assert tlzoo.read("GaAs").ids.tolist() == ["GaAs"]


def test_ids_in_a_file_without_a_column_of_them(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("formula,gap\nGaAs,1.4\nSi,1.1\n")
    assert tlzoo.read(path).ids.tolist() == ["GaAs", "Si"]
    path.write_text("formula,gap\nGaAs,1.4\nGaAs,1.5\n")
    assert tlzoo.read(path).ids.tolist() == ["1", "2"]


def test_a_column_that_is_named_may_have_any_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("compound,gap\nGaAs,1.4\nSi,1.1\n")
    assert tlzoo.read(path, structure_column="compound").formulas == ["Ga1-As1", "Si1"]
    with pytest.raises(UserError, match="or is called formula or composition; there are: compound, gap"):
        tlzoo.read(path)


def test_wrong_formulas_are_named_by_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("formula,gap\nGaAs,1.4\nGax,1.1\n,3\n")
    crystals, problems = read_all(path, targets=["gap"])
    assert crystals.ids.tolist() == ["GaAs"]
    reason = "'x' has no meaning there; elements are written as in NaCl, amounts as numbers"
    assert sorted(map(str, problems)) == [
        f"{path}, line 3: 'Gax' cannot be read as a formula: {reason}",
        f"{path}, line 4: column 'formula' is empty; wanted a formula",
    ]


def test_structures_count_before_formulas(tmp_path):
    table = pd.DataFrame({"formula": ["Fe"], "structure": [iron()], "gap": [0.0]})
    assert tlzoo.read(table).structured.all()
    iron().to(str(tmp_path / "one.cif"))
    (tmp_path / "labels.csv").write_text("id,formula,gap\none,Fe,0\n")
    assert tlzoo.read(tmp_path / "labels.csv", targets=["gap"]).structured.all()


def test_a_table_of_formulas_may_lie_beside_structures(gaps):
    wanted = tlzoo.read(gaps, targets=["gap"]).content_hash
    iron().to(str(gaps.with_name("iron.cif")))
    assert tlzoo.read(gaps, targets=["gap"]).content_hash == wanted


def test_those_of_one_formula_are_one_crystal(gaps):
    crystals = tlzoo.read(gaps)
    assert duplicate_groups(crystals).tolist() == [0, 1, 2, 1]
    structures = Crystals.from_structures([perovskite(), rock_salt()])
    mixed = Crystals.concatenated([structures, crystals.select([1])])
    assert duplicate_groups(mixed).tolist() == [0, 1, 0]
    assert shared_structures(mixed, [np.array([0, 1]), np.array([2])])[0].tolist() == [0, 1, 0]
    for one, other, wanted in (
        (crystals, structures, [False, True, False, True]),
        (structures, crystals, [True, False]),
        (crystals.select([0, 2]), crystals.select([0, 1]), [True, False]),
    ):
        assert common(one, other)[0].tolist() == wanted
        assert StructureKeys.of(other).holds(one).tolist() == wanted


def test_the_report_says_that_there_are_no_structures(gaps):
    report = check(gaps, targets=["gap"])
    text = report.text()
    assert "4 of these are formulas without a structure, for models that read formulas" in text
    assert "line 5: has the formula of" in text
    assert "its gap is 3.3, not 3.2" in text
    assert not [problem for problem in report.errors if problem.kind != "training"]


def test_nothing_is_strange_about_a_formula(gaps):
    assert not list(findings(tlzoo.read(gaps)))
    assert np.isnan(tlzoo.read(gaps).volume_per_atom).all()
