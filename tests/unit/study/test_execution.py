"""Running a study with trainings that are made up: what is run, in which order, and what is kept."""

import pandas as pd
import pytest

from tlzoo.errors import UserError
from tlzoo.study import execution
from tlzoo.study.axes import holds
from tlzoo.study.backends import Backend
from tlzoo.study.document import load
from tlzoo.study.execution import Execution
from tlzoo.study.job import Outcome, Returned, ending, heading
from tlzoo.study.study_folder import Folder
from tlzoo.study.summary import trivial

STUDY = """\
axes:
  source: {a: {model: {x: 1}}, b: {model: {x: 2}}}
  rate: {key: model.lr, values: [1, 2]}
  trial: {key: seed, values: [1, 2]}
tune: {axes: [rate], with: {trial: 1}}
average: [trial]
"""


class Pretended(Backend):
    """Finishes the run that waits longest; a rate of 2 is better."""

    def __init__(self, slots=1, failing=(), diverging=()):
        self.slots = slots
        self.failing = failing
        self.diverging = diverging
        self.jobs = []
        self.done = []
        self.closed = False

    def submit(self, jobs):
        assert len(self.jobs) < self.slots
        (job,) = jobs  # without a network nothing can be one training
        self.jobs.append(job)

    def finished(self):
        job = self.jobs.pop(0)
        values = tuple(job.labels.values())
        self.done.append(values)
        if job.trivial:
            facts = {"status": "done", "baselines": {"mean": {"val": {"mae": 2.0}}}, "unit": "eV"}
        elif values in self.diverging:
            facts = {"status": "failed", "error": "no number", "settled": True}
        elif values in self.failing:
            facts = {"status": "failed", "error": "no"}
        else:
            facts = {"status": "done", "val_mae": 3 - job.labels["rate"], "test_mae": 1.0, "unit": "eV"}
        outcome = Outcome({**heading(job), **facts, "seconds": 60.0, **ending()}, None)
        return [Returned([job], [outcome])]

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """What is made up is no configuration."""
    monkeypatch.setattr(execution, "check", lambda _: None)


@pytest.fixture
def study(tmp_path):
    (tmp_path / "s.yaml").write_text(STUDY)
    return load(tmp_path / "s.yaml")


@pytest.fixture
def run(study, tmp_path):
    def ran(backend, only=(), limit=None, retry=False, study=study):
        lines = []
        folder = Folder(tmp_path / "results")
        progress = Execution(study, folder, backend, lines.append, study.only(only), limit, retry).run()
        assert backend.closed
        assert not any((folder.path / "claims").iterdir())
        return progress, lines

    return ran


FIRST = [("a", 1, 1), ("a", 2, 1), ("b", 1, 1), ("b", 2, 1)]


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_tuning_comes_first_and_the_best_goes_on(slots, run):
    backend = Pretended(slots)
    progress, lines = run(backend)
    assert sorted(backend.done[:4]) == FIRST
    assert sorted(backend.done[4:]) == [("a", 2, 2), ("b", 2, 2)]
    assert (progress.done, progress.failed, progress.total) == (6, 0, 6)
    assert lines[-1].startswith("[6/6] source=b rate=2 trial=2: validation MAE 1, test MAE 1 eV, 60 s")
    assert lines[0].endswith({1: "5 min left", 2: "2 min left", 5: "60 s left"}[slots])


def test_what_is_done_is_not_run_again_and_what_failed_is(run):
    run(Pretended(failing={("a", 1, 1), ("b", 2, 1)}))
    again = Pretended()
    progress, lines = run(again)
    assert again.done == [("a", 1, 1), ("b", 2, 1), ("b", 2, 2)]
    assert (progress.done, progress.failed, progress.total) == (6, 0, 6)
    assert len(lines) == 3


def test_what_fails_is_told_once_and_stops_nothing(run):
    progress, lines = run(Pretended(failing=set(FIRST[:2])))
    assert (progress.done, progress.failed, len(progress.hopeless)) == (3, 2, 1)
    assert sum("failed: no" in line for line in lines) == 2


def test_only_some(run):
    backend = Pretended()
    progress, _ = run(backend, only=["source=b"])
    assert backend.done == [("b", 1, 1), ("b", 2, 1), ("b", 2, 2)]
    assert progress.total == 3
    backend = Pretended()
    progress, _ = run(backend, only=["trial=2"])
    assert backend.done == []
    assert "1 wait until tuning has chosen" in progress.line()


