"""What is particular to each head; what all promise is in contracts."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tlzoo.errors import UserError
from tlzoo.heads import Classification, Gaussian, MultiProperty, Quantile, Regression
from tlzoo.model.description import build, describe

NAN = float("nan")


def fitted(head, targets):
    head.bind(4)
    head.fit(torch.tensor(targets))
    return head


def test_layers_are_those_of_the_reference():
    head = Regression(hidden=(5, 3)).bind(4)
    x = torch.randn(6, 4)
    first, second, out = (m for m in head.modules() if isinstance(m, nn.Linear))
    h = F.softplus(second(F.softplus(first(F.softplus(x)))))
    torch.testing.assert_close(head(x), out(h))


def test_without_hidden_layers_it_is_linear():
    head = Regression(hidden=()).bind(4)
    x = torch.randn(6, 4)
    torch.testing.assert_close(head(x), head.outs[0](x))
    assert list(head.groups()) == ["head.out"]


@pytest.mark.parametrize(("loss", "expected"), [("l1", 2.0), ("mse", 5.0), ("huber", 1.5)])
def test_regression_loss_by_hand(loss, expected):
    head = fitted(Regression(loss=loss, transform="none"), [[0.0]])
    raw = torch.tensor([[1.0], [9.0], [3.0]])
    assert head.loss(raw, torch.tensor([[0.0], [NAN], [0.0]])).item() == expected


def test_multi_property_loss_by_hand():
    head = fitted(
        MultiProperty(targets=["a", "b", "c"], weights={"a": 3.0}, transform="none"), [[0.0, 0.0, 0.0]]
    )
    raw = torch.zeros(2, 3)
    # a: mean 2, weight 3; b: one label of 4, weight 1; c: unknown, out of sum and weight
    targets = torch.tensor([[1.0, NAN, NAN], [3.0, 4.0, NAN]])
    assert head.loss(raw, targets).item() == pytest.approx((3 * 2 + 4) / 4)


def test_multi_property_scales_each_target():
    head = fitted(MultiProperty(targets=["a", "b"]), [[0.0, 100.0], [2.0, NAN], [NAN, 500.0]])
    prediction = head.predict(torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(prediction, torch.tensor([[2.0, 100.0]]))


def test_multi_property_towers_do_not_mix():
    head = fitted(MultiProperty(targets=["a", "b"]), [[0.0, 1.0], [2.0, 3.0]])
    head.loss(head(torch.randn(3, 4)), torch.tensor([[1.0, NAN]] * 3)).backward()
    used = [any(p.grad is not None and p.grad.any() for p in trunk.parameters()) for trunk in head.trunks]
    assert used == [True, False]


def test_multi_property_weight_zero_does_not_learn():
    head = fitted(MultiProperty(targets=["a", "b"], weights={"b": 0.0}, transform="none"), [[0.0, 0.0]])
    assert head.loss(torch.zeros(1, 2), torch.tensor([[2.0, 9.0]])).item() == 2.0
    assert head.loss(torch.zeros(1, 2), torch.tensor([[NAN, 9.0]])).item() == 0.0


def test_uncertainty_loss_by_hand():
    head = fitted(
        MultiProperty(targets=["a", "b", "c"], weights={"a": 3.0}, weighting="uncertainty", transform="none"),
        [[0.0, 0.0, 0.0]],
    )
    targets = torch.tensor([[1.0, NAN, NAN], [3.0, 4.0, NAN]])
    assert head.loss(torch.zeros(2, 3), targets).item() == pytest.approx((3 * 2 + 4) / 4)
    head.noise.log_scale.data = torch.tensor([math.log(2.0), math.log(0.5), 7.0])
    expected = (3 * (2 / 2 + math.log(2)) + (4 * 2 + math.log(0.5))) / 4
    loss = head.loss(torch.zeros(2, 3), targets)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    # no label of c: its noise must not drift
    assert head.noise.log_scale.grad[2] == 0
    assert head.noise.log_scale.grad[0].item() == pytest.approx(0.0, abs=1e-6)


def test_uncertainty_finds_the_scale_of_the_errors():
    torch.manual_seed(0)
    head = fitted(MultiProperty(targets=["a", "b"], weighting="uncertainty", transform="none"), [[0.0, 0.0]])
    errors = torch.distributions.Laplace(0.0, torch.tensor([0.1, 3.0])).sample((2000,))
    optimizer = torch.optim.Adam(head.noise.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        head.loss(torch.zeros(2000, 2), errors).backward()
        optimizer.step()
    torch.testing.assert_close(
        head.noise.log_scale.exp().detach(), torch.tensor([0.1, 3.0]), rtol=0.1, atol=0
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": []}, "at least one name"),
        ({"targets": ["a", "a"]}, "each given once"),
        ({"targets": ["a"], "weights": {"b": 1.0}}, "weights name b; the targets are: a"),
        ({"targets": ["a"], "transform": {"b": "log10"}}, "transform name b; the targets are: a"),
        ({"targets": ["a"], "weights": {"a": -1.0}}, "positive numbers or 0"),
        ({"targets": ["a"], "weights": {"a": 0.0}}, "not all 0"),
    ],
)
def test_multi_property_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        MultiProperty(**arguments)


def test_multi_property_transforms_by_name():
    head = fitted(MultiProperty(targets=["a", "b"], transform={"b": "log10"}), [[-1.0, 10.0], [1.0, 1000.0]])
    raw = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(head.predict(raw), torch.tensor([[1.0, 1000.0], [0.0, 100.0]]))
    spec = describe(head)
    assert spec["init_args"]["transform"] == {"b": "log10"}
    again = build(spec).bind(4)
    again.load_state_dict(head.state_dict())
    torch.testing.assert_close(again.predict(raw), head.predict(raw))
    with pytest.raises(UserError, match="target 'b' has 1 of 1 labels that are zero or negative"):
        head.check(torch.tensor([[0.0, 0.0]]))


def test_multi_property_wants_its_targets():
    with pytest.raises(UserError, match="this head predicts a, b; the data give b, a"):
        MultiProperty(targets=["a", "b"]).metrics(["b", "a"])
    with pytest.raises(UserError, match="target 'b' has no known label"):
        MultiProperty(targets=["a", "b"]).fit(torch.tensor([[1.0, NAN]]))


def test_binary_classification():
    head = fitted(Classification(), [[0.0], [1.0], [NAN]])
    raw = torch.tensor([[0.0], [2.0], [5.0]])
    torch.testing.assert_close(head.predict(raw)[:2], torch.tensor([[0.5], [1 / (1 + math.exp(-2))]]))
    loss = head.loss(raw, torch.tensor([[1.0], [0.0], [NAN]]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(1 + math.exp(2))) / 2)


def test_multiclass_classification():
    head = fitted(Classification(classes=3), [[0.0], [2.0]])
    raw = torch.tensor([[0.0, 0.0, math.log(2)]])
    torch.testing.assert_close(head.predict(raw), torch.tensor([[2.0, 0.25, 0.25, 0.5]]))
    assert head.loss(raw, torch.tensor([[2.0]])).item() == pytest.approx(math.log(2))
    assert head.columns(["phase"])[:2] == ["phase_class", "phase_probability_0"]


@pytest.mark.parametrize("label", [2.0, -1.0, 0.5])
def test_labels_that_are_no_class(label):
    with pytest.raises(
        UserError, match=rf"1 label\(s\) are no class number, for example {label:g}; .* 0 to 1"
    ):
        Classification().fit(torch.tensor([[0.0], [label], [NAN]]))


def test_gaussian_loss_is_the_likelihood_of_torch():
    head = fitted(Gaussian(), [[1.0], [5.0]])
    raw = torch.randn(7, 2)
    targets = torch.linspace(-3, 8, 7)[:, None]
    variance = F.softplus(raw[:, 1:]) + 1e-6
    expected = F.gaussian_nll_loss(raw[:, :1], (targets - 3) / 2, variance, full=True)
    torch.testing.assert_close(head.loss(raw, targets), expected)
    torch.testing.assert_close(head.predict(raw), torch.cat([3 + 2 * raw[:, :1], 2 * variance.sqrt()], 1))


def test_gaussian_under_logarithm():
    head = fitted(Gaussian(transform="log10"), [[1.0], [100.0]])
    raw = torch.tensor([[1.0, math.log(math.e - 1)]])  # softplus gives variance 1
    expected = torch.tensor([[100.0, 100 * math.log(10)]])
    torch.testing.assert_close(head.predict(raw), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("quantiles", [(0.05, 0.5, 0.95), (0.5, 0.9), (0.1, 0.2, 0.5)])
def test_quantiles_never_cross(quantiles):
    head = fitted(Quantile(quantiles=quantiles, transform="log10"), [[1.0], [10.0]])
    prediction = head.predict(3 * torch.randn(50, len(quantiles)))
    median, others = prediction[:, :1], prediction[:, 1:]
    below = sum(q < 0.5 for q in quantiles)
    rising = torch.cat([others[:, :below], median, others[:, below:]], dim=1)
    assert (rising.diff(dim=1) > 0).all()
    percent = [f"y_q{100 * q:g}" for q in quantiles if q != 0.5]
    assert head.columns(["y"]) == ["y", *percent]


def test_quantiles_are_learnt():
    torch.manual_seed(0)
    targets = torch.rand(2000, 1)
    head = Quantile(quantiles=(0.1, 0.5, 0.8), hidden=()).bind(1)
    head.fit(targets)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    x = torch.ones(2000, 1)
    for _ in range(300):
        optimizer.zero_grad()
        head.loss(head(x), targets).backward()
        optimizer.step()
    torch.testing.assert_close(
        head.predict(head(x))[0].detach(), torch.tensor([0.5, 0.1, 0.8]), atol=0.03, rtol=0
    )


@pytest.mark.parametrize("quantiles", [(0.1, 0.9), (0.5,), (0.9, 0.5, 0.1), (0.0, 0.5), (0.5, 1.0)])
def test_quantiles_are_checked(quantiles):
    with pytest.raises(UserError, match="quantiles must rise"):
        Quantile(quantiles=quantiles)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": (0,)}, r"at least 1 wide, got \[0\]"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(UserError, match=message):
        Regression(**arguments)
    with pytest.raises(UserError, match="classes must be at least 2, got 1"):
        Classification(classes=1)


def test_one_target_means_one():
    with pytest.raises(UserError, match=r"Gaussian predicts one target, got 2 \(a, b\); use MultiProperty"):
        Gaussian().columns(["a", "b"])
    with pytest.raises(UserError, match=r"Regression has 1 target\(s\), the data have 2"):
        Regression().fit(torch.ones(3, 2))
