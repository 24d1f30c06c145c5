"""Statistics of elements against the formula written by hand, and their independence of the cell."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.descriptors.composition import composition, names
from tlzoo.descriptors.element_properties import elements
from tlzoo.graphs.graph_chunk import cells_of


def described(*structures):
    crystals = Crystals.from_structures(structures)
    return composition(cells_of(crystals, 0, len(crystals)))


def titania():
    return Structure(Lattice.cubic(4), ["Ti", "O", "O"], [[0, 0, 0], [0.3, 0.3, 0], [0.7, 0.6, 0.2]])


def test_against_the_formula_by_hand():
    iron = Structure(Lattice.cubic(3), ["Fe"], [[0, 0, 0]])
    found = dict(zip(names(), described(iron, titania())[1], strict=True))
    for i, name in enumerate(elements().names):
        ti, o = (elements().values[SYMBOLS.index(symbol), i] for symbol in ("Ti", "O"))
        mean = (ti + 2 * o) / 3
        assert found[f"mean_{name}"] == pytest.approx(mean)
        assert found[f"sum_{name}"] == pytest.approx(ti + 2 * o)
        assert found[f"variance_{name}"] == pytest.approx(((ti - mean) ** 2 + 2 * (o - mean) ** 2) / 3)
        assert (found[f"max_{name}"], found[f"min_{name}"]) == (max(ti, o), min(ti, o))


def test_there_are_290_and_a_pure_element_has_no_variance():
    iron = described(Structure(Lattice.cubic(3), ["Fe"] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert iron.shape == (1, 290)
    assert len(set(names())) == 290
    assert iron[0][[name.startswith("variance_") for name in names()]].tolist() == [0] * 58


def test_the_cell_does_not_matter_not_even_to_the_sum():
    small, large = described(titania(), titania() * (2, 1, 3))
    np.testing.assert_array_equal(small, large)


def test_order_does_not_matter():
    backwards = Structure.from_sites(list(titania())[::-1])
    np.testing.assert_array_equal(*described(titania(), backwards))
