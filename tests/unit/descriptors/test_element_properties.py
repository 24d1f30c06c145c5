"""The table of the elements: facts are facts, gaps are named and filled as said."""

import csv

import numpy as np
import pytest

from tlzoo.crystals import SYMBOLS
from tlzoo.descriptors.element_properties import PROPERTIES, TABLE, covered, elements, imputed, read
from tlzoo.nn.elements import properties as own

# from textbooks, not from the table
TEXTBOOK = {
    ("Fe", "atomic_number"): 26,
    ("Cl", "atomic_weight"): 35.45,
    ("W", "melting_point"): 3695,
    ("F", "en_pauling"): 3.98,
    ("Cs", "vdw_radius"): 343,
    ("C", "covalent_radius_pyykko"): 75,
    ("H", "first_ionisation_energy"): 13.598,
    ("He", "dipole_polarizability"): 1.383,
    ("Cu", "thermal_conductivity"): 401,
    ("Al", "num_p_valence"): 1,
    ("Gd", "num_f_valence"): 7,
    ("U", "density"): 19.1,
}


@pytest.mark.parametrize(("symbol", "name"), TEXTBOOK)
def test_facts(symbol, name):
    table = elements()
    z = SYMBOLS.index(symbol)
    assert table.column(name)[z] == pytest.approx(TEXTBOOK[symbol, name], rel=0.01)
    assert table.known[z, table.names.index(name)]


def test_there_are_58_with_unit_and_source():
    rows = read(PROPERTIES)
    assert len(rows) == len({row["name"] for row in rows}) == 58
    assert all(row["unit"] and row["source"] and row["description"] for row in rows)
    assert [row["symbol"] for row in read(TABLE)] == list(SYMBOLS[1:104])


def test_columns_are_those_of_the_periodic_table():
    for z, row in enumerate(read(TABLE), start=1):
        group = own()[z]["group"]
        assert row["column"] == group or (group == "0" and row["column"] in {"lanthanides", "actinides"})


def test_a_gap_is_the_median_of_its_column():
    """By hand from the file: xenon's electronegativity is known, argon's is not."""
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = [float(r["en_pauling"]) for r in rows if r["column"] == "18" and r["en_pauling"]]
    table = elements()
    argon = SYMBOLS.index("Ar")
    assert rows[argon - 1]["en_pauling"] == ""
    assert table.column("en_pauling")[argon] == pytest.approx(np.median(known))
    # of no noble gas: the median of all
    everything = [float(r["bulk_modulus"]) for r in rows if r["bulk_modulus"]]
    assert not [r for r in rows if r["column"] == "18" and r["bulk_modulus"]]
    assert table.column("bulk_modulus")[argon] == pytest.approx(np.median(everything))


def test_every_gap_is_named():
    named = imputed()
    table = elements()
    assert "en_pauling" in named["Ar"]
    assert sum(map(len, named.values())) == int((~table.known[covered()]).sum())
    # common elements: hardly anything
    assert sum(len(named[symbol]) for symbol in ("Li", "Al", "Si", "Ti", "Fe", "Cu", "Ga", "Pb")) <= 4
    assert np.isfinite(table.values).all()


def test_elements_of_which_little_is_known_are_not_covered():
    assert [SYMBOLS[z] for z in range(1, 104) if not covered()[z]] == ["Fm", "Md", "No", "Lr"]
    assert not covered()[0]