def test_a_limit(run):
    backend = Pretended(2)
    progress, _ = run(backend, limit=3)
    assert sorted(backend.done) == FIRST[:3]
    assert progress.done == 3


class Several(Backend):
    """Is given several runs at a time, and does so many of them as one."""

    def __init__(self, fitting, slots=1, shapes=()):
        self.slots, self.fitting, self.shapes = slots, list(fitting), dict(shapes)
        self.given, self.waiting, self.closed = [], [], False

    def submit(self, jobs):
        self.given.append([job.labels["trial"] for job in jobs])
        self.waiting.append(jobs)

    def finished(self):
        jobs = self.waiting.pop(0)
        number = self.fitting.pop(0) if self.fitting else len(jobs)
        facts = {"status": "done", "val_mae": 1.0, "unit": "eV", "seconds": 60.0}
        outcomes = [Outcome({**heading(job), **facts, **ending()}, None) for job in jobs[:number]]
        shapes = {job.id: self.shapes.get(job.labels["trial"], "same") for job in jobs}
        return [Returned(jobs, outcomes, shapes, max(1, number) if number < len(jobs) else None)]

    def close(self):
        self.closed = True


@pytest.fixture
def six(tmp_path):
    """A study of six runs of one network."""
    file = tmp_path / "several.yaml"
    file.write_text(
        "base: {model: {backbone: {class_path: CGCNN}}}\naxes: {trial: {key: seed, values: [1,2,3,4,5,6]}}\n"
    )
    return load(file)


@pytest.mark.parametrize(
    ("fitting", "slots", "limit", "given"),
    [
        ([], 1, None, [[1, 2, 3, 4, 5, 6]]),
        ([], 2, None, [[1, 2, 3], [4, 5, 6]]),
        ([], 1, 4, [[1, 2, 3, 4]]),
        ([4], 1, None, [[1, 2, 3, 4, 5, 6], [5, 6]]),
        ([1], 1, None, [[1, 2, 3, 4, 5, 6], [2], [3], [4], [5], [6]]),
        ([0], 1, 2, [[1, 2], [1], [2]]),
    ],
    ids=["all", "for two slots", "a limit", "too many", "one alone", "lost"],
)
def test_runs_of_a_kind_are_given_together(run, six, fitting, slots, limit, given):
    backend = Several(fitting, slots)
    progress, _ = run(backend, limit=limit, study=six)
    assert backend.given == given
    assert progress.done == (limit or 6)


def test_what_goes_alone_keeps_the_others_together(run, six, monkeypatch):
    """Once built they are known: the first and the fourth go alone, the others as one."""
    backend = Several([], shapes={1: None, 4: None})
    finished = backend.finished

    def those_of_one_shape():
        (all_,) = finished()
        first, *others = all_.outcomes
        shape = all_.shapes[first.row["id"]]
        same = [each for each in others if shape is not None and all_.shapes[each.row["id"]] == shape]
        return [Returned(all_.jobs, [first, *same], all_.shapes)]

    monkeypatch.setattr(backend, "finished", those_of_one_shape)
    progress, _ = run(backend, study=six)
    assert backend.given == [[1, 2, 3, 4, 5, 6], [2, 3, 5, 6], [4]]
    assert progress.done == 6


class Forgetful(Pretended):
    """Loses what it is given first."""

    def finished(self):
        if not self.done:
            self.done.append("lost")
            return [Returned([self.jobs.pop(0)], [], most=1)]
        return super().finished()


@pytest.mark.parametrize("trivial", [True, False])
def test_what_is_lost_is_given_again_within_the_limit(run, tmp_path, trivial):
    file = tmp_path / "l.yaml"
    file.write_text(STUDY.replace("key: seed", "key: data.seed") + f"baselines: {str(trivial).lower()}\n")
    backend = Forgetful()
    run(backend, study=load(file), limit=2)
    assert [each for each in backend.done[1:] if len(each) > 1] == FIRST[:2]


class Shrinking(Pretended):
    """Has room for less after the first run."""

    def finished(self):
        self.slots = 1
        return super().finished()


def test_a_backend_may_take_less_than_before(run):
    progress, _ = run(Shrinking(3))
    assert progress.done == 6


