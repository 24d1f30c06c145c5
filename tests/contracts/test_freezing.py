"""Frozen means frozen: for every strategy and backbone exactly the named groups change, buffers included."""

import numpy as np
import pytest
import torch

from tlzoo import freezing
from tlzoo.backbones import ALIGNN, CGCNN, DescriptorMLP
from tlzoo.crystals import Crystals
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.freezing import All, Gradual, LastLayer, NewHead, Only, ThreeBody, TwoBody
from tlzoo.heads import MultiProperty, Regression

BACKBONES = {
    "cgcnn": lambda: CGCNN(dim=8, depth=2),
    "cgcnn-attention": lambda: CGCNN(dim=8, depth=1, pooling="attention"),
    "alignn": lambda: ALIGNN(dim=8, alignn_layers=2, gcn_layers=2),
    "descriptors": lambda: DescriptorMLP(dim=8, depth=2),
}
HEAD = ["head.hidden", "head.out"]
GROUPS = {
    "cgcnn": ["embed", "conv.0", "conv.1"],
    "cgcnn-attention": ["embed", "conv.0", "pool"],
    "alignn": [
        "embed",
        "alignn.0.twobody",
        "alignn.0.threebody",
        "alignn.1.twobody",
        "alignn.1.threebody",
        "gcn.0",
        "gcn.1",
    ],
    "descriptors": ["layer.0", "layer.1"],
}
# strategy: what of the backbone trains in epoch 0; None where the backbone has no such part
STRATEGIES = {
    "all": (All(), GROUPS),
    "new-head": (NewHead(), {name: [] for name in GROUPS}),
    "last-layer": (LastLayer(), {name: [] for name in GROUPS}),
    "two-body": (
        TwoBody(),
        {
            "cgcnn": ["conv.0", "conv.1"],
            "cgcnn-attention": ["conv.0"],
            "alignn": ["alignn.0.twobody", "alignn.1.twobody", "gcn.0", "gcn.1"],
            "descriptors": None,
        },
    ),
    "three-body": (
        ThreeBody(),
        {
            "cgcnn": None,
            "cgcnn-attention": None,
            "alignn": ["alignn.0.threebody", "alignn.1.threebody"],
            "descriptors": None,
        },
    ),
    "gradual": (Gradual(every=1), {name: [] for name in GROUPS}),
    "only": (
        Only(patterns=("*.0*", "head.out")),
        {
            "cgcnn": ["conv.0"],
            "cgcnn-attention": ["conv.0"],
            "alignn": ["alignn.0.twobody", "alignn.0.threebody", "gcn.0"],
            "descriptors": ["layer.0"],
        },
    ),
}


@pytest.fixture(scope="module")
def crystals():
    """Rock salt, caesium chloride, diamond and a cell without symmetry."""
    fcc = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    skew = np.array([[3.1, 0.2, 0.0], [0.4, 4.3, 0.3], [-0.5, 0.1, 5.2]])
    return Crystals(
        ids=np.array(["NaCl", "CsCl", "C", "odd"], dtype=object),
        lattice=np.stack([2.82 * fcc, 4.12 * np.eye(3), 1.78 * fcc, skew]),
        offsets=np.array([0, 2, 4, 6, 9]),
        numbers=np.array([11, 17, 55, 17, 6, 6, 22, 8, 8], dtype=np.uint8),
        frac_coords=np.array(
            [[0, 0, 0], [0.5, 0.5, 0.5]] * 2
            + [[0, 0, 0], [0.25, 0.25, 0.25]]
            + [[0.1, 0, 0], [0.4, 0.6, 0.2], [0.7, 0.1, 0.55]]
        ),
    )


def group_keys(groups, module):
    """Keys of the state dict by group."""
    owner = {id(part): name for name, modules in groups.items() for m in modules for part in m.modules()}
    keys = {name: set() for name in groups}
    for path, part in module.named_modules():
        own = [k for k in part.state_dict(prefix=f"{path}." if path else "") if "." not in k[len(path) + 1 :]]
        if own and id(part) in owner:
            keys[owner[id(part)]] |= set(own)
    return keys


def joined(backbone_name):
    torch.manual_seed(1)
    backbone = BACKBONES[backbone_name]()
    head = MultiProperty(targets=["a", "b"], hidden=(8,)).bind(backbone.out_dim)
    head.fit(torch.tensor([[1.0, 10.0], [3.0, 50.0]]))
    return torch.nn.ModuleDict({"backbone": backbone, "head": head})


