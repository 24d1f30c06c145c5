"""What every head promises, on every backbone."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tlzoo.backbones import ALIGNN, CGCNN
from tlzoo.crystals import Crystals
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.heads import Classification, Gaussian, Head, MultiProperty, Quantile, Regression
from tlzoo.model import checkpoint

NAN = float("nan")
DIM = 8

# A new head is one line: how to make it, and the names of its targets.
HEADS = {
    "regression": (lambda: Regression(hidden=(8,)), ["y"]),
    "regression-mse-log10": (lambda: Regression(loss="mse", transform="log10", hidden=(8, 4)), ["y"]),
    "regression-huber-none": (lambda: Regression(loss="huber", transform="none"), ["y"]),
    "linear": (lambda: Regression(hidden=()), ["y"]),
    "multi": (lambda: MultiProperty(targets=["a", "b"], weights={"b": 2.0}, activation="silu"), ["a", "b"]),
    "multi-uncertainty": (lambda: MultiProperty(targets=["a", "b"], weighting="uncertainty"), ["a", "b"]),
    "multi-log10": (lambda: MultiProperty(targets=["a", "b"], transform="log10", hidden=()), ["a", "b"]),
    "binary": (lambda: Classification(hidden=(8,), dropout=0.1), ["y"]),
    "three-classes": (lambda: Classification(classes=3, activation="relu"), ["y"]),
    "gaussian": (lambda: Gaussian(hidden=(8,)), ["y"]),
    "gaussian-log10": (lambda: Gaussian(transform="log10"), ["y"]),
    "quantile": (lambda: Quantile(hidden=(8,)), ["y"]),
    "quantile-log10": (lambda: Quantile(quantiles=(0.25, 0.5), transform="log10"), ["y"]),
}
BACKBONES = {
    "cgcnn": lambda: CGCNN(dim=DIM, depth=2),
    "cgcnn-attention": lambda: CGCNN(dim=DIM, depth=1, pooling="attention", norm="layer", features="learned"),
    "alignn": lambda: ALIGNN(dim=DIM, alignn_layers=1, gcn_layers=1),
}


@pytest.fixture(params=HEADS)
def case(request):
    """A bound and fitted head, names of targets, embeddings and labels, some unknown."""
    torch.manual_seed(0)
    make, names = HEADS[request.param]
    head = make().bind(DIM)
    embedding = torch.randn(12, DIM)
    if isinstance(head, Classification):
        targets = torch.arange(12.0)[:, None] % head.classes
    else:
        targets = 5 + 2 * embedding[:, : len(names)].tanh() + 40 * torch.arange(len(names))
    targets[1, 0] = NAN
    head.fit(targets)
    return head.eval(), names, embedding, targets


def test_shapes_and_names(case):
    head, names, embedding, _ = case
    prediction = head.predict(head(embedding))
    columns = head.columns(names)
    assert prediction.shape == (12, len(columns))
    assert len(set(columns)) == len(columns)
    assert all(any(column.startswith(name) for name in names) for column in columns)
    assert prediction.isfinite().all()


def test_loss_decreases(case):
    head, _, embedding, targets = case
    head.train()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = head.loss(head(embedding), targets)
        assert loss.shape == ()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 0.1 * abs(losses[0])


def test_unknown_targets_do_not_matter(case):
    head, _, embedding, targets = case
    known = ~targets.isnan().any(dim=1)
    alone = head.loss(head(embedding[known]), targets[known])
    hidden = torch.where(known[:, None], targets, NAN)
    raw = head(embedding).detach().requires_grad_()
    loss = head.loss(raw, hidden)
    torch.testing.assert_close(loss, alone)
    loss.backward()
    assert raw.grad.isfinite().all()
    assert not raw.grad[~known].any()


def test_batch_without_any_label(case):
    head, _, embedding, targets = case
    loss = head.loss(head(embedding), torch.full_like(targets, NAN))
    loss.backward()
    assert loss.item() == 0.0
    assert not any(p.grad.any() for p in head.parameters())


def test_predictions_are_in_physical_units(case):
    head, names, _, targets = case
    if isinstance(head, Classification):
        low, high = torch.tensor(0.0), torch.tensor(head.classes - 1.0)
    else:
        low, high = targets.nan_to_num(nan=1e9).amin(0), targets.nan_to_num(nan=-1e9).amax(0)
    # raw 0 is the middle of the labels, whatever their unit; other quantiles lie around it
    point = head.predict(torch.zeros(1, head(torch.zeros(1, DIM)).shape[1]))[0, : len(names)]
    if head.transform != "none" or isinstance(head, Classification):
        assert ((low <= point) & (point <= high)).all()


def test_metrics(case):
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


def test_mixed_precision_keeps_digits(case):
    head, _, embedding, targets = case
    raw = head(embedding).bfloat16()
    assert head.predict(raw).dtype == torch.float32
    assert head.loss(raw, targets).dtype == torch.float32


def test_groups_partition_the_trainable_parameters(case):
    head = case[0]
    grouped = [p for modules in head.groups().values() for m in modules for p in m.parameters()]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == set(head.parameters())
    optional = {"head.hidden": bool(head.hidden), "head.noise": getattr(head, "noise", None) is not None}
    expected = [name for name in ("head.hidden", "head.out", "head.noise") if optional.get(name, True)]
    assert list(head.groups()) == expected
    assert all(isinstance(m, nn.Linear) for m in head.groups()["head.out"])


def test_bound_once(case):
    head = case[0]
    before = list(head.parameters())
    assert head.bind(DIM) is head
    assert all(a is b for a, b in zip(before, head.parameters(), strict=True))
    with pytest.raises(UserError, match=f"reads embeddings of length {DIM}, the backbone gives 9"):
        head.bind(9)


@pytest.mark.parametrize("name", HEADS)
def test_unbound_head_says_so(name):
    head = HEADS[name][0]()
    for use in (head.groups, lambda: head(torch.zeros(1, DIM))):
        with pytest.raises(RuntimeError, match=r"call bind\(backbone\.out_dim\)"):
            use()


def test_same_weights_from_the_same_seed(case):
    spec = checkpoint.describe(case[0])
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        head = checkpoint.build(spec)
        assert isinstance(head, Head)
        states.append(head.bind(DIM).state_dict())
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0, equal_nan=True)


@pytest.fixture(scope="module")
def crystals():
    """Rock salt and caesium chloride, as primitive cells."""
    fcc = 2.82 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Crystals(
        ids=np.array(["NaCl", "CsCl"], dtype=object),
        lattice=np.stack([fcc, 4.12 * np.eye(3)]),
        offsets=np.array([0, 2, 4]),
        numbers=np.array([11, 17, 55, 17], dtype=np.uint8),
        frac_coords=np.array([[0, 0, 0], [0.5, 0.5, 0.5]] * 2),
    )


@pytest.mark.parametrize("backbone_name", BACKBONES)
def test_round_trip(case, backbone_name, crystals, tmp_path):
    head, names, _, _ = case
    backbone = BACKBONES[backbone_name]()
    # move the running statistics away from where they start
    backbone(batch_of(crystals, backbone.graph))
    backbone.eval()
    checkpoint.save(tmp_path / "model", backbone, head, {"targets": names})
    loaded = checkpoint.load(tmp_path / "model")
    assert type(loaded.head) is type(head)
    assert loaded.head.columns(loaded.card["targets"]) == head.columns(names)
    with torch.no_grad():
        expected = head.predict(head(backbone(batch_of(crystals, backbone.graph))))
        found = loaded.head.predict(loaded.head(loaded.backbone(batch_of(crystals, loaded.backbone.graph))))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert expected.isfinite().all()
