"""Takes the measurements: starts a process for each package, lets them take turns, collects the times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple, Self

from tqdm import tqdm

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
OURS = "ours"


class WorkerError(Exception):
    """A process could not do what it was asked; the message is its own."""


class Entry(NamedTuple):
    """One row of a comparison.

    Attributes:
        who: Name in the table.
        worker: Module below ``benchmarks`` that does it.
        job: Which of its jobs.
        settings: Arguments of the job.
        threads: Threads of its process; None is the number given on the command line.
    """

    who: str
    worker: str
    job: str
    settings: Mapping[str, Any]
    threads: int | None = None


class Comparison(NamedTuple):
    """Rows that do the same work; the first is what the others are compared with.

    Attributes:
        title: What the work is.
        entries: The rows.
        unit: Of the figures: ``crystals/s``, ``ms``, or ``MB`` of memory that is added at its highest.
        note: What to know when reading the rows.
    """

    title: str
    entries: Sequence[Entry]
    unit: Literal["crystals/s", "ms", "MB"] = "crystals/s"
    note: str = ""


class Process:
    """A worker in its own interpreter."""

    def __init__(self, module: str, threads: int, log: IO[str]) -> None:
        python = str(PEERS) if module.startswith("peers.") else sys.executable
        count = str(threads)
        self.log = log
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.{module}"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 (anything JSON can hold)
        """Send a request and wait for the answer.

        Raises:
            WorkerError: The answer is an error, or the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            line = ""
        else:
            line = self._process.stdout.readline()
        if not line:
            self.close()
            last = Path(self.log.name).read_text(encoding="utf-8").strip().splitlines()[-20:]
            raise WorkerError("the process ended:\n" + "\n".join(last))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    @property
    def alive(self) -> bool:
        """Whether the process is there to be asked."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self.log.close()


class Processes:
    """The workers of a part, one for each module and number of threads; ended with the context.

    Args:
        threads: Threads of a process, where an entry does not say otherwise.
        folder: Where they write what they print.
        peers: Whether other packages are measured too.
    """

    def __init__(self, threads: int, folder: Path, *, peers: bool) -> None:
        self.threads = threads
        self.folder = folder
        self.peers = peers
        self._running: dict[tuple[str, int], Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            process.close()

    def fresh(self, module: str, threads: int | None = None) -> Process:
        """Start a worker; the caller ends it."""
        log = (self.folder / f"{module}.log").open("a", encoding="utf-8")
        return Process(module, threads or self.threads, log)

    def get(self, module: str, threads: int | None = None) -> Process:
        """Return the running worker, started if need be."""
        key = (module, threads or self.threads)
        if key not in self._running or not self._running[key].alive:
            self._running[key] = self.fresh(module, threads)
        return self._running[key]

    def ours(self, name: str, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 (anything JSON can hold)
        """Ask tlzoo's worker for facts."""
        return self.get(OURS).ask(do="answer", name=name, settings=settings)

    def forget(self) -> None:
        """Let the workers free the jobs they have prepared."""
        for process in self._running.values():
            if process.alive:
                process.ask(do="forget")

    def versions(self) -> dict[str, str]:
        """Return the versions of what was measured."""
        found: dict[str, str] = {}
        for (module, _), process in self._running.items():
            if not process.alive:
                continue
            answer = process.ask(do="versions")
            mark = "" if module == OURS else " (peers)"
            found |= {f"{name}{mark}": version for name, version in answer.items()}
        return found


def measure(comparison: Comparison, processes: Processes, repeats: int) -> dict[str, Any]:
    """Fill in the rows of a comparison: all entries in turn, then again, as often as there are repeats.

    A failure becomes a row that says so; the others go on.
    """
    entries = [entry for entry in comparison.entries if entry.worker == OURS or processes.peers]
    rows: list[dict[str, Any]] = [{"who": entry.who, "ours": entry.worker == OURS} for entry in entries]
    pairs = list(zip(entries, rows, strict=True))
    first = _memory if comparison.unit == "MB" else _prepare
    for entry, row in pairs:
        _try(comparison.title, row, partial(first, entry, processes))
    if comparison.unit != "MB":
        for _ in tqdm(range(repeats), desc=comparison.title, leave=False, disable=None):
            for entry, row in pairs:
                if "error" not in row:
                    _try(comparison.title, row, partial(_repeat, entry, row, processes))
        processes.forget()
    return {"title": comparison.title, "unit": comparison.unit, "note": comparison.note, "rows": rows}


def _try(title: str, row: dict[str, Any], act: Callable[[], dict[str, Any]]) -> None:
    try:
        row |= act()
    except WorkerError as error:
        row["error"] = str(error).strip().splitlines()[-1]
        print(f"{title}: {row['who']}: {error}", file=sys.stderr)


def _repeat(entry: Entry, row: dict[str, Any], processes: Processes) -> dict[str, Any]:
    answer = processes.get(entry.worker, entry.threads).ask(do="repeat", **{"as": entry.who})
    return {"seconds": [*row.get("seconds", []), answer["seconds"]]}


def _prepare(entry: Entry, processes: Processes) -> dict[str, Any]:
    process = processes.get(entry.worker, entry.threads)
    return process.ask(do="prepare", name=entry.job, settings=dict(entry.settings), **{"as": entry.who})


def _memory(entry: Entry, processes: Processes) -> dict[str, Any]:
    process = processes.fresh(entry.worker, entry.threads)
    try:
        return process.ask(do="memory", name=entry.job, settings=dict(entry.settings))
    finally:
        process.close()
