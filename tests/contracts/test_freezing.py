"""Our strategies on our backbones: frozen means frozen."""

from tlzoo import freezing
from tlzoo.backbones import CGCNN
from tlzoo.freezing import LPFT, All, Biases, Gradual, LastLayer, LoRA, NewHead, Only, ThreeBody, TwoBody
from tlzoo.heads import Regression
from tlzoo.testing import FreezingContract
from tlzoo.testing.freezing_contract import Joined

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
    "momentnet": ["embed", "conv.0", "conv.1"],
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
            "momentnet": ["conv.0", "conv.1"],
            "descriptors": None,
        },
    ),
    "three-body": (
        ThreeBody(),
        {
            "cgcnn": None,
            "cgcnn-attention": None,
            "alignn": ["alignn.0.threebody", "alignn.1.threebody"],
            "momentnet": None,
            "descriptors": None,
        },
    ),
    "gradual": (Gradual(every=1), {name: [] for name in GROUPS}),
    "lora": (LoRA(rank=2), GROUPS),
    "lora-in-part": (
        LoRA(rank=2, patterns=("*.0*",)),
        {
            "cgcnn": ["conv.0"],
            "cgcnn-attention": ["conv.0"],
            "alignn": ["alignn.0.twobody", "alignn.0.threebody", "gcn.0"],
            "momentnet": ["conv.0"],
            "descriptors": ["layer.0"],
        },
    ),
    "biases": (Biases(), GROUPS),
    "biases-after-the-head": (LPFT(epochs=0, then=Biases()), GROUPS),
    "lp-ft": (LPFT(epochs=1), {name: [] for name in GROUPS}),
    "lp-ft-over": (LPFT(epochs=0), GROUPS),
    "lp-ft-lora": (LPFT(epochs=0, then=LoRA(rank=2)), GROUPS),
    "only": (
        Only(patterns=("*.0*", "head.out")),
        {
            "cgcnn": ["conv.0"],
            "cgcnn-attention": ["conv.0"],
            "alignn": ["alignn.0.twobody", "alignn.0.threebody", "gcn.0"],
            "momentnet": ["conv.0"],
            "descriptors": ["layer.0"],
        },
    ),
}


class TestFreezing(FreezingContract):
    strategies = {name: strategy for name, (strategy, _) in STRATEGIES.items()}  # noqa: RUF012 (as declared)

    def expected(self, strategy, backbone, groups):  # noqa: ARG002 (the table knows)
        moving = STRATEGIES[strategy][1][backbone]
        if moving is None:
            return f"this backbone has no {strategy} part"
        only_out = strategy in {"last-layer", "only"}
        return {*moving, *(HEAD[1:] if only_out else HEAD)}

    def test_group_names(self, backbone_name):
        assert list(self.backbones[backbone_name]().groups()) == GROUPS[backbone_name]


def test_gradual_moves_from_head_to_input():
    groups = Joined(lambda: CGCNN(dim=8, depth=2)).groups()
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
    model = Joined(lambda: CGCNN(dim=8, depth=2))
    groups = model.groups()
    applied = freezing.apply(LastLayer(), groups, 0)
    total = sum(p.numel() for p in model.parameters())
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(row.parameters for row in applied.rows) == total
    last = freezing.table(applied.rows).splitlines()[-1]
    assert last.split() == ["total", f"{total:,}", f"{moving:,}", "train,", f"{total - moving:,}", "frozen"]


class TestWhatAStrategySays(FreezingContract):
    """Without a table the strategy itself says what moves, or that it does not fit."""

    strategies = {"three-body": ThreeBody()}  # noqa: RUF012 (as declared)
    backbones = {name: FreezingContract.backbones[name] for name in ("cgcnn", "alignn")}  # noqa: RUF012