def test_stopping_keeps_what_is_done(run, tmp_path):
    class Stopped(Pretended):
        def finished(self):
            if len(self.done) == 2:
                raise KeyboardInterrupt
            return super().finished()

    with pytest.raises(UserError, match=r"stopped\. 2 of 6 runs are done, in .*; the same command goes on"):
        run(Stopped(2))
    assert (tmp_path / "results" / "results.parquet").exists()
    backend = Pretended()
    run(backend)
    assert len(backend.done) == 4


def test_what_another_process_computes_is_waited_for(study, run, tmp_path, monkeypatch):
    other = Folder(tmp_path / "results")
    other.make()
    first = study.runs()[0]
    claim = other.claim(first.id)
    waits = []

    def finish(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            other.write(
                {"id": first.id, "labels": {}, "status": "done", "val_mae": 9, "seconds": 1, **ending()}, None
            )
            claim.release()

    monkeypatch.setattr(execution.time, "sleep", finish)
    backend = Pretended()
    progress, _ = run(backend)
    assert len(waits) == 2
    assert ("a", 1, 1) not in backend.done
    assert backend.done[-1] == ("a", 2, 2), "its result was needed to choose"
    assert progress.done == 6


def test_what_fails_in_another_process_meanwhile_is_not_run_again(study, run, tmp_path):
    other = Folder(tmp_path / "results")
    last = study.runs()[-2]

    class Meanwhile(Pretended):
        def finished(self):
            row = {"id": last.id, "labels": {}, "status": "failed", "error": "no", "seconds": 1, **ending()}
            other.write(row, None)
            return super().finished()

    backend = Meanwhile()
    progress, _ = run(backend)
    assert tuple(last.labels.values()) not in backend.done
    assert progress.failed == 1


def test_what_diverged_is_run_again_if_asked(run):
    first = Pretended(diverging={("a", 1, 1)}, failing={("b", 1, 1)})
    run(first)
    again = Pretended()
    progress, _ = run(again)
    assert again.done == [("b", 1, 1)]
    assert progress.failed == 1, "a failure that stands is one"
    again = Pretended()
    progress, _ = run(again, retry=True)
    assert again.done == [("a", 1, 1)]
    assert progress.failed == 0


def test_trivial_baselines_are_computed_once_for_each_split(run, tmp_path):
    file = tmp_path / "b.yaml"
    file.write_text(STUDY.replace("key: seed", "key: data.seed") + "baselines: true\n")
    study = load(file)
    assert [run.labels for run in study.trivial] == [{"trial": 1}, {"trial": 2}]
    backend = Pretended(2)
    progress, lines = run(backend, study=study)
    assert backend.done[:2] == [(1,), (2,)]
    assert "trial=1: mean MAE 2 eV, 60 s" in lines[0]
    assert (progress.done, progress.total) == (6, 6)
    table = pd.read_parquet(tmp_path / "results" / "baselines.parquet")
    assert table["trial"].tolist() == [1, 2]
    assert table[["source", "rate", "test_mae"]].isna().all(axis=None)
    assert set(table["baseline"]) == {"mean"}
    assert set(table["val_mae"]) == {2.0}
    said = trivial(study, table, "text").splitlines()
    assert said[0].split() == ["baseline", "splits", "validation", "MAE", "test", "MAE", "unit"]
    assert said[1].split() == ["mean", "2", "2", "±", "0", "–", "eV"]
    again = Pretended()
    run(again, study=study, limit=1)
    assert again.done == []
    (tmp_path / "results" / "rows" / f"{study.trivial[1].id}.json").unlink()
    run(again, study=study, only=["trial=1"])
    assert again.done == []
    run(again, study=study, only=["source=a"])
    assert again.done == [(2,)]


def test_a_baseline_that_is_done_again_counts_not_for_a_limit(run, tmp_path):
    class Killing(Pretended):
        def finished(self):
            if not self.done:
                self.done.append("killed")
                return [Returned([self.jobs.pop(0)], [], most=1)]
            return super().finished()

    file = tmp_path / "b.yaml"
    file.write_text(STUDY.replace("key: seed", "key: data.seed") + "baselines: true\n")
    progress, _ = run(Killing(), study=load(file), limit=2)
    assert progress.done == 2


def test_one_run_by_its_id(study):
    wanted = study.runs()[3]
    assert [run for run in study.runs() if holds(study.named(wanted.id), run.labels)] == [wanted]
    with pytest.raises(UserError, match=r"s\.yaml has no run 'abc': the file or a checkpoint is another one"):
        study.named("abc")
