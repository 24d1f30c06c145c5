"""Means, spreads and intervals; the directory of a screening; what counts as an interval of a head."""

import numpy as np
import pyarrow as pa
import pytest

from tlzoo.errors import UserError
from tlzoo.screen.predictors import DEVIATIONS, Answers, interval, open_predictors
from tlzoo.screen.ranking import rank
from tlzoo.screen.screening import combined
from tlzoo.screen.shards import Shards

NONE = np.full(2, np.nan)


def answer(value, low=NONE, high=NONE):
    return Answers(np.array(value), np.array(low), np.array(high), np.zeros((2, 1)))


def test_one_model_without_intervals():
    assert list(combined("gap", [answer([1.0, 2.0])], uncertain=False)) == ["gap"]


def test_one_model_with_intervals():
    found = combined("gap", [answer([1.0, 2.0], [0.5, 1.0], [2.0, 4.0])], uncertain=True)
    assert {name: values.tolist() for name, values in found.items()} == {
        "gap": [1, 2],
        "gap_lower": [0.5, 1],
        "gap_upper": [2, 4],
    }


def test_the_spread_of_models_is_no_interval():
    """Two values of SiO2 that lie close: what they say of the truth nobody knows."""
    found = combined("gap", [answer([5.121, 2.0]), answer([5.133, 1.0])], uncertain=False)
    assert list(found) == ["gap", "gap_spread"]
    np.testing.assert_allclose(found["gap"], [5.127, 1.5])
    np.testing.assert_allclose(found["gap_spread"], [0.006, 0.5])


def test_an_ensemble_adds_its_spread_to_the_models_own():
    found = combined(
        "gap", [answer([1.0, 2.0]), answer([3.0, 2.0], [3 - 1.0, 1.0], [4.0, 3.0])], uncertain=True
    )
    np.testing.assert_allclose(found["gap"], [2, 2])
    np.testing.assert_allclose(found["gap_spread"], [1, 0])
    half = np.sqrt(0.5 + np.square(DEVIATIONS * np.array([1, 0])))
    np.testing.assert_allclose(found["gap_upper"], 2 + half)
    np.testing.assert_allclose(found["gap_lower"], 2 - half)


def test_intervals_of_heads():
    value = np.array([1.0])
    low, high = interval({"gap": value, "gap_std": np.array([0.5])}, "gap")
    np.testing.assert_allclose([low[0], high[0]], [1 - DEVIATIONS / 2, 1 + DEVIATIONS / 2])
    quantiles = {"gap": value, "gap_q2.5": value - 1, "gap_q25": value - 0.1, "gap_q97.5": value + 2}
    np.testing.assert_allclose(interval(quantiles, "gap"), [value - 1, value + 2], atol=1e-12)
    assert np.isnan(interval({"gap": value, "gap_q90": value}, "gap")[0]).all()
    assert np.isnan(interval({"gap": value}, "gap")).all()


def test_a_directory_is_of_one_screening(tmp_path):
    shards = Shards(tmp_path / "shards")
    with shards.opened({"where": None, "pool": {"sha256": "a"}}):
        pass
    in_use = pytest.raises(UserError, match="is in use by another process")
    with shards.opened({"where": None, "pool": {"sha256": "a"}}), in_use, Shards(shards.path).opened({}):
        pass
    changed = {"where": "density < 5", "pool": {"sha256": "b"}}
    message = (
        r"holds another screening; choose another --dir.*\n  pool.sha256: 'a' → 'b'\n  where: None → 'dens"
    )
    with pytest.raises(UserError, match=message), shards.opened(changed):
        pass


def test_shards_of_before_are_ranked_without_their_intervals(tmp_path):
    """They were made of the spread alone; of models that have some they stay."""
    shards = Shards(tmp_path / "shards")
    for number, more in ((0, {"gap_lower": [1.0], "gap_upper": [3.0]}), (1, {})):
        columns = {"row": [number], "id": ["a"], "formula": ["C"], "gap": [2.0 - number], "gap_spread": [0.5]}
        problem = {"problem": pa.array([None], pa.string())}
        shards.write(number, pa.table({**columns, **more, **problem}, metadata={"read": "1"}))
    found = rank(shards, 2, "gap", top=None, ascending=False, intervals=False)
    assert found.table.column_names == ["rank", "row", "id", "formula", "gap", "gap_spread"]
    assert found.table["gap"].to_pylist() == [2, 1]
    kept = rank(shards, 1, "gap", top=None, ascending=False, intervals=True)
    assert kept.table.column_names[-2:] == ["gap_lower", "gap_upper"]


def test_models_must_predict_the_same():
    with pytest.raises(UserError, match=r"must predict the same .* got cgcnn-bg: band_gap in eV, cgcnn-fe: "):
        open_predictors(["cgcnn-bg", "cgcnn-fe"], None)
    with pytest.raises(UserError, match=r"predicts formation_energy, band_gap, .*; choose one: --target"):
        open_predictors(["momentnet-all"], None)
    with pytest.raises(UserError, match="not gap"):
        open_predictors(["cgcnn-bg"], "gap")
    with pytest.raises(UserError, match="named twice"):
        open_predictors(["cgcnn-bg", "cgcnn-bg"], None)