@pytest.mark.parametrize("backbone_name", BACKBONES)
def test_group_names(backbone_name):
    backbone = BACKBONES[backbone_name]()
    assert list(backbone.groups()) == GROUPS[backbone_name]


@pytest.mark.parametrize("backbone_name", BACKBONES)
def test_groups_partition_what_can_change(backbone_name):
    model = joined(backbone_name)
    groups = {**model["backbone"].groups(), **model["head"].groups()}
    keys = group_keys(groups, model)
    assert all(keys.values())
    assert sum(len(part) for part in keys.values()) == len(set().union(*keys.values()))
    # the scaler is fitted, not trained
    assert set().union(*keys.values()) == {k for k in model.state_dict() if not k.startswith("head.scaler.")}


@pytest.mark.parametrize("strategy_name", STRATEGIES)
@pytest.mark.parametrize("backbone_name", BACKBONES)
def test_exactly_the_named_groups_change(strategy_name, backbone_name, crystals):
    strategy, expected = STRATEGIES[strategy_name]
    model = joined(backbone_name)
    backbone, head = model["backbone"], model["head"]
    groups = {**backbone.groups(), **head.groups()}
    if expected[backbone_name] is None:
        with pytest.raises(UserError, match=f"this backbone has no {strategy_name} part"):
            freezing.apply(strategy, groups, 0)
        return
    only_out = strategy_name in {"last-layer", "only"}
    moving = {*expected[backbone_name], *(HEAD[1:] if only_out else HEAD)}
    keys = group_keys(groups, model)
    batch = batch_of(crystals, backbone.graph)
    backbone.fit([batch])
    targets = torch.tensor([[1.0, 40.0], [2.0, float("nan")], [3.0, 10.0], [2.5, 20.0]])

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    applied = freezing.apply(strategy, groups, 0)
    assert {row.name for row in applied.rows if row.trainable} == moving
    for _ in range(3):
        # what a task's train() does
        model.train()
        for part in applied.frozen:
            part.eval()
        optimizer.zero_grad()
        head.loss(head(backbone(batch)), targets).backward()
        optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}

    assert changed <= set().union(*(keys[name] for name in moving))
    assert {name for name in groups if keys[name] & changed} == moving
    # of a group that trains, every entry does (element features and grids are constants)
    for name in moving - {"embed"}:
        still = keys[name] - changed
        assert not {k for k in still if k.endswith(("running_mean", "running_var", "num_batches_tracked"))}, (
            still
        )


@pytest.mark.parametrize("backbone_name", BACKBONES)
def test_frozen_backbone_is_deterministic_in_training(backbone_name, crystals):
    """The head must be trained on the embeddings that it will be used with."""
    model = joined(backbone_name)
    backbone = model["backbone"]
    batch = batch_of(crystals, backbone.graph)
    backbone.fit([batch])
    backbone(batch)
    expected = backbone.eval()(batch)
    applied = freezing.apply(NewHead(), {**backbone.groups(), **model["head"].groups()}, 0)
    model.train()
    for part in applied.frozen:
        part.eval()
    torch.testing.assert_close(backbone(batch), expected)


def test_gradual_moves_from_head_to_input(crystals):
    model = joined("cgcnn")
    groups = {**model["backbone"].groups(), **model["head"].groups()}
    released = []
    for epoch in range(5):
        rows = freezing.apply(Gradual(every=1), groups, epoch).rows
        released.append([row.name for row in rows if row.trainable])
    assert released == [
        HEAD,
        ["conv.1", *HEAD],
        ["conv.0", "conv.1", *HEAD],
        ["embed", "conv.0", "conv.1", *HEAD],
        ["embed", "conv.0", "conv.1", *HEAD],
    ]


def test_head_without_hidden_layers():
    backbone = CGCNN(dim=8, depth=1)
    groups = {**backbone.groups(), **Regression(hidden=()).bind(8).groups()}
    assert NewHead().trainable(list(groups), 0) == LastLayer().trainable(list(groups), 0) == {"head.out"}


def test_table_counts_parameters():
    model = joined("cgcnn")
    groups = {**model["backbone"].groups(), **model["head"].groups()}
    applied = freezing.apply(LastLayer(), groups, 0)
    total = sum(p.numel() for p in model.parameters())
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(row.parameters for row in applied.rows) == total
    last = freezing.table(applied.rows).splitlines()[-1]
    assert last.split() == ["total", f"{total:,}", f"{moving:,}", "train,", f"{total - moving:,}", "frozen"]
