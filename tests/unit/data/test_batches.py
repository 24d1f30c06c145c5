"""Batches: every crystal once an epoch, the same order again, within the budget."""

import numpy as np
import pytest
from torch.utils.data import DataLoader

from tlzoo.data.batches import EpochSampler, dealt, loads
from tlzoo.errors import UserError

RNG = np.random.default_rng(0)
SIZES = RNG.integers(4, 200, size=301)
# as in a data set of inorganic crystals: most are small, a few fill a batch
SKEWED = np.ceil(RNG.lognormal(6, 1.4, size=3000)).astype(np.int64)


def batches(**options):
    return list(sampler(**options))


def sampler(**options):
    options = {"batch_size": 32, "shuffle": True, "positions": np.arange(301), **options}
    if options.get("budget") is not None:
        options.setdefault("sizes", SIZES)
    return EpochSampler(**options)


@pytest.mark.parametrize("budget", [None, 150, 400, 5000, 100_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_crystal_once_and_as_many_batches_as_promised(budget, shuffle):
    chosen = sampler(shuffle=shuffle, seed=3, budget=budget)
    for epoch in range(20):
        chosen.set_epoch(epoch)
        got = list(chosen)
        assert len(got) == len(chosen)
        assert all(batch.dtype == np.int64 and len(batch) for batch in got)
        np.testing.assert_array_equal(np.sort(np.concatenate(got)), np.arange(len(SIZES)))


@pytest.mark.parametrize("budget", [None, 600])
def test_the_order_depends_on_seed_and_epoch_alone(budget):
    straight = sampler(seed=1, budget=budget)
    straight.set_epoch(5)
    first = list(straight)
    resumed = sampler(seed=1, budget=budget)
    resumed.set_epoch(4)
    other_epoch = list(resumed)
    resumed.set_epoch(5)
    for one, two in zip(first, resumed, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0], other_epoch[0])
    assert not np.array_equal(batches(seed=1, budget=budget)[0], batches(seed=2, budget=budget)[0])


def test_the_given_positions_come_out():
    positions = np.array([7, 3, 900, 4])
    np.testing.assert_array_equal(batches(positions=positions, batch_size=3, shuffle=False)[0], [7, 3, 900])
    got = batches(positions=positions, sizes=np.array([1, 1, 50, 1]), budget=50)
    np.testing.assert_array_equal(sorted(np.concatenate(got)), [3, 4, 7, 900])
    assert [900] in [batch.tolist() for batch in got]


def test_without_shuffling_the_order_is_kept():
    for budget in (None, 300):
        np.testing.assert_array_equal(np.concatenate(batches(shuffle=False, budget=budget)), np.arange(301))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("budget", [250, 500, 2000])
def test_a_batch_stays_within_the_budget(shuffle, budget):
    for batch in batches(shuffle=shuffle, budget=budget):
        assert len(batch) <= 32
        assert SIZES[batch].sum() <= budget


def test_a_crystal_beyond_the_budget_stands_alone():
    sizes = np.array([10, 900, 10, 10])
    got = sorted(batches(positions=np.arange(4), sizes=sizes, budget=100), key=len)
    np.testing.assert_array_equal(got[0], [1])
    assert len(got) == 2


def test_a_budget_that_no_batch_can_exceed_changes_nothing():
    most = int(np.sort(SIZES)[-33:].sum())
    for shuffle in (True, False):
        free, loose = (sampler(shuffle=shuffle, budget=budget) for budget in (None, most))
        assert not loose.limited
        assert [batch.tolist() for batch in free] == [batch.tolist() for batch in loose]
    assert sampler(budget=most - 1).limited


@pytest.mark.parametrize("batch_size", [16, 50, 64])
def test_the_budget_wastes_little(batch_size):
    """Batches are nearly as full as they could be, however unlike the crystals are."""
    for budget in (SKEWED.max() // 2, SKEWED.max(), 3 * SKEWED.max()):
        chosen = EpochSampler(
            np.arange(3000), batch_size=batch_size, shuffle=True, sizes=SKEWED, budget=int(budget)
        )
        least = np.clip(SKEWED / budget, 1 / batch_size, 1).sum()
        assert len(chosen) <= 1.12 * least + 1, (len(chosen), least)
        for batch in chosen:
            assert len(batch) <= batch_size
            assert SKEWED[batch].sum() <= budget or len(batch) == 1


def test_large_crystals_meet_others_in_every_epoch():
    chosen = EpochSampler(np.arange(3000), batch_size=32, shuffle=True, sizes=SKEWED, budget=40_000)
    assert chosen.limited
    large = int(np.argsort(SKEWED)[-30])
    company = []
    for epoch in range(8):
        chosen.set_epoch(epoch)
        company.append(frozenset(next(batch for batch in chosen if large in batch).tolist()))
    assert len(set(company)) == 8
    assert max(len(one & other) for one in company for other in company if one is not other) < 10


def test_loads_are_rounded_up_but_a_batch_full_of_small_crystals_is_full():
    got = loads(np.array([1, 10, 26, 300, 1000, 5000]), 40, 1000)
    np.testing.assert_array_equal(got[:2], 1 / 40)
    assert np.all(got[2:4] >= [0.026, 0.3])
    assert np.all(got[2:4] < np.array([0.026, 0.3]) * 2 ** (1 / 8))
    np.testing.assert_array_equal(got[4:], 1)
    assert dealt(np.full(80, 1 / 40)).max() == 1


def test_a_last_single_crystal_joins_the_batch_before_it_in_training_only():
    nine = np.arange(9)
    assert [len(b) for b in batches(positions=nine, batch_size=4)] == [4, 5]
    assert [len(b) for b in batches(positions=nine, batch_size=4, shuffle=False)] == [4, 4, 1]
    assert [len(b) for b in batches(positions=np.arange(3), batch_size=1)] == [1, 1, 1]
    assert batches(positions=np.arange(0)) == []
    assert batches(positions=np.arange(0), sizes=np.arange(0), budget=3) == []


def test_a_data_loader_hands_the_positions_on_unchanged():
    loader = DataLoader(_Positions(), sampler=sampler(), batch_size=None)
    assert len(loader) == 10
    loader.sampler.set_epoch(2)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(loader))), np.arange(301))


class _Positions:
    def __getitem__(self, positions):
        return positions

    def __len__(self):
        return len(SIZES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"budget": 0}, "budget of a batch must be at least 1, got 0"),
        ({"sizes": SIZES}, "sizes a budget; give both or neither"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        batches(**options)
