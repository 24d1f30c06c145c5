"""Sums over processes: shares of a batch, statistics, and what one process does alone."""

import numpy as np
import pytest
import torch

from tlzoo.data.batches import EpochSampler, Shares
from tlzoo.machine import distributed
from tlzoo.machine.distributed import Together, balanced

RNG = np.random.default_rng(0)


def test_one_process_is_alone():
    assert (distributed.world(), distributed.rank()) == (1, 0)
    assert distributed.gather("fact") == ["fact"]
    assert distributed.totals((3, 4)) == [3, 4]
    assert distributed.together() is None
    assert distributed.seed(5, 2) == 7
    with distributed.first():
        pass
    values = torch.randn(3, 2)
    assert distributed.collected(torch.arange(3), values, np.arange(3)) is values


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_are_whole_and_about_equal(count):
    sizes = np.ceil(RNG.lognormal(6, 1.4, size=50)).astype(np.int64)
    shares = balanced(sizes, count)
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(50))
    loads = [sizes[share].sum() for share in shares]
    # Graham's bound: no share exceeds the mean by more than the largest crystal
    assert max(loads) <= sizes.sum() / count + sizes.max()
    assert max(loads) - min(loads) <= sizes.max()


def test_the_shares_of_all_processes_are_the_batches_of_one():
    sizes = RNG.integers(4, 200, size=41)
    one = EpochSampler(np.arange(41), batch_size=8, shuffle=True, seed=3, sizes=sizes, budget=200)
    several = [Shares(one, sizes, number=number, count=3) for number in range(3)]
    for epoch in (0, 1):
        several[0].set_epoch(epoch)
        batches, shares = list(one), list(zip(*several, strict=True))
        assert len(shares) == len(batches) == len(several[1])
        for batch, parts in zip(batches, shares, strict=True):
            np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(batch))
        assert any(len(part) == 0 for parts in shares for part in parts)


@pytest.fixture
def parts(monkeypatch):
    """Three processes, one of which has nothing; this one is the last."""
    monkeypatch.setattr(distributed, "world", lambda: 3)
    monkeypatch.setattr(distributed, "rank", lambda: 2)
    return [torch.randn(5, 4) + 10, torch.zeros(0, 4), torch.randn(2, 4)]


def test_pooled_statistics_are_those_of_the_whole(parts, monkeypatch):
    def moments(x):
        if not len(x):
            return torch.zeros(4), torch.zeros(4), torch.zeros(1)
        return x.mean(0), x.var(0, correction=0), torch.tensor([float(len(x))])

    def add_others(self, table):
        table[:2] = torch.stack([torch.cat(moments(part)) for part in parts[:2]])
        return table

    monkeypatch.setattr(Together, "sum", add_others)
    mean, variance, size = Together().pooled(*moments(parts[2]))
    whole = torch.cat(parts)
    assert size == 7
    torch.testing.assert_close(mean, whole.mean(0))
    torch.testing.assert_close(variance, whole.var(0, correction=0))


def test_statistics_of_nothing_are_finite(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 1)
    monkeypatch.setattr(distributed.dist, "all_reduce", lambda *_, **__: None)
    mean, variance, size = Together().pooled(torch.zeros(4), torch.zeros(4), torch.tensor(0.0))
    assert mean.isfinite().all()
    assert variance.isfinite().all()
    assert size == 0


def test_collected_values_are_in_order_and_each_once(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 2)
    order = np.array([30, 10, 20])
    other = torch.tensor([10, 30]), torch.tensor([[1.0], [3.0]])
    monkeypatch.setattr(distributed, "gather", lambda fact: [other, fact])
    own = torch.tensor([20]), torch.tensor([[2.0]])
    torch.testing.assert_close(distributed.collected(*own, order), torch.tensor([[3.0], [1.0], [2.0]]))
    with pytest.raises(RuntimeError, match="have not computed each crystal once"):
        distributed.collected(torch.tensor([10]), own[1], order)


def test_no_two_processes_have_the_same_seed(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 4)
    seeds = set()
    for number in range(4):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        seeds |= {distributed.seed(0, epoch) for epoch in range(10)}
    assert len(seeds) == 40
