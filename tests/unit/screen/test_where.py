"""Conditions on crystals: what they keep, what they refuse, and that nothing in them is run."""

import numpy as np
import pytest

from tlzoo.data import named
from tlzoo.errors import UserError
from tlzoo.screen.facts import Facts
from tlzoo.screen.where import Where


@pytest.fixture(scope="module")
def facts():
    return Facts(named.load("semiconductors"))


def kept(text, facts):
    return set(facts.formulas[Where(text).keeps(facts)])


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("only(Ga, N)", {"GaN"}),
        ("formula in ('SiC', 'GaN') and not has(N)", {"SiC"}),
        ("has_all(Zn, O) and nelements == 2 or formula == 'C'", {"ZnO", "C"}),
        ("nelements == 1 and spacegroup == 227", {"C", "Si", "Ge"}),
        ("diamond_like and 3.0 < density <= 3.3 and nsites < 5", {"SiC", "BeO", "AlN", "BP"}),
        ("diamond_like and has(O)", {"ZnO", "BeO"}),
        ("volume_per_atom < -1", set()),
    ],
)
def test_keeps(text, formulas, facts):
    found = kept(text, facts)
    assert found <= formulas
    assert len(found) >= len(formulas) - 1  # the example has not all of them


def test_and_or_not_agree_with_python(facts):
    one, two = facts.density > 5, facts.nelements == 2
    np.testing.assert_array_equal(Where("density > 5 or nelements == 2").keeps(facts), one | two)
    np.testing.assert_array_equal(Where("not (density > 5 and nelements == 2)").keeps(facts), ~(one & two))
    np.testing.assert_array_equal(
        Where("4 < density < 5").keeps(facts), (facts.density > 4) & (facts.density < 5)
    )
    np.testing.assert_array_equal(
        Where("nelements not in (2, 3)").keeps(facts), ~np.isin(facts.nelements, [2, 3])
    )


def test_the_dear_is_asked_of_few(facts, monkeypatch):
    asked = []
    monkeypatch.setattr(Facts, "spacegroup", lambda _, rows: asked.append(len(rows)) or np.zeros(len(rows)))
    Where("spacegroup == 227 and formula == 'C'").keeps(facts)
    assert asked == [(facts.formulas == "C").sum()]


def test_columns_of_the_pool_can_be_named(facts):
    where = Where("band_gap > 5 and has(F)", list(facts.crystals.columns))
    assert where.named == ["band_gap"]
    assert (facts.crystals.column("band_gap")[where.keeps(facts)] > 5).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bandgap > 1", "there is no 'bandgap'; there are: nelements, nsites, volume_per_atom, density, "),
        ("O and nsites < 3", r"an element is named by has\(O\)"),
        ("has(Xx)", "Xx is no element"),
        ("has()", "names no element"),
        ("got(O)", "there is no function 'got'; there are: "),
        ("nelements", "nelements is a number, wanted a condition"),
        ("density < 'a'", "density is a number, compared with the text 'a'"),
        ("spacegroup in 3", "3 is no list"),
        ("spacegroup in ()", "is no list"),
        ("nsites is 3", "compared by 'is'"),
        ("a b", "is no expression; there are: "),
        ("", "is no expression"),
        ("nsites < 2 ** 999999999", "is not understood"),
        ("__import__('os').system('true')", "is not understood"),
        ("(lambda: 1)() < 2", "is not understood"),
        ("nsites.__class__ == 3", "is not understood"),
        ("[c for c in 'a'] == 'a'", "is not understood"),
        ("(" * 5000 + "nsites" + ")" * 5000 + " < 3", "is no expression"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(UserError, match=message):
        Where(text)
