"""Frozen means frozen: for every strategy and backbone exactly the named groups change, buffers included."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tlzoo import adapters, freezing
from tlzoo.backbones import ALIGNN, CGCNN, DescriptorMLP, MomentNet
from tlzoo.backbones.backbone import Backbone
from tlzoo.crystals import Crystals
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.freezing import LPFT, All, Biases, Freezing, Gradual, LastLayer, LoRA, NewHead
from tlzoo.graphs.batch import Batch
from tlzoo.heads import MultiProperty
from tlzoo.testing.small_crystals import four, perovskite, triclinic


class FreezingContract:
    """Tests of freezing strategies on backbones.

    Attributes:
        strategies: The strategies; those that suit any backbone by default.
        backbones: How to build each backbone; small ones of tlzoo by default.
    """

    strategies: ClassVar[Mapping[str, Freezing]] = {
        "all": All(),
        "new-head": NewHead(),
        "last-layer": LastLayer(),
        "gradual": Gradual(every=1),
        "lora": LoRA(rank=2),
        "biases": Biases(),
        "lp-ft": LPFT(epochs=1),
    }
    backbones: ClassVar[Mapping[str, Callable[[], Backbone]]] = {
        "cgcnn": lambda: CGCNN(dim=8, depth=2),
        "cgcnn-attention": lambda: CGCNN(dim=8, depth=1, pooling="attention"),
        "alignn": lambda: ALIGNN(dim=8, alignn_layers=2, gcn_layers=2),
        "momentnet": lambda: MomentNet(dim=8, depth=2),
        "descriptors": lambda: DescriptorMLP(dim=8, depth=2),
    }

    def expected(self, strategy: str, backbone: str, groups: Sequence[str]) -> set[str] | str:  # noqa: ARG002
        """Name the groups that train in epoch 0; or the message of the refusal, as a regular expression."""
        try:
            return self.strategies[strategy].trainable(groups, 0)
        except UserError as error:
            return re.escape(str(error))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test for all backbones, and for all strategies where it asks for one."""
        for name, cases in (("backbone_name", self.backbones), ("strategy_name", self.strategies)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, list(cases))

    @pytest.fixture
    def model(self, backbone_name: str) -> Joined:
        """A backbone with a head of two targets."""
        return Joined(self.backbones[backbone_name])

    def test_groups_partition_what_can_change(self, model: Joined) -> None:
        keys = group_keys(model.groups(), model)
        assert all(keys.values())
        assert sum(len(part) for part in keys.values()) == len(set().union(*keys.values()))
        # the scaler is fitted, not trained
        assert set().union(*keys.values()) == {
            k for k in model.state_dict() if not k.startswith("head.scaler.")
        }

    def test_it_names_groups_of_the_model(
        self, strategy_name: str, model: Joined, backbone_name: str
    ) -> None:
        groups, strategy = list(model.groups()), self.strategies[strategy_name]
        if isinstance(self.expected(strategy_name, backbone_name, groups), str):
            pytest.skip("the strategy refuses this backbone")
        for epoch in range(12):
            given = list(groups)
            named = strategy.trainable(given, epoch)
            assert named <= set(groups)
            assert given == groups
            assert strategy.trainable(groups, epoch) == named

    def test_exactly_the_named_groups_change(
        self, strategy_name: str, backbone_name: str, model: Joined
    ) -> None:
        strategy, groups = self.strategies[strategy_name], model.groups()
        backbone, head = model.backbone, model.head
        moving = self.expected(strategy_name, backbone_name, list(groups))
        if isinstance(moving, str):
            with pytest.raises(UserError, match=moving):
                freezing.apply(strategy, groups, 0)
            return
        freezing.prepare(strategy, groups)
        adapted = set(strategy.adapters(list(groups)))
        moving = {name for name in moving if name not in adapted or adapters.parameters(groups[name])}
        biased = strategy.biases(list(groups))
        moving = {name for name in moving if name not in biased or has_bias(groups[name])}
        keys = group_keys(groups, model)
        batch = batch_of(four(), backbone.graph)
        backbone.fit([batch])
        targets = torch.tensor([[1.0, 40.0], [2.0, float("nan")], [3.0, 10.0], [2.5, 20.0]])

        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        model.train()
        applied = freezing.apply(strategy, groups, 0)
        assert {row.name for row in applied.rows if row.trainable} == moving
        for _ in range(3):
            train(model, applied)
            optimizer.zero_grad()
            head.loss(head(backbone(batch)), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}

        assert changed <= set().union(*(keys[name] for name in moving))
        assert {name for name in groups if keys[name] & changed} == moving
        assert all(adapters.BELOW in key for name in adapted for key in keys[name] & changed)
        assert all(key.endswith(".bias") for name in biased for key in keys[name] & changed)
        # of a group that trains, every entry does (element features and grids are constants)
        for name in moving - adapted - biased - {"embed"}:
            still = keys[name] - changed
            statistics = ("running_mean", "running_var", "num_batches_tracked")
            assert not {k for k in still if k.endswith(statistics)}, still

    def test_frozen_backbone_is_deterministic_in_training(self, model: Joined) -> None:
        """The head must be trained on the embeddings that it will be used with."""
        backbone = model.backbone
        batch = batch_of(four(), backbone.graph)
        backbone.fit([batch])
        backbone(batch)
        expected: Tensor = backbone.eval()(batch)
        train(model, freezing.apply(NewHead(), model.groups(), 0))
        torch.testing.assert_close(backbone(batch), expected)

    def test_adapters_change_nothing_at_first(self, model: Joined) -> None:
        model, batch = warm(model)
        wanted = model(batch)
        freezing.prepare(LoRA(rank=2), model.groups())
        assert torch.equal(model(batch), wanted)

    def test_merged_adapters_are_the_adapted_network(self, model: Joined) -> None:
        model, batch = warm(model)
        names, start = set(model.state_dict()), model(batch)
        freezing.prepare(LoRA(rank=2), model.groups())
        stray(model)
        wanted = model(batch)
        assert bool(adapters.parameters([model])) == (not torch.allclose(wanted, start, rtol=1e-3))
        adapters.merge(model)
        assert torch.equal(model(batch), wanted)
        assert set(model.state_dict()) == names
        assert not any(isinstance(part, adapters.LowRank) for part in model.modules())

    def test_resume_files_say_what_is_adapted(self, model: Joined, backbone_name: str) -> None:
        model, batch = warm(model)
        freezing.prepare(LoRA(rank=2), model.groups())
        stray(model)
        plain = Joined(self.backbones[backbone_name])
        adapters.attach_stored(plain, model.state_dict())
        plain.load_state_dict(model.state_dict())
        adapters.merge(plain)
        assert torch.equal(plain.eval()(batch), model(batch))

    def test_physics_holds_with_adapters(self, model: Joined) -> None:
        """Order, origin, orientation and choice of the cell change nothing."""
        model, _ = warm(model)
        freezing.prepare(LoRA(rank=2), model.groups())
        stray(model)
        backbone = model.backbone
        turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)).double())
        for structure in (triclinic(), perovskite()):
            moved = structure.copy().translate_sites(range(len(structure)), [0.37, 0.11, 0.83])
            moved = type(moved)(moved.lattice.matrix @ turn.numpy(), moved.species, moved.frac_coords)
            moved = type(moved).from_sites(list(moved)[::-1])
            large = 1 if getattr(backbone, "pooling", None) == "sum" else 2
            crystals = Crystals.from_structures([structure, moved * (large, 1, 1)])
            one, other = backbone(batch_of(crystals, backbone.graph))
            assert (one - other).norm() < 1e-4 * one.norm()


