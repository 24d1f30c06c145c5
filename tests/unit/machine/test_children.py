"""Work in processes beside this one: results, what is said meanwhile, errors, and nothing left behind."""

import multiprocessing
import os
import signal
import time
from functools import partial

import pytest
import torch

from tlzoo.errors import UserError
from tlzoo.machine import children

pytestmark = pytest.mark.skipif(not children.FORKS, reason="nothing is forked here")


def work(number, tell):
    tell(f"begin {number}")
    tell(os.getpid())
    return number**2, torch.get_num_threads()


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_with_their_numbers(jobs):
    said = []
    pieces = [partial(work, number) for number in range(4)]
    found = dict(children.each(pieces, jobs, lambda number, text: said.append((number, text))))
    assert {number: square for number, (square, _) in found.items()} == {0: 0, 1: 1, 2: 4, 3: 9}
    assert {text for text in said if isinstance(text[1], str)} == {(n, f"begin {n}") for n in range(4)}
    processes = {text[1] for text in said if isinstance(text[1], int)}
    assert processes == {os.getpid()} if jobs == 1 else len(processes - {os.getpid()}) == 4
    if jobs > 1:
        assert {threads for _, threads in found.values()} == {1}
    assert not multiprocessing.active_children()


def fails(error, _):
    raise error


def waits(_):
    time.sleep(600)


@pytest.mark.parametrize(
    ("piece", "error", "text"),
    [
        (partial(fails, UserError("no such thing")), UserError, "^no such thing$"),
        (partial(fails, ValueError("three")), RuntimeError, "ValueError: three"),
        (lambda _: os.kill(os.getpid(), signal.SIGKILL), UserError, "ended with code -9; was memory short"),
    ],
)
def test_an_error_ends_the_others(piece, error, text):
    with pytest.raises(error, match=text):
        list(children.each([waits, piece], 2, print))
    assert not multiprocessing.active_children()


def test_ctrl_c_ends_all():
    def stop(tell):
        tell("there")
        time.sleep(600)

    def told(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(children.each([stop, stop], 2, told))
    assert not multiprocessing.active_children()
