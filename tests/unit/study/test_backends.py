"""Processes that compute runs: each keeps its own, and may die."""

from pathlib import Path

import pytest

from tlzoo.study import backends
from tlzoo.study.backends import Here, Processes
from tlzoo.study.job import Job, Outcome


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


def test_a_process_that_ends_fails_its_run(processes):
    with processes as pool:
        pool.submit(job("x"))
        (outcome,) = pool.finished()
    assert outcome.row["id"] == "x"
    assert outcome.row["status"] == "failed"
    assert outcome.row["error"] == "the process that computed it ended with code -9; was memory short?"


def test_a_process_that_ended_while_idle_is_replaced(processes, monkeypatch):
    sent = []
    monkeypatch.setattr(backends, "_sent", lambda link, job: sent.append((link, job.id)) or len(sent) != 2)
    Thread.answers.extend([1, 2])
    pool = processes
    pool.submit(job("x"))
    pool._busy.clear()
    pool.submit(job("y"))
    assert [name for _, name in sent] == ["x", "y", "y"]
    assert sent[1][0] is sent[0][0]
    assert list(pool._workers) == list(pool._busy) == [sent[2][0]]
    pool.close()


def test_this_process_computes_what_is_submitted(monkeypatch):
    monkeypatch.setattr(backends, "perform", lambda job, _: Outcome({"id": job.id}, None))
    with Here() as here:
        here.submit(job("x"))
        assert [outcome.row["id"] for outcome in here.finished()] == ["x"]