class Joined(nn.Module):
    """A backbone with a head of two targets."""

    def __init__(self, build: Callable[[], Backbone]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.backbone = build()
        self.head = MultiProperty(targets=["a", "b"], hidden=(8,)).bind(self.backbone.out_dim)
        self.head.fit(torch.tensor([[1.0, 10.0], [3.0, 50.0]]))

    def forward(self, batch: Batch) -> Tensor:
        """Predict, without derivatives."""
        with torch.no_grad():
            return self.head.predict(self.head(self.backbone(batch)))

    def groups(self) -> dict[str, Sequence[nn.Module]]:
        """The groups of backbone and head."""
        return {**self.backbone.groups(), **self.head.groups()}


def warm(model: Joined) -> tuple[Joined, Batch]:
    """The model, whose norms have seen crystals, in eval mode; and these."""
    batch = batch_of(four(), model.backbone.graph)
    model.backbone.fit([batch])
    with torch.no_grad():
        for _ in range(30):
            model.backbone.train()(batch)
    return model.eval(), batch


def has_bias(modules: Sequence[nn.Module]) -> bool:
    """Whether there is a bias in one of the modules."""
    return any(name.endswith("bias") for module in modules for name, _ in module.named_parameters())


@torch.no_grad()
def stray(model: nn.Module) -> None:
    """Set adapters to anything but zero."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if adapters.BELOW in name:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def train(model: nn.Module, applied: freezing.Applied) -> None:
    """Set the mode, as a task does."""
    model.train()
    for part in applied.frozen:
        part.eval()


def group_keys(groups: Mapping[str, Sequence[nn.Module]], module: nn.Module) -> dict[str, set[str]]:
    """Keys of the state dict by group."""
    paths = {id(value): path for path, value in module.state_dict(keep_vars=True).items()}
    return {
        name: {paths[id(value)] for part in parts for value in part.state_dict(keep_vars=True).values()}
        for name, parts in groups.items()
    }
