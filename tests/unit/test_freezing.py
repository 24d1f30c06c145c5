"""Freezing strategies as values, and their application."""

import pytest
import torch
from torch import nn

from tlzoo import freezing
from tlzoo.errors import UserError
from tlzoo.freezing import LPFT, All, Gradual, LastLayer, LoRA, NewHead, Only, ThreeBody, TwoBody

CGCNN = ["embed", "conv.0", "conv.1", "head.hidden", "head.out"]
ALIGNN = ["embed", "alignn.0.twobody", "alignn.0.threebody", "gcn.0", "head.hidden", "head.out"]


@pytest.mark.parametrize(
    ("strategy", "groups", "expected"),
    [
        (All(), CGCNN, CGCNN),
        (NewHead(), CGCNN, ["head.hidden", "head.out"]),
        (LastLayer(), ALIGNN, ["head.out"]),
        (TwoBody(), CGCNN, ["conv.0", "conv.1", "head.hidden", "head.out"]),
        (TwoBody(), ALIGNN, ["alignn.0.twobody", "gcn.0", "head.hidden", "head.out"]),
        (ThreeBody(), ALIGNN, ["alignn.0.threebody", "head.hidden", "head.out"]),
        (Only(patterns=("*.0*", "embed")), CGCNN, ["embed", "conv.0"]),
        (LoRA(), CGCNN, CGCNN),
        (LoRA(patterns=("gcn.*",)), ALIGNN, ["gcn.0", "head.hidden", "head.out"]),
        (LPFT(epochs=0, then=TwoBody()), CGCNN, ["conv.0", "conv.1", "head.hidden", "head.out"]),
        (LPFT(epochs=8), CGCNN, ["head.hidden", "head.out"]),
    ],
)
def test_names(strategy, groups, expected):
    for epoch in (0, 7):
        assert strategy.trainable(groups, epoch) == set(expected)


def test_gradual_releases_last_first_and_ends():
    strategy = Gradual(every=3)
    start = {"head.hidden", "head.out"}
    assert strategy.trainable(CGCNN, 2) == start
    assert strategy.trainable(CGCNN, 3) == start | {"conv.1"}
    assert strategy.trainable(CGCNN, 6) == start | {"conv.1", "conv.0"}
    assert strategy.trainable(CGCNN, 1000) == set(CGCNN)


@pytest.mark.parametrize(
    ("strategy", "groups", "message"),
    [
        (
            Only(patterns=("angle*",)),
            CGCNN,
            r"no group matches 'angle\*'; there are: embed, conv\.0, conv\.1",
        ),
        (Only(patterns=("conv.*", "Embed")), CGCNN, "no group matches 'Embed'"),
        (
            ThreeBody(),
            CGCNN,
            "has no three-body part.*there are: embed.*MomentNet angles and distances.* use TwoBody",
        ),
        (TwoBody(), ["embed", "head.out"], "has no two-body part.*there are: embed, head.out"),
        (NewHead(), ["embed"], r"no group matches 'head\.\*'"),
    ],
)
def test_part_that_is_not_there(strategy, groups, message):
    with pytest.raises(UserError, match=message):
        strategy.trainable(groups, 0)


def test_the_head_comes_first_and_then_another_strategy_from_its_own_beginning():
    strategy = LPFT(epochs=2, then=Gradual(every=1))
    assert [len(strategy.trainable(CGCNN, epoch)) for epoch in range(6)] == [2, 2, 2, 3, 4, 5]
    assert not LPFT().adapters(CGCNN)
    assert set(LPFT(then=LoRA(patterns=("conv.*",))).adapters(CGCNN)) == {"conv.0", "conv.1"}


def test_values_are_checked():
    for rank, alpha in ((0, 8.0), (8, 0.0), (8, float("nan"))):
        with pytest.raises(UserError, match="rank must be at least 1 and alpha positive"):
            LoRA(rank=rank, alpha=alpha)
    with pytest.raises(UserError, match="list of at least one pattern, got 'conv'"):
        LoRA(patterns="conv")
    for options in ({"epochs": -1}, {"epochs": 0, "ridge": False}):
        with pytest.raises(UserError, match="at least 1, or 0 with ridge: true"):
            LPFT(**options)
    with pytest.raises(UserError, match="every must be at least 1 epoch, got 0"):
        Gradual(every=0)
    with pytest.raises(UserError, match="list of at least one pattern, got 'conv'"):
        Only(patterns="conv")
    with pytest.raises(UserError, match="at least one pattern"):
        Only(patterns=())
    assert Only(patterns=["conv.*"]) == Only(patterns=("conv.*",))
    assert hash(Only(patterns=["conv.*"]))


@pytest.fixture
def groups():
    def block():
        return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))

    return {"embed": [block()], "conv.0": [block(), block()], "head.out": [nn.Linear(2, 1)]}


def test_apply_sets_gradients_and_modes(groups):
    stale = groups["embed"][0][0].weight
    stale.grad = torch.ones_like(stale)
    applied = freezing.apply(Only(patterns=("conv.*",)), groups, 0)
    assert [(row.name, row.parameters, row.trainable) for row in applied.rows] == [
        ("embed", 10, False),
        ("conv.0", 20, True),
        ("head.out", 3, False),
    ]
    assert stale.grad is None
    for name, modules in groups.items():
        trains = name == "conv.0"
        for module in modules:
            assert all(p.requires_grad == trains for p in module.parameters())
            assert all(part.training == trains for part in module.modules())
            assert (module in applied.frozen) == (not trains)


def test_of_an_adapted_group_nothing_else_trains(groups):
    strategy = LoRA(rank=1, patterns=("conv.*",))
    freezing.prepare(strategy, groups)
    applied = freezing.apply(strategy, groups, 0)
    # a linear map from 2 to 2 has A of 1 x 2 and B of 2 x 1
    assert [(row.name, row.parameters, row.moving) for row in applied.rows] == [
        ("embed", 10, None), ("conv.0", 28, 8), ("head.out", 3, None),
    ]  # fmt: skip
    assert freezing.table(applied.rows).splitlines()[2:] == [
        "conv.0            28  8 of adapters train",
        "head.out           3  trains",
        "total             41  11 train, 30 frozen",
    ]
    assert all(module in applied.frozen and not module.training for module in groups["conv.0"])
    before = freezing.apply(LPFT(then=strategy), groups, 0)
    assert [row.trainable for row in before.rows] == [False, False, True]


def test_apply_releases(groups):
    freezing.apply(NewHead(), groups, 0)
    applied = freezing.apply(All(), groups, 1)
    assert applied.frozen == []
    parts = [part for modules in groups.values() for module in modules for part in module.modules()]
    assert all(part.training for part in parts)
    assert all(p.requires_grad for part in parts for p in part.parameters())
    freezing.apply(All(), groups, 1, training=False)
    assert not any(part.training for part in parts)


def test_layer_rates():
    rates = freezing.layer_rates(CGCNN, decay=0.5)
    assert rates == {"embed": 0.125, "conv.0": 0.25, "conv.1": 0.5, "head.hidden": 1.0, "head.out": 1.0}
    assert set(freezing.layer_rates(ALIGNN, decay=1.0).values()) == {1.0}
    for decay in (0.0, 1.5, float("nan")):
        with pytest.raises(UserError, match="above 0 and at most 1"):
            freezing.layer_rates(CGCNN, decay=decay)
