"""Roost against the published equations, written as loops."""

import math

import pandas as pd
import pytest
import torch
from torch.nn.functional import leaky_relu

import tlzoo
from tlzoo.backbones import Roost
from tlzoo.descriptors.stores import batch_of, open_store
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.testing.backbone_contract import double

FORMULAS = ["NaCl", "BaTiO3", "Fe", "Bi0.5Sb1.5Te3", "Ca3(PO4)2"]


@pytest.fixture(scope="module")
def formulas():
    return tlzoo.read(pd.DataFrame({"formula": FORMULAS}))


def attended(attention, first, amounts):
    """Eqs. 4 to 6 of Goodall & Lee for one segment, head by head and member by member."""
    result = torch.zeros(attention.out.out_features, dtype=torch.float64)
    size = attention.hidden
    for head in range(attention.heads):
        here = slice(head * size, (head + 1) * size)
        scores, messages = [], []
        for member in first:
            score, message = member[: len(member) // 2], member[len(member) // 2 :]
            scores.append(float(leaky_relu(score[here], 0.01) @ attention.score[head]))
            # of a head: the mean over heads of its own last layer
            last = attention.heads * attention.out.weight[:, here]
            messages.append(last @ leaky_relu(message[here], 0.01) + attention.out.bias)
        power = float(attention.power[head])
        weights = [w**power * math.exp(score) for w, score in zip(amounts, scores, strict=True)]
        for weight, message in zip(weights, messages, strict=True):
            result += weight / sum(weights) * message / attention.heads
    return result


def by_loops(backbone, numbers, counts):
    """The embedding of one formula, from element to element."""
    fractions = [count / sum(counts) for count in counts]
    h = [
        torch.cat([backbone.embed(torch.tensor([z]))[0], torch.tensor([w], dtype=torch.float64)])
        for z, w in zip(numbers, fractions, strict=True)
    ]
    for update in backbone.updates:
        # one matrix on the two vectors, side by side
        matrix = torch.cat([update.centre.weight, update.other.weight], dim=1)
        new = []
        for i in range(len(h)):
            first = [matrix @ torch.cat([h[i], h[j]]) + update.centre.bias for j in range(len(h))]
            new.append(h[i] + attended(update.attention, first, fractions))
        h = new
    return attended(backbone.pool.attention, [backbone.pool.first(one) for one in h], fractions)


@pytest.mark.parametrize("features", ["elements", "learned"])
def test_the_embedding_is_that_of_the_published_equations(formulas, features):
    torch.manual_seed(0)
    backbone = Roost(dim=6, depth=2, heads=3, hidden=5, features=features).double()
    with torch.no_grad():
        for attention in (*(update.attention for update in backbone.updates), backbone.pool.attention):
            attention.power.copy_(torch.tensor([0.5, 1.0, 1.7]))
        got = backbone(double(batch_of(formulas, backbone.graph)))
        for row, parts in zip(got, formulas.compositions(), strict=True):
            wanted = by_loops(backbone, [z for z, _ in parts], [n for _, n in parts])
            torch.testing.assert_close(row, wanted, rtol=1e-6, atol=1e-7)


def test_with_equal_scores_the_weights_are_the_fractions(formulas):
    attention = Roost(dim=4, depth=1, heads=2, hidden=3).pool.attention
    with torch.no_grad():
        attention.score.zero_()
        first = torch.rand(3, attention.width)
        amount = torch.tensor([0.2, 0.3, 0.5])
        got = attention(first, amount, torch.zeros(3, dtype=torch.long), torch.tensor([0, 3]))
        messages = leaky_relu(first[:, attention.width // 2 :], 0.01)
        torch.testing.assert_close(got[0], attention.out(amount @ messages))


def test_scores_of_any_size_give_numbers(formulas):
    attention = Roost(dim=4, depth=1, heads=2, hidden=3).pool.attention
    first = 1e6 * torch.randn(3, attention.width)
    got = attention(
        first, torch.tensor([0.1, 0.2, 0.7]), torch.zeros(3, dtype=torch.long), torch.tensor([0, 3])
    )
    assert got.isfinite().all()


def test_a_batch_holds_the_elements_of_each_formula(formulas):
    store = open_store(formulas, Roost().graph)
    assert store.num_rows.tolist() == [4, 9, 1, 9, 9]
    batch = store.select([3, 0]).batch([0, 1])
    assert batch[keys.NUMBERS].tolist() == [51, 52, 83, 11, 17]
    assert batch[keys.ATOM_COUNT].tolist() == [3, 6, 1, 1, 1]
    assert batch[keys.BATCH].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dim": 1}, "dim must be at least 2"),
        ({"heads": 0}, "must be at least 1"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_arguments_are_checked(options, text):
    with pytest.raises(UserError, match=text):
        Roost(**options)
