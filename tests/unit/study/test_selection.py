"""Tuning: all values where the study says so, elsewhere only the best of them, by validation alone."""

import pytest

from tlzoo.study.document import load
from tlzoo.study.selection import chosen, decide, once

STUDY = """\
axes:
  source: {a: {model: {x: 1}}, b: {model: {x: 2}}}
  rate: {key: model.lr, values: [1, 2, 3]}
  trial: {key: seed, values: [1, 2, 3]}
tune: {axes: [rate], with: {trial: 1}}
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY)
    return load(tmp_path / "s.yaml")


def rows(study, errors):
    """Results of the combinations given as source, rate, trial; None for a failed run."""
    found = {tuple(run.labels.values()): run.id for run in study.runs()}
    return {
        found[labels]: {"status": "failed"}
        if error is None
        else {"status": "done", "val_mae": error, "test_mae": 1}
        for labels, error in errors.items()
    }


def values(runs):
    return [tuple(run.labels.values()) for run in runs]


TRIED = [(source, rate, 1) for source in "ab" for rate in (1, 2, 3)]


def test_at_first_all_is_tried_in_one_place(study):
    decision = decide(study, {})
    assert values(decision.wanted) == TRIED
    assert decision.undecided == tuple({"source": s, "trial": t} for s in "ab" for t in (2, 3))
    assert decision.hopeless == ()


def test_the_best_goes_on_as_soon_as_its_group_is_tried(study):
    there = rows(study, {("a", 1, 1): 5.0, ("a", 2, 1): 3.0, ("a", 3, 1): 4.0, ("b", 1, 1): 1.0})
    decision = decide(study, there)
    assert values(decision.wanted) == [*TRIED, ("a", 2, 2), ("a", 2, 3)]
    assert decision.undecided == ({"source": "b", "trial": 2}, {"source": "b", "trial": 3})


def test_what_failed_loses_and_if_all_failed_nothing_goes_on(study):
    there = rows(study, {("a", 1, 1): None, ("a", 2, 1): 3.0, ("a", 3, 1): None, **dict.fromkeys(TRIED[3:])})
    decision = decide(study, there)
    assert values(decision.wanted) == [*TRIED, ("a", 2, 2), ("a", 2, 3)]
    assert decision.hopeless == ({"source": "b", "trial": 2}, {"source": "b", "trial": 3})
    assert chosen(study, there) == {(("source", "a"),): {"rate": 2}, (("source", "b"),): None}


def test_test_errors_decide_nothing(study):
    there = rows(study, dict(zip(TRIED, [3.0, 2.0, 1.0] * 2, strict=True)))
    best = chosen(study, there)
    for row in there.values():
        row["test_mae"] = -row["val_mae"]
    assert chosen(study, there) == best
    assert all(values == {"rate": 3} for values in best.values())


def test_without_tuning_all_is_wanted(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.partition("tune:")[0])
    study = load(tmp_path / "s.yaml")
    assert decide(study, {}).wanted == study.runs()


def test_the_mean_decides_where_several_are_tried(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.replace("trial: 1}", "trial: [1, 2]}"))
    study = load(tmp_path / "s.yaml")
    errors = {("a", 1): (1.0, 9.0), ("a", 2): (4.0, 4.0), ("a", 3): (0.5, None)}
    there = rows(
        study, {(*key, i + 1): error for key, both in errors.items() for i, error in enumerate(both)}
    )
    assert values(decide(study, there).wanted)[-1] == ("a", 2, 3)


def test_runs_that_compute_the_same_are_wanted_once(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY.replace("x: 2", "x: 1"))
    runs = load(tmp_path / "s.yaml").runs()
    assert values(once(runs)) == values(runs[: len(runs) // 2])
