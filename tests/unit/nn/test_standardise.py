"""Standardisation: fitted once, in pieces as in one, blind to what did not vary, stored with the weights."""

import pytest
import torch

from tlzoo.errors import UserError
from tlzoo.nn.standardise import FARTHEST, Standardise


@pytest.fixture
def values():
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 1e4, 1e-3, 1.0])
    x = torch.randn((50, 4), generator=generator) * scale + 1e5 * scale
    x[:, 3] = 7.0
    return x


def fitted(*batches):
    module = Standardise(dim=4)
    module.fit(batches)
    return module


def test_mean_0_and_deviation_1(values):
    module = fitted(values)
    y = module(values)[:, :3]
    torch.testing.assert_close(y.mean(0), torch.zeros(3), rtol=0, atol=2e-2)
    torch.testing.assert_close(y.std(0, correction=0), torch.ones(3), rtol=1e-2, atol=0)


def test_pieces_are_as_good_as_the_whole(values):
    whole, pieces = fitted(values), fitted(values[:0], values[:7], values[7:8], values[8:])
    torch.testing.assert_close(pieces.state_dict(), whole.state_dict())


def test_what_did_not_vary_says_nothing(values):
    module = fitted(values)
    values[:, 3] = 1e6
    assert module(values)[:, 3].tolist() == [0] * 50


def test_strange_crystals_are_not_infinitely_strange(values):
    module = fitted(values)
    assert module(values + 1e9)[:, :3].max() == FARTHEST


def test_an_unfitted_one_refuses_and_a_loaded_one_does_not(values):
    fresh = Standardise(dim=4)
    assert not fresh.fitted
    with pytest.raises(UserError, match="scaler has not been fitted: fit the backbone on the training part"):
        fresh(values)
    module = fitted(values)
    fresh.load_state_dict(module.state_dict())
    assert fresh.fitted
    assert torch.equal(fresh(values), module(values))


def test_no_crystals():
    with pytest.raises(UserError, match="the training part has no crystals"):
        fitted(torch.empty((0, 4)))
