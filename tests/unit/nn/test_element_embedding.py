import jaxtyping
import numpy as np
import pytest
import torch

from tlzoo.crystals import SYMBOLS
from tlzoo.errors import UserError
from tlzoo.nn.element_embedding import (
    ElementEmbedding,
    check_numbers,
    feature_table,
    features,
)
from tlzoo.nn.elements import covered, properties

SIZES = {
    "group": 19,
    "period": 7,
    "electronegativity": 10,
    "radius": 10,
    "valence": 12,
    "ionisation": 10,
    "affinity": 10,
    "block": 4,
    "volume": 10,
}
# by hand from the supplement's ranges and textbook values: bin in each block, None is unknown
BY_HAND = {
    "H": [1, 0, 4, 0, 0, 6, 5, 0, 3],  # χ 2.20, 31 pm, ln 13.6 = 2.61, 0.754 eV, ln 11.42 = 2.44
    "O": [16, 1, 8, 1, 5, 6, 6, 1, 4],  # χ 3.44, 66 pm, ln 13.6 = 2.61, 1.46 eV, ln 17.36 = 2.85
    "Fe": [8, 3, 3, 4, 7, 3, 4, 2, 1],  # χ 1.83, 132 pm, ln 7.90 = 2.07, 0.153 eV, ln 7.09 = 1.96
    "La": [0, 5, 1, 8, 2, 2, 5, 3, 5],  # χ 1.10, 207 pm, ln 5.58 = 1.72, 0.557 eV, ln 22.4 = 3.11
    "Ne": [18, 1, None, 1, 7, 8, 2, 1, 3],  # no χ, 58 pm, ln 21.56 = 3.07, -1.22 eV, ln 13.23 = 2.58
}


def blocks(symbol):
    parts = torch.split(features(SYMBOLS.index(symbol)), list(SIZES.values()))
    return [int(part.argmax()) if part.any() else None for part in parts]


@pytest.mark.parametrize("symbol", BY_HAND)
def test_blocks_are_those_counted_by_hand(symbol):
    assert blocks(symbol) == BY_HAND[symbol]


def test_every_element_has_one_entry_per_known_property():
    table = feature_table()
    assert table.shape == (104, 92)
    assert set(table.unique().tolist()) == {0.0, 1.0}
    assert not table[0].any()
    for number, row in properties().items():
        assert table[number].sum() == sum(
            1 for name, text in row.items() if name not in {"number", "symbol"} and text
        )


def test_table_covers_the_first_103_elements_with_their_symbols():
    assert covered() == tuple(range(1, 104))
    assert [row["symbol"] for row in properties().values()] == list(SYMBOLS[1:104])


def test_elements_that_occur_in_crystals_differ():
    rows = feature_table()[1:96].numpy()
    assert len(np.unique(rows, axis=0)) >= 85


def test_an_element_outside_the_table_is_named():
    with pytest.raises(
        UserError, match=r"no features for element Og \(Z = 118\); it covers H \(Z = 1\) to Lr"
    ):
        check_numbers(torch.tensor([8, 118]))
    with pytest.raises(UserError, match=r"element Z = 0"):
        ElementEmbedding(features="learned", dim=4)(torch.tensor([0]))


def test_embedding_is_linear_in_the_features_or_free():
    numbers = torch.tensor([1, 8, 8])
    linear = ElementEmbedding(dim=5)
    torch.testing.assert_close(linear(numbers)[1], linear.linear(features(8)))
    learned = ElementEmbedding(features="learned", dim=5)
    torch.testing.assert_close(learned(numbers), learned.linear.weight[numbers])


def test_unknown_features_are_refused(monkeypatch):
    # outside the tests nothing but the code itself checks arguments
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=r"features must be 'elements' or 'learned', got 'magpie'"):
        ElementEmbedding(features="magpie", dim=5)


def test_the_table_is_not_stored_with_the_weights():
    assert set(ElementEmbedding(dim=3).state_dict()) == {"linear.weight", "linear.bias"}
