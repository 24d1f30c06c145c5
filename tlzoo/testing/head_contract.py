"""What every head promises, on every backbone."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from tlzoo.backbones import ALIGNN, CGCNN
from tlzoo.backbones.backbone import Backbone
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.heads import Classification, Head
from tlzoo.model import checkpoint
from tlzoo.testing.small_crystals import four

NAN = float("nan")
DIM = 8


class Case(NamedTuple):
    """A bound and fitted head, names of targets, embeddings and labels, some unknown."""

    head: Head
    names: list[str]
    embedding: Tensor
    targets: Tensor


class HeadContract:
    """Tests of heads.

    Attributes:
        heads: How to make each that is tested, and the names of its targets.
        backbones: How to build those that heads are stored with; embeddings of length 8.
    """

    heads: ClassVar[Mapping[str, tuple[Callable[[], Head], list[str]]]] = {}
    backbones: ClassVar[Mapping[str, Callable[[], Backbone]]] = {
        "cgcnn": lambda: CGCNN(dim=DIM, depth=2),
        "cgcnn-attention": lambda: CGCNN(
            dim=DIM, depth=1, pooling="attention", norm="layer", features="learned"
        ),
        "alignn": lambda: ALIGNN(dim=DIM, alignn_layers=1, gcn_layers=1),
    }

    def labels(self, head: Head, embedding: Tensor, targets: int) -> Tensor:
        """Labels that can be learned from the embeddings, ``(crystals, targets)``."""
        if isinstance(head, Classification):
            return torch.arange(float(len(embedding)))[:, None] % head.classes
        return 5 + 2 * embedding[:, :targets].tanh() + 40 * torch.arange(targets)

    def group_names(self, head: Head) -> list[str]:
        """The groups that a head must have, in their order."""
        return ["head.hidden", "head.out"] if head.hidden else ["head.out"]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test for all heads, and for all backbones where it asks for one."""
        for name in {"case", "head_name"} & set(metafunc.fixturenames):
            metafunc.parametrize(name, list(self.heads), indirect=name == "case")
        if "backbone_name" in metafunc.fixturenames:
            metafunc.parametrize("backbone_name", list(self.backbones))

    @pytest.fixture
    def case(self, request: pytest.FixtureRequest) -> Case:
        """A head and what it learns from."""
        torch.manual_seed(0)
        make, names = self.heads[request.param]
        head = make().bind(DIM)
        embedding = torch.randn(12, DIM)
        targets = self.labels(head, embedding, len(names))
        targets[1, 0] = NAN
        head.fit(targets)
        return Case(head.eval(), names, embedding, targets)

    def test_shapes_and_names(self, case: Case) -> None:
        head, names, embedding, _ = case
        prediction = head.predict(head(embedding))
        columns = head.columns(names)
        assert prediction.shape == (12, len(columns))
        assert len(set(columns)) == len(columns)
        assert all(any(column.startswith(name) for name in names) for column in columns)
        assert prediction.isfinite().all()

    def test_loss_decreases(self, case: Case) -> None:
        head, _, embedding, targets = case
        head.train()
        optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
        losses = []
        for _ in range(60):
            loss = head.loss(head(embedding), targets)
            assert loss.shape == ()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        assert np.isfinite(losses).all()
        assert losses[-1] < losses[0] - 0.1 * abs(losses[0])

    def test_unknown_targets_do_not_matter(self, case: Case) -> None:
        head, _, embedding, targets = case
        known = ~targets.isnan().any(dim=1)
        alone = head.loss(head(embedding[known]), targets[known])
        hidden = torch.where(known[:, None], targets, NAN)
        raw = head(embedding).detach().requires_grad_()
        loss = head.loss(raw, hidden)
        torch.testing.assert_close(loss, alone)
        loss.backward()  # type: ignore[no-untyped-call]
        assert raw.grad.isfinite().all()
        assert not raw.grad[~known].any()

    def test_batch_without_any_label(self, case: Case) -> None:
        head, _, embedding, targets = case
        loss = head.loss(head(embedding), torch.full_like(targets, NAN))
        loss.backward()  # type: ignore[no-untyped-call]
        assert loss.item() == 0.0
        assert all(p.grad is not None and not p.grad.any() for p in head.parameters())

    def test_predictions_are_in_physical_units(self, case: Case) -> None:
        head, names, _, targets = case
        if isinstance(head, Classification):
            low, high = torch.tensor(0.0), torch.tensor(head.classes - 1.0)
        else:
            low, high = targets.nan_to_num(nan=1e9).amin(0), targets.nan_to_num(nan=-1e9).amax(0)
        point = head.predict(torch.zeros(1, head(torch.zeros(1, DIM)).shape[1]))[0, : len(names)]
        if head.transform != "none" or isinstance(head, Classification):
            assert ((low <= point) & (point <= high)).all()

    def test_metrics(self, case: Case) -> None:
        head, names, embedding, targets = case
        metrics = head.metrics(names)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for rows in (slice(0, 1), slice(1, 2), slice(2, 12)):
                metrics.update(head.predict(head(embedding[rows])), targets[rows])
            parts = metrics.compute()
            metrics.reset()
            metrics.update(head.predict(head(embedding)), targets)
            torch.testing.assert_close(metrics.compute(), parts)
        assert head.monitor == "loss" or parts[head.monitor].isfinite()
        assert all(value.shape == () for value in parts.values())

    def test_mixed_precision_keeps_digits(self, case: Case) -> None:
        head, _, embedding, targets = case
        raw = head(embedding).bfloat16()
        assert head.predict(raw).dtype == torch.float32
        assert head.loss(raw, targets).dtype == torch.float32

    def test_groups_partition_the_trainable_parameters(self, case: Case) -> None:
        head = case.head
        grouped = [p for modules in head.groups().values() for m in modules for p in m.parameters()]
        assert len(grouped) == len(set(grouped))
        assert set(grouped) == set(head.parameters())
        assert list(head.groups()) == self.group_names(head)

    def test_bound_once(self, case: Case) -> None:
        head = case.head
        before = list(head.parameters())
        assert head.bind(DIM) is head
        assert all(a is b for a, b in zip(before, head.parameters(), strict=True))
        with pytest.raises(UserError, match=f"reads embeddings of length {DIM}, the backbone gives 9"):
            head.bind(9)

    def test_unbound_head_says_so(self, head_name: str) -> None:
        head = self.heads[head_name][0]()
        for use in (head.groups, lambda: head(torch.zeros(1, DIM))):
            with pytest.raises(RuntimeError, match=r"call bind\(backbone\.out_dim\)"):
                use()

    def test_same_weights_from_the_same_seed(self, case: Case) -> None:
        spec = checkpoint.describe(case.head)
        states = []
        for _ in range(2):
            torch.manual_seed(3)
            head = checkpoint.build(spec)
            assert isinstance(head, Head)
            states.append(head.bind(DIM).state_dict())
        torch.testing.assert_close(states[0], states[1], rtol=0, atol=0, equal_nan=True)

    def test_round_trip(self, case: Case, backbone_name: str, tmp_path: Path) -> None:
        head, names, _, _ = case
        backbone = self.backbones[backbone_name]()
        # move the running statistics away from where they start
        backbone(batch_of(four(), backbone.graph))
        backbone.eval()
        checkpoint.check_storable(backbone, head)
        checkpoint.save(tmp_path / "model", backbone, head, {"targets": names})
        loaded = checkpoint.load(tmp_path / "model")
        assert type(loaded.head) is type(head)
        assert loaded.head.columns(loaded.card["targets"]) == head.columns(names)
        with torch.no_grad():
            expected = head.predict(head(backbone(batch_of(four(), backbone.graph))))
            found = loaded.head.predict(loaded.head(loaded.backbone(batch_of(four(), loaded.backbone.graph))))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert expected.isfinite().all()
