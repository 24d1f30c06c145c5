"""The target scaler."""

import copy

import pytest
import torch

from tlzoo.errors import UserError
from tlzoo.nn.scaler import Scaler

NAN = float("nan")


@pytest.mark.parametrize("transform", ["standard", "log10", "none"])
def test_inverse_undoes_transform(transform):
    targets = torch.tensor([[1.0, 20.0], [3.0, NAN], [9.0, 700.0]])
    scaler = Scaler(targets=2, transform=transform)
    scaler.fit(targets)
    torch.testing.assert_close(scaler.inverse(scaler.transform(targets)), targets, equal_nan=True)


def test_standardises_known_labels_of_each_target():
    targets = torch.tensor([[1.0, 5.0], [NAN, 7.0], [3.0, NAN]])
    scaler = Scaler(targets=2)
    scaler.fit(targets)
    assert scaler.mean.tolist() == [2.0, 6.0]
    assert scaler.std.tolist() == [1.0, 1.0]
    expected = torch.tensor([[-1.0, -1.0], [NAN, 1.0], [1.0, NAN]])
    torch.testing.assert_close(scaler.transform(targets), expected, equal_nan=True)


def test_log10_standardises_decades():
    scaler = Scaler(transform="log10")
    scaler.fit(torch.tensor([[1.0], [100.0]]))
    torch.testing.assert_close(scaler.transform(torch.tensor([[1000.0]])), torch.tensor([[2.0]]))
    torch.testing.assert_close(scaler.inverse(torch.tensor([[-2.0]])), torch.tensor([[0.1]]))


@pytest.mark.parametrize("labels", [[4.0], [0.1, 0.1, 0.1], [1e5, 1e5 + 1e-3], [0.0, 0.0]])
def test_constant_labels_have_std_one(labels):
    scaler = Scaler()
    scaler.fit(torch.tensor(labels, dtype=torch.float64)[:, None])
    assert scaler.std.item() == 1.0


def test_small_spread_is_not_mistaken_for_a_constant():
    scaler = Scaler()
    scaler.fit(torch.tensor([[1e-9], [3e-9]]))
    assert scaler.std.item() == pytest.approx(1e-9)


@pytest.mark.parametrize("transform", ["standard", "log10"])
def test_unfitted_scaler_cannot_be_used(transform):
    scaler = Scaler(transform=transform)
    for use in (scaler.transform, scaler.inverse):
        with pytest.raises(UserError, match="has not been fitted"):
            use(torch.ones(1, 1))
    scaler.fit(torch.ones(2, 1))
    scaler.inverse(torch.ones(1, 1))


def test_fit_survives_state_dict_and_copy():
    scaler = Scaler(targets=1)
    scaler.fit(torch.tensor([[1.0], [5.0]]))
    other = Scaler(targets=1)
    other.load_state_dict(scaler.state_dict())
    assert other.fitted
    assert copy.deepcopy(other).transform(torch.tensor([[5.0]])).item() == 1.0
    other.load_state_dict(Scaler().state_dict())
    assert not other.fitted


@pytest.mark.parametrize(
    ("transform", "labels", "message"),
    [
        ("log10", [[0.0], [-1.0], [2.0], [NAN]], "'gap' has 2 of 3 labels that are zero or negative"),
        ("standard", [[1.0], [float("inf")]], r"'gap' has 1 infinite label\(s\)"),
        ("none", [[1.0], [float("inf")]], r"'gap' has 1 infinite label\(s\)"),
        ("standard", [[NAN]], "'gap' has no known label in the training part"),
        ("standard", [[1.0, 2.0]], r"this model has 1 target\(s\), the data have 2"),
    ],
)
def test_labels_that_cannot_be_scaled(transform, labels, message):
    with pytest.raises(UserError, match=message):
        Scaler(transform=transform).fit(torch.tensor(labels), ["gap"])


def test_unnamed_target_is_counted():
    with pytest.raises(UserError, match="target number 2 has no known label"):
        Scaler(targets=2).fit(torch.tensor([[1.0, NAN]]))


def test_each_target_has_its_own_transformation():
    labels = torch.tensor([[1.0, 10.0, -5.0], [3.0, 1000.0, NAN], [NAN, NAN, 7.0]])
    scaler = Scaler(targets=3, transform=["standard", "log10", "none"])
    assert not scaler.fitted
    scaler.fit(labels)
    scaled = scaler.transform(labels)
    expected = torch.tensor([[-1.0, -1.0, -5.0], [1.0, 1.0, NAN], [NAN, NAN, 7.0]])
    torch.testing.assert_close(scaled, expected, equal_nan=True)
    torch.testing.assert_close(scaler.inverse(scaled), labels, equal_nan=True)
    assert set(scaler.state_dict()) == {"mean", "std"}
    with pytest.raises(UserError, match="target 'b' has 1 of 1 labels that are zero or negative"):
        scaler.check(torch.tensor([[0.0, 0.0, 0.0]]), ["a", "b", "c"])
    # 10 to the power of a large value of another target is no number to differentiate
    raw = torch.tensor([[500.0, 0.0, 500.0]], requires_grad=True)
    scaler.inverse(raw).sum().backward()
    assert raw.grad.isfinite().all()
