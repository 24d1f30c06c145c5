"""Measures of a whole part, accumulated over its batches."""

import math

import pytest
import torch

from tlzoo.heads import Classification, Gaussian, MultiProperty, Quantile, Regression
from tlzoo.heads.metrics import RegressionMetrics

NAN = float("nan")


def computed(metrics, *batches):
    for prediction, target in batches:
        metrics.update(torch.tensor(prediction), torch.tensor(target))
    return {name: value.item() for name, value in metrics.compute().items()}


def test_regression_is_of_the_part_not_of_batches():
    batches = [([[1.0]], [[3.0]]), ([[1.0], [2.0], [5.0]], [[1.0], [NAN], [2.0]])]
    found = computed(Regression().metrics(["gap"]), *batches)
    assert found == pytest.approx({"mae": 5 / 3, "rmse": math.sqrt(13 / 3), "r2": 1 - 13 / 2}, rel=1e-6)


def test_large_offsets_lose_no_digits():
    truth = torch.linspace(0, 1, 100)[:, None] + 1e4
    metrics = RegressionMetrics(["y"])
    metrics.update(truth, truth)
    assert metrics.compute()["r2"].item() == 1.0


@pytest.mark.parametrize("target", [[[1.0]], [[NAN]], [[2.0], [2.0]]])
def test_what_does_not_exist_is_nan(target):
    metrics = Regression().metrics(["gap"])
    found = computed(metrics, ([[1.5]] * len(target), target))
    assert math.isnan(found["r2"])
    assert math.isnan(found["mae"]) == math.isnan(target[0][0])


def test_reset():
    metrics = Regression().metrics(["gap"])
    assert computed(metrics, ([[1.0]], [[5.0]]))["mae"] == 4.0
    metrics.reset()
    assert computed(metrics, ([[1.0]], [[2.0]]))["mae"] == 1.0


def test_several_properties():
    metrics = MultiProperty(targets=["a", "b", "c", "d"]).metrics(["a", "b", "c", "d"])
    # mean absolute deviation: a 1, b 100, c has one label (divided by 1), d none (left out)
    target = [[0.0, 0.0, 7.0, NAN], [2.0, 200.0, NAN, NAN]]
    found = computed(metrics, ([[0.5, 10.0, 7.0, 0.0], [1.5, 190.0, 0.0, 0.0]], target))
    assert found["mae_a"] == 0.5
    assert found["mae_b"] == 10.0
    assert math.isnan(found["mae_d"])
    assert found["relative_mae"] == pytest.approx((0.5 + 0.1 + 0.0) / 3)
    assert "mae" not in found


def test_one_property_of_a_multi_head_has_short_names():
    found = computed(MultiProperty(targets=["a"]).metrics(["a"]), ([[1.0], [2.0]], [[1.0], [3.0]]))
    assert found == pytest.approx({"mae": 0.5, "rmse": math.sqrt(0.5), "r2": 0.5, "relative_mae": 0.5})


def test_intervals():
    gaussian = computed(Gaussian().metrics(["y"]), ([[0.0, 1.0]] * 4, [[0.5], [-0.9], [1.5], [NAN]]))
    assert gaussian["coverage"] == pytest.approx(2 / 3)
    quantile = Quantile(quantiles=(0.5, 0.9)).metrics(["y"])
    found = computed(quantile, ([[0.0, 1.0]] * 4, [[0.5], [-0.5], [2.0], [1.0]]))
    assert found["coverage"] == 0.5


def test_binary_classes():
    metrics = Classification().metrics(["metal"])
    found = computed(metrics, ([[0.9], [0.2]], [[1.0], [0.0]]), ([[0.6], [0.1]], [[0.0], [NAN]]))
    # class 1 is found, of two crystals of class 0 one
    log_loss = -math.log(0.9 * 0.8 * 0.4) / 3
    wanted = {"accuracy": 2 / 3, "balanced_accuracy": 0.75, "f1": 2 / 3, "auroc": 1.0, "log_loss": log_loss}
    assert found == pytest.approx(wanted)


def test_always_the_same_answer_is_worth_a_coin():
    metrics = Classification().metrics(["metal"])
    found = computed(metrics, ([[0.01]] * 10, [[0.0]] * 9 + [[1.0]]))
    assert found["accuracy"] == pytest.approx(0.9)
    assert found["balanced_accuracy"] == 0.5


def test_a_probability_of_zero_costs_much_but_not_infinitely():
    found = computed(Classification().metrics(["metal"]), ([[0.0]], [[1.0]]))
    assert found["log_loss"] == pytest.approx(7 * math.log(10), rel=1e-4)


def test_many_classes():
    metrics = Classification(classes=3).metrics(["phase"])
    rows = [[0.0, 0.8, 0.1, 0.1], [1.0, 0.1, 0.8, 0.1], [2.0, 0.1, 0.1, 0.8], [0.0, 0.4, 0.3, 0.3]]
    found = computed(metrics, (rows, [[0.0], [1.0], [2.0], [2.0]]))
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["log_loss"] == pytest.approx(-math.log(0.8**3 * 0.3) / 4)
    assert found["f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert 0.5 < found["auroc"] <= 1.0


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("target", [[[1.0]], [[NAN]]])
def test_one_sample_of_a_class(classes, target):
    columns = 1 if classes == 2 else 4
    found = computed(Classification(classes=classes).metrics(["y"]), ([[1.0] * columns], target))
    assert math.isnan(found["auroc"])
    assert math.isnan(found["accuracy"]) == math.isnan(target[0][0])


def test_metrics_leave_no_trace_in_a_checkpoint():
    metrics = Regression().metrics(["gap"])
    computed(metrics, ([[1.0]], [[5.0]]))
    assert metrics.state_dict() == {}
