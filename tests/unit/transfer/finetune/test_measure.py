"""What is compared: absolute errors of numbers, the balanced error of two classes."""

import numpy as np
import pytest

from tlzoo.data.sources.labels import are_classes
from tlzoo.transfer.finetune.measure import Measure, end


def test_numbers_cost_their_absolute_error():
    measure = Measure(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(measure(np.array([[-1.0, 3.0]])), [[1.0, 3.0]])
    np.testing.assert_array_equal(measure(np.array([-1.0, 3.0]), np.array([False, True])), [3.0])
    assert measure.name == "MAE"


def test_classes_cost_the_balanced_error():
    """Of 9 crystals of class 0 three are wrong, of 3 of class 1 two: 1/2 (3/9 + 2/3)."""
    truth = np.array([0.0] * 9 + [1.0] * 3)
    probability = np.array([0.9] * 3 + [0.1] * 6 + [0.2] * 2 + [0.7])
    measure = Measure(truth, classes=True)
    assert measure(probability - truth).mean() == pytest.approx((3 / 9 + 2 / 3) / 2)
    assert measure.name == "balanced error"
    for constant in (0.0, 0.5, 1.0):
        assert measure(constant - truth).mean() == pytest.approx(0.5), "always one answer"
    kept = np.arange(12) > 2
    assert measure(probability - truth, kept).mean() == pytest.approx((0 / 6 + 2 / 3) / 2)
    one = np.arange(12) < 9
    assert measure(probability - truth, one).mean() == pytest.approx(3 / 9), "one class alone"


def test_what_are_classes():
    assert are_classes(np.array([0.0, 1.0, np.nan]))
    for labels in ([0.0, 0.0], [1.0], [0.0, 1.0, 2.0], [0.0, 0.5, 1.0], [np.nan]):
        assert not are_classes(np.array(labels))


def test_a_property_ends_where_labels_pile_up():
    gaps, all_of_them = np.array([0.0] * 5 + [np.nan] + [0.3] * 45), np.arange(51)
    assert end(gaps, all_of_them) == 0
    assert end(gaps, all_of_them[1:]) == 0, "some 5 %"
    assert end(gaps, all_of_them[2:]) == 0
    assert end(gaps, all_of_them[3:]) is None, "2 of 47 may be chance"
    moments = np.append(gaps, -0.1)
    assert end(moments, np.arange(52)) is None
    assert end(moments, all_of_them) is None, "negative in another part: no end of the property"
    assert end(gaps, all_of_them[6:]) is None, "nothing is known of what has no label"
    assert end(np.array([np.nan]), np.arange(1)) is None
