"""Intervals of models that have each left out a fold hold new crystals as often as they say."""

import json

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.model import cross_conformal
from tlzoo.model.cross_conformal import CrossConformal, FoldRecord
from tlzoo.model.intervals import scores

FOLDS = 5


def models(rng, x, y):
    """Straight lines through all but a fold each, and which fold each point is in."""
    fold = rng.permutation(len(x)) % FOLDS
    return [np.polyfit(x[fold != k], y[fold != k], 1) for k in range(FOLDS)], fold


def drawn(rng, count):
    x = rng.uniform(0, 1, count)
    # skewed, wider to the right, and on a curve that no line follows
    return x, np.sin(3 * x) + (0.1 + x) * rng.exponential(1.0, count) + 1


@pytest.mark.parametrize("kind", ["absolute", "factor", "std", "quantiles"])
def test_new_crystals_are_held(kind):
    """The guarantee is 80 % for any errors; of such ordinary ones nine of ten are held."""
    rng = np.random.default_rng(0)
    held = total = 0
    for _ in range(60):
        x, y = drawn(rng, 40)
        lines, fold = models(rng, x, y)

        def said(line, points):
            value = np.maximum(np.polyval(line, points), 0.1)
            width = 0.1 + points
            return {"prediction": value, "std": width, "q5": value - width, "q95": value + width}

        each = [scores(kind, {"target": y[fold == k], **said(lines[k], x[fold == k])}) for k in range(FOLDS)]
        crossed = CrossConformal(kind, each)
        new, truth = drawn(rng, 50)
        low, high = crossed.ends([said(line, new) for line in lines], 0.9)
        held += int(((low <= truth) & (truth <= high)).sum())
        total += len(new)
    assert held / total == pytest.approx(0.9, abs=0.02)


def test_ends_are_those_of_the_paper():
    """CV+ written out: scores around what the model of each crystal says, then two order statistics."""
    rng = np.random.default_rng(1)
    each = [np.abs(rng.normal(size=n)) for n in (4, 6, 5)]
    predicted = rng.normal(size=(3, 7))
    low, high = CrossConformal("absolute", each).ends([{"prediction": row} for row in predicted], 0.8)
    for column in range(7):
        lows = sorted(predicted[k, column] - s for k in range(3) for s in each[k])
        highs = sorted(predicted[k, column] + s for k in range(3) for s in each[k])
        # floor(0.2 * 16) = 3, ceil(0.8 * 16) = 13
        assert low[column] == lows[3 - 1]
        assert high[column] == highs[13 - 1]


def test_ends_do_not_depend_on_how_many_are_asked_at_a_time(monkeypatch):
    rng = np.random.default_rng(2)
    crossed = CrossConformal("absolute", [rng.exponential(size=20) for _ in range(3)])
    said = [{"prediction": rng.normal(size=11)} for _ in range(3)]
    whole = crossed.ends(said, 0.9)
    monkeypatch.setattr(cross_conformal, "CHUNK", 130)  # two crystals
    np.testing.assert_array_equal(crossed.ends(said, 0.9), whole)
    assert [len(end) for end in crossed.ends([{"prediction": np.empty(0)}] * 3, 0.9)] == [0, 0]


def test_few_scores_give_the_largest():
    crossed = CrossConformal("absolute", [np.array([1.0]), np.array([3.0]), np.array([2.0])])
    low, high = crossed.ends([{"prediction": np.zeros(1)}] * 3, 0.9)
    assert (low[0], high[0]) == (-3.0, 3.0)


def test_folds_are_held_by_the_errors_of_the_others():
    crossed = CrossConformal("absolute", [np.array([1.0, 9.0]), np.array([2.0, 3.0]), np.array([4.0, 5.0])])
    # the largest of the others is 5, 9 and 9
    assert crossed.held_in_turn(0.9) == 5


def test_a_record_is_read_as_it_was_written(tmp_path):
    rng = np.random.default_rng(3)
    crossed = CrossConformal("std", [rng.exponential(size=n) for n in (2, 3)])
    FoldRecord(["fold-1", "fold-2"], {"gap": crossed}, {"of": "fit"}).write(tmp_path)
    found = cross_conformal.read(tmp_path)
    assert list(found.folds) == ["fold-1", "fold-2"]
    assert dict(found.facts) == {"of": "fit"}
    assert found.intervals["gap"].kind == "std"
    for one, other in zip(found.intervals["gap"].scores, crossed.scores, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": 2}, "has format 2, this tlzoo reads format 1: update tlzoo"),
        ({"folds": []}, "is damaged; the same command with --folds writes it anew"),
        ({"folds": ["../other", "fold-2"]}, "names ../other, which is not in that directory"),
        ({"intervals": {"gap": {"kind": "std", "scores": [[1.0]]}}}, "is damaged"),
        ({"intervals": {"gap": {"kind": "std", "scores": [[1.0], ["x"]]}}}, "is damaged"),
        ({"intervals": {"gap": {"kind": "odd", "scores": [[1.0], [1.0]]}}}, "is damaged"),
        ({"intervals": 3}, "is damaged"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, change, text):
    whole = {"format": 1, "folds": ["fold-1", "fold-2"], "intervals": {}}
    (tmp_path / cross_conformal.FILE).write_text(json.dumps({**whole, **change}))
    with pytest.raises(UserError) as caught:
        cross_conformal.read(tmp_path)
    assert text in str(caught.value)
