import jaxtyping
import pytest
import torch

from tlzoo.errors import UserError
from tlzoo.nn.pooling import Pool, highest_is_one, statistics

BATCH = torch.tensor([0, 0, 0, 1, 2, 2])
PARTS = (slice(0, 3), slice(3, 4), slice(4, 6))
ONES = torch.ones(6)
COUNT = torch.tensor([1.0, 3.0, 1.0, 2.0, 4.0, 1.0])


@pytest.fixture
def x():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("pooling", "wanted"),
    [("mean", lambda x: x.mean(0)), ("sum", lambda x: x.sum(0)), ("max", lambda x: x.amax(0))],
)
def test_pool_is_what_its_name_says(x, pooling, wanted):
    pooled = Pool(pooling, dim=4)(x, BATCH, ONES, 3)
    torch.testing.assert_close(pooled, torch.stack([wanted(x[part]) for part in PARTS]))


def test_statistics_count_every_atom(x):
    again = torch.repeat_interleave(torch.arange(6), COUNT.long())
    wanted = []
    for crystal in range(3):
        atoms = x[again][BATCH[again] == crystal]
        wanted.append(torch.cat([atoms.mean(0), atoms.std(0, correction=0), atoms.amax(0)]))
    torch.testing.assert_close(statistics(x, BATCH, COUNT, 3), torch.stack(wanted), rtol=1e-5, atol=2e-6)


def test_statistics_of_one_atom_have_a_slope(x):
    """Its deviation is zero, where a square root has none."""
    x = x[3:4].clone().requires_grad_()
    found = statistics(x, torch.zeros(1, dtype=torch.long), torch.tensor([2.0]), 1)
    torch.testing.assert_close(found[0], torch.cat([x[0], torch.zeros(4), x[0]]))
    (slope,) = torch.autograd.grad(found.sum(), [x])
    torch.testing.assert_close(slope, torch.full((1, 4), 2.0))


def test_attention_is_a_softmax_weighted_mean(x):
    pool = Pool("attention", dim=4)
    wanted = [torch.softmax(x[part] @ pool.score.weight[0], 0) @ x[part] for part in PARTS]
    torch.testing.assert_close(pool(x, BATCH, ONES, 3), torch.stack(wanted))


@pytest.mark.parametrize("pooling", ["mean", "sum", "max", "attention"])
def test_an_atom_counts_as_often_as_it_is_in_the_cell(x, pooling):
    pool = Pool(pooling, dim=4)
    again = torch.repeat_interleave(torch.arange(6), COUNT.long())
    wanted = pool(x[again], BATCH[again], torch.ones(len(again)), 3)
    torch.testing.assert_close(pool(x, BATCH, COUNT, 3), wanted)


def test_attention_survives_large_scores():
    weights = highest_is_one(torch.tensor([[1e4], [1e4], [0.0], [-1e4], [0.0], [0.0]]), BATCH, 3)
    torch.testing.assert_close(weights[:, 0], torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0]))


@pytest.mark.parametrize("pooling", ["mean", "sum", "max", "attention"])
def test_pool_is_fp32_under_autocast(x, pooling):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Pool(pooling, dim=4)(x.bfloat16(), BATCH, COUNT, 3).dtype == torch.float32


def test_unknown_names_are_refused(monkeypatch):
    # outside the tests nothing but the code itself checks arguments
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=r"pooling must be 'mean', 'sum', 'max' or 'attention', got 'median'"):
        Pool("median", dim=4)
