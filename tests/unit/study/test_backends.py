"""Processes that compute runs: each keeps its own, and may die."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tlzoo.errors import UserError
from tlzoo.study import backends
from tlzoo.study.backends import Here, Processes
from tlzoo.study.grid import StudyRun
from tlzoo.study.job import Job, Outcome, Returned, check


def job(name):
    return Job(name, {"a": name}, {}, (), Path("work"))


class Thread:
    """Stands for a process that has ended, or answers at once."""

    exitcode = -9

    def __init__(self, args, **_):
        self.link = args[0]

    def start(self):
        if self.answers:
            self.answers.pop()
        else:
            self.link.close()

    def join(self):
        pass

    kill = join


@pytest.fixture
def processes(monkeypatch):
    """A pool whose processes end before they are given anything, but for so many."""
    made = Processes(2)
    monkeypatch.setattr(Thread, "answers", [], raising=False)
    monkeypatch.setattr(
        made, "_context", type("Context", (), {"Pipe": made._context.Pipe, "Process": Thread})
    )
    return made


def test_a_process_that_is_killed_twice_fails_its_run(processes, caplog):
    with processes as pool:
        pool.submit([job("x")])
        (returned,) = pool.finished()
        assert not returned.outcomes
        assert pool.slots == 1
        assert "its runs are done again, 1 at a time" in caplog.text
        pool.submit([job("x")])
        (returned,) = pool.finished()
    (outcome,) = returned.outcomes
    assert outcome.row["id"] == "x"
    assert outcome.row["status"] == "failed"
    assert outcome.row["error"] == "the process that computed it ended with code -9; was memory short?"


def test_a_process_that_ends_by_itself_fails_its_run(processes, monkeypatch):
    monkeypatch.setattr(Thread, "exitcode", 1)
    with processes as pool:
        pool.submit([job("x")])
        (returned,) = pool.finished()
        assert pool.slots == 2
    assert returned.outcomes[0].row["error"].startswith("the process that computed it ended with code 1;")


def test_of_several_that_are_lost_nobody_knows_which_failed(processes):
    with processes as pool:
        pool.submit([job("x"), job("y")])
        (returned,) = pool.finished()
    assert [each.id for each in returned.jobs] == ["x", "y"]
    assert not returned.outcomes
    assert returned.most == 1


def test_a_process_that_ended_while_idle_is_replaced(processes, monkeypatch):
    sent = []
    monkeypatch.setattr(
        backends, "_sent", lambda link, jobs: sent.append((link, jobs[0].id)) or len(sent) != 2
    )
    Thread.answers.extend([1, 2])
    pool = processes
    pool.submit([job("x")])
    pool._busy.clear()
    pool.submit([job("y")])
    assert [name for _, name in sent] == ["x", "y", "y"]
    assert sent[1][0] is sent[0][0]
    assert list(pool._workers) == list(pool._busy) == [sent[2][0]]
    pool.close()


def test_this_process_computes_what_is_submitted(monkeypatch):
    monkeypatch.setattr(
        backends, "perform", lambda jobs, _: Returned(jobs, [Outcome({"id": jobs[0].id}, None)])
    )
    with Here() as here:
        here.submit([job("x"), job("y")])
        (returned,) = here.finished()
    assert [each.id for each in returned.jobs] == ["x", "y"]
    assert [outcome.row["id"] for outcome in returned.outcomes] == ["x"]


def test_without_ray_its_backend_says_how_to_get_it(tlzoo, tmp_path, monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    file = tmp_path / "s.yaml"
    file.write_text("axes: {x: {key: seed_everything, values: [1]}}\n")
    monkeypatch.setattr("importlib.metadata.version", version)
    answer = tlzoo("study", "run", file, "--dir", tmp_path / "out", "--backend", "ray")
    assert answer.code == 2
    assert answer.err.startswith(
        "tlzoo: --backend ray needs the package ray: pip install tlzoo[ray]; or take"
    )
    assert not (tmp_path / "out").exists()
    answer = tlzoo("study", "run", file, "--gpus-per-run", 0.5)
    assert (answer.code, answer.err) == (
        2,
        "tlzoo: --address, --cpus-per-run and --gpus-per-run are about Ray: add --backend ray\n",
    )
    answer = tlzoo("study", "run", file, "--gpus-per-run", -1, "--backend", "ray")
    assert "--cpus-per-run must be more than 0, --gpus-per-run 0 or more" in answer.err


@pytest.mark.parametrize("trainer", [{"devices": 2}, {"devices": "auto"}, {"devices": -1}, {"num_nodes": 3}])
def test_a_run_is_one_process(trainer):
    run = StudyRun({"x": 1}, {"trainer": trainer}, (), "id")
    with pytest.raises(
        UserError, match=r"x=1: trainer\.(devices|num_nodes) is .*, but a run of a study is one"
    ):
        check([run])
