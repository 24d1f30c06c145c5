"""Worker processes: the same graphs in the same order, few chunks at a time, nothing left behind."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tlzoo.errors import UserError
from tlzoo.graphs import compiled_graphs
from tlzoo.graphs import workers as module
from tlzoo.graphs.graph_chunk import cells_of, graphs_of
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.graphs.workers import WAITING, Workers, worker_count
from tlzoo.machine.compiled import VARIABLE

OPTIONS = GraphOptions(neighbours=4, symmetric=True, angles=True)


class TestWorkerCount:
    def test_as_asked(self, monkeypatch):
        monkeypatch.setenv("TLZOO_WORKERS", "3")
        assert (worker_count(), worker_count(5)) == (3, 5)

    @pytest.mark.parametrize("setting", [None, ""])
    def test_one_per_usable_core(self, monkeypatch, setting):
        monkeypatch.setattr(module, "processes", lambda: 7)
        monkeypatch.delenv("TLZOO_WORKERS", raising=False)
        if setting is not None:
            monkeypatch.setenv("TLZOO_WORKERS", setting)
        assert worker_count() == 7

    @pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5"])
    def test_others_are_refused(self, monkeypatch, wrong):
        monkeypatch.setenv("TLZOO_WORKERS", wrong)
        with pytest.raises(UserError, match=f"TLZOO_WORKERS must be .* at least 1, got '{wrong}'; 1 starts"):
            worker_count()

    def test_the_argument_is_named(self):
        with pytest.raises(UserError, match=r"^workers must be a number of .* at least 1, got '0'"):
            worker_count(0)


@pytest.fixture
def chunks(crystals):
    """Chunks of different sizes, one of which has a crystal without a graph."""
    alone = (40 * np.eye(3), [np.array([1]), np.array([2], dtype=np.uint8), np.zeros((1, 3))])
    found = [cells_of(crystals, start, stop) for start, stop in ((0, 3), (2, 6), (5, 6), (0, 1), (1, 4))]
    found[3] = type(found[3])(alone[0][None], *alone[1])
    return found


def assert_same(one, other):
    np.testing.assert_array_equal(one.sizes, other.sizes)
    assert one.problems == other.problems
    assert one.arrays.keys() == other.arrays.keys()
    for name, values in one.arrays.items():
        assert values.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(values, other.arrays[name])


def gone(pids):
    return [not Path(f"/proc/{pid}").exists() for pid in pids] == [True] * len(pids)


@pytest.mark.parametrize("count", [1, 3])
def test_same_graphs_in_the_same_order(chunks, count):
    with Workers(count, OPTIONS) as workers:
        found = list(workers.map(iter(chunks * 4)))
        pids = [process.pid for process in workers._processes]
    assert len(found) == 20
    for one, cells in zip(found, chunks * 4, strict=True):
        assert_same(one, graphs_of(cells, OPTIONS))
    assert list(found[3].problems) == [0]
    assert gone(pids)


def test_only_a_few_chunks_are_read_ahead(chunks):
    taken = []

    def read():
        for i in range(20):
            taken.append(i)
            yield chunks[0]

    with Workers(2, OPTIONS) as workers:
        found = workers.map(read())
        next(found)
        assert len(taken) == 2 * WAITING
        next(found)
        assert len(taken) == 2 * WAITING + 1


def test_a_killed_process_is_named_and_none_is_left(chunks):
    pids = []

    def kill_one():
        with Workers(2, OPTIONS) as workers:
            pids.extend(process.pid for process in workers._processes)
            for done, _ in enumerate(workers.map(iter(chunks * 100))):
                if done == 3:
                    os.kill(pids[0], signal.SIGKILL)

    with pytest.raises(UserError) as caught:
        kill_one()
    assert str(caught.value) == (
        "a process that makes graphs ended early (killed by SIGKILL); "
        "run again, with fewer processes if memory is short: TLZOO_WORKERS=1 uses none but this one"
    )
    assert len(pids) == 2
    assert gone(pids)


def test_errors_of_ours_come_with_their_trace(chunks):
    wrong = chunks[0]._replace(lattice=np.tile(4 * np.eye(2), (3, 1, 1)))
    with (
        pytest.raises(RuntimeError, match=r"(?s)in a process that makes graphs:.*all_neighbours"),
        Workers(1, OPTIONS) as workers,
    ):
        list(workers.map(iter([wrong])))


def test_a_message_that_breaks_off():
    whole = io.BytesIO()
    module._send(whole, {"a": 1}, {"x": np.arange(6).reshape(2, 3), "none": np.empty((0, 3), np.float32)})
    facts, arrays = module._receive(io.BytesIO(whole.getvalue()))
    assert (facts, arrays["x"].tolist()) == ({"a": 1}, [[0, 1, 2], [3, 4, 5]])
    assert (arrays["none"].shape, arrays["none"].dtype) == ((0, 3), np.float32)
    for size in range(len(whole.getvalue())):
        with pytest.raises(EOFError):
            module._receive(io.BytesIO(whole.getvalue()[:size]))


def test_an_interrupt_ends_them(chunks):
    pids = []

    def interrupt():
        with Workers(2, OPTIONS) as workers:
            pids.extend(process.pid for process in workers._processes)
            next(workers.map(iter(chunks * 100)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert len(pids) == 2
    assert gone(pids)


def test_a_process_that_cannot_start(monkeypatch, chunks):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UserError, match=r"cannot start a process .*/nowhere/python.*TLZOO_WORKERS=1"):
        Workers(2, OPTIONS).__enter__()


def test_nothing_is_left_of_a_store(monkeypatch, crystals, tmp_path):
    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(module, "FEWEST", 1)
    start = module._start

    def broken(module):
        process = start(module)
        process.kill()
        return process

    monkeypatch.setattr(module, "_start", broken)
    with pytest.raises(UserError, match="a process that makes graphs ended early"):
        GraphStore.open(crystals, OPTIONS, cache_dir=tmp_path, progress=False, workers=2)
    assert list((tmp_path / "graphs").iterdir()) == []


# at the top of the file, as people write scripts
SCRIPT = """
import sys, time
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.workers import Workers

workers = Workers(2, GraphOptions()).__enter__()
print(*[process.pid for process in workers._processes], "torch" in sys.modules, flush=True)
time.sleep(60)
"""


def test_they_end_with_the_program_however_it_ends(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    program = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    *pids, torch = program.stdout.readline().split()
    assert torch == "False"
    program.kill()
    program.communicate()
    end = time.monotonic() + 20
    while not gone(pids) and time.monotonic() < end:
        time.sleep(0.02)
    assert gone(pids)


def test_files_beside_the_user_do_not_get_in_the_way(chunks, tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    with Workers(1, OPTIONS) as workers:
        assert len(list(workers.map(iter(chunks)))) == len(chunks)


@pytest.mark.parametrize(
    ("compiler", "library"),
    [("", "vesin"), ("cc", "vesin" if compiled_graphs.library() is None else "compiled_graphs")],
)
def test_they_import_no_torch(monkeypatch, chunks, compiler, library):
    monkeypatch.setenv(VARIABLE, compiler)
    with Workers(1, OPTIONS) as workers:
        list(workers.map(iter(chunks)))
        maps = Path(f"/proc/{workers._processes[0].pid}/maps").read_text()
    assert library in maps
    assert "libtorch" not in maps
