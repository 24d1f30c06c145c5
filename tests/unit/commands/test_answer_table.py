"""What `tlzoo predict` shows on a screen."""

import numpy as np
import pytest

from tlzoo.commands import answer_table
from tlzoo.model import trust

CARD = {"theory": {"gap": "PBE(+U)"}, "metrics": {"gap": {"mae": 0.263}}}


def table(rows, **columns):
    ids = {"id": np.array([f"c{row}" for row in range(rows)], dtype=object)}
    words = {
        trust.TRUST: np.full(rows, trust.LIKE, dtype=object),
        trust.UNSEEN: np.full(rows, "", dtype=object),
        trust.DISTANCE: np.full(rows, 1.0, dtype=np.float32),
    }
    made = {name: np.asarray(values, dtype=np.float32) for name, values in columns.items()}
    return ids | made | words


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_units_methods_errors_and_intervals():
    gaps = np.array([0.5, 12.25])
    shown = answer_table.text(
        "net", CARD, {"gap": "eV"}, table(2, gap=gaps, gap_q5=gaps - 0.4, gap_q95=gaps + 0.4)
    )
    assert shown.splitlines() == [
        "net: 2 crystals",
        "",
        "property  unit  learned from  mean test error",
        "gap       eV    PBE(+U)       0.263",
        "",
        "             gap",
        "id            eV",
        "c0   0.50 ± 0.40",
        "c1  12.25 ± 0.40",
        "",
        "± and […]: should contain 90 % of crystals like those they were measured on",
    ]


def test_what_intervals_held_of_test_crystals_and_where_errors_are_larger(monkeypatch):
    card = CARD | {"intervals": {"gap": {"test": {"held": 1234, "crystals": 1300}}}}
    monkeypatch.setenv("COLUMNS", "100")
    made = table(1, gap=[1.0], gap_q5=[0.5], gap_q95=[1.5])
    far = "Expect larger errors where a crystal is out of domain or has unknown elements"
    shown = answer_table.text("net", card, {"gap": "eV"}, made).splitlines()
    assert shown[2].endswith("  mean test error  intervals held")
    assert shown[3].endswith("  0.263            1,234 of 1,300")
    assert far not in shown
    made[trust.TRUST][:] = trust.FAR
    assert answer_table.text("net", card, {"gap": "eV"}, made).splitlines()[-1] == far
    # several networks together have none, whatever the card of the first says
    assert "held" not in answer_table.text("net", card, {"gap": "eV"}, table(1, gap=[1.0]))


@pytest.mark.parametrize("rows", [1, 3])
def test_nothing_is_wider_than_the_terminal(rows, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    names = [f"elastic.log10_g_{i}" for i in range(6)]
    card = {
        "theory": dict.fromkeys(names, "SevenNet-0"),
        "metrics": {name: {"mae": 0.0977} for name in names},
        "intervals": {name: {"test": {"held": 20_000, "crystals": 21_000}} for name in names},
    }
    made = table(rows, **{name + end: np.ones(rows) for name in names for end in ("", "_q5", "_q95")})
    made[trust.TRUST][:] = trust.FAR
    lines = answer_table.text("net", card, dict.fromkeys(names, "log10(GPa)"), made).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(line.count("20,000 of 21,000") for line in lines) == len(names)
    assert "" not in (lines[0], lines[-1])


def test_an_interval_that_is_not_symmetric_is_shown_by_its_ends():
    shown = answer_table.text(
        "net", {}, {"gap": "eV"}, table(2, gap=[0.1, 3.0], gap_q5=[0.0, 2.5], gap_q95=[0.6, 3.5])
    )
    assert "c0  0.100 [0.000, 0.600]" in shown
    assert "c1  3.000 [2.500, 3.500]" in shown


def test_what_is_known_of_a_crystal_is_said_beside_it():
    made = table(4, gap=[1.0, 2.0, 3.0, 4.0])
    made[trust.TRUST][:3] = trust.IN, trust.ELEMENTS, trust.FAR
    made[trust.UNSEEN][1] = "He, Xe"
    made[trust.DISTANCE][2] = 4.2
    lines = answer_table.text("net", {}, {"gap": "eV"}, made).splitlines()
    assert lines[-4:] == [
        "c0  1.000  known: in training",
        "c1  2.000  unknown elements: He, Xe",
        "c2  3.000  out of domain (distance 4.2)",
        "c3  4.000",
    ]


def test_of_many_crystals_the_first_and_how_many_more():
    shown = answer_table.text("net", {}, {"gap": "eV"}, table(1234, gap=np.arange(1234)))
    assert "\nc19 " in shown
    assert "\nc20 " not in shown
    assert shown.endswith("… and 1,214 more: -o FILE writes all")


def test_the_properties_of_one_crystal_stand_below_each_other():
    made = table(1, gap=[1.5], k=[200.0])
    made[trust.TRUST][0] = trust.IN
    shown = answer_table.text("net", CARD, {"gap": "eV", "k": "GPa"}, made)
    assert shown.splitlines() == [
        "net: c0, known: in training",
        "",
        "property  value  unit  learned from  mean test error",
        "gap       1.500  eV    PBE(+U)       0.263",
        "k         200.0  GPa",
    ]


def test_columns_beyond_the_screen_go_below():
    names = [f"property_{i}" for i in range(10)]
    made = table(2, **{name: [1.0, 2.0] for name in names})
    shown = answer_table.text("net", {}, dict.fromkeys(names, "eV"), made)
    assert max(map(len, shown.splitlines())) <= 80
    assert all(name in shown for name in names)
    assert shown.count("\nc0 ") == 2


def test_a_probability_says_of_which_class():
    shown = answer_table.text("net", CARD, {"wide": "1"}, table(1, wide_probability=[0.75]))
    assert "wide_probability: the probability that wide is 1 (true, yes)" in shown
    several = {"kind_class": [1.0], "kind_probability_0": [0.2], "kind_probability_1": [0.8]}
    said = list(answer_table.classes({"kind": "1"}, table(1, **several)))
    assert said == ["kind_class: the most probable class; kind_probability_N: the probability of class N"]
    assert list(answer_table.classes({"gap": "eV"}, table(1, gap=[1.0]))) == []
