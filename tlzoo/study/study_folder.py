"""The directory of a study: a file per finished run, claims on those that are being computed, the results.

``rows/ID.json``: what a run gave. ``predictions/ID.parquet``: what it predicts for the test part.
``models/ID``: the run directory of a network that runs start from.
``claims/ID``: locked by the process that computes it; the lock ends with the process, however that ends.
``results.parquet``: all rows in one table. ``baselines.parquet``: those of the trivial baselines, if wanted.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd
from filelock import FileLock, Timeout

from tlzoo.errors import UserError
from tlzoo.machine.files import whole, write_text
from tlzoo.model.description import plain
from tlzoo.study.selection import Row

GATHERING = "results"
RESULTS, BASELINES = "results.parquet", "baselines.parquet"


@dataclass(frozen=True)
class Claim:
    """The right to compute a run."""

    path: Path
    lock: FileLock

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Return the claim that a file stands for, or None if another process holds it."""
        # whoever holds it may give it back from another thread
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        return cls(path, lock)

    def release(self) -> None:
        """Give the right back."""
        with contextlib.suppress(PermissionError):  # Windows deletes no file that is open
            self.path.unlink(missing_ok=True)
        self.lock.release()


@dataclass(frozen=True)
class Folder:
    """A directory and the names in it."""

    path: Path
    _read: dict[str, tuple[int, Row]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def results(self) -> Path:
        """All results in one table."""
        return self.path / RESULTS

    def row(self, name: str) -> Path:
        """Return where the result of a run belongs."""
        return self.path / "rows" / f"{name}.json"

    def predictions(self, name: str) -> Path:
        """Return where the predictions of a run belong."""
        return self.path / "predictions" / f"{name}.parquet"

    def model(self, name: str) -> Path:
        """Return the run directory of a source."""
        return self.path / "models" / name

    def work(self, name: str) -> Path:
        """Return where a run may write while it lasts."""
        return self.path / "work" / name

    def make(self) -> None:
        """Make the directory; remove halves of files that killed processes left.

        Raises:
            UserError: It cannot be made.
        """
        try:
            for name in ("rows", "predictions", "claims"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path} cannot be made: {error.strerror}; choose another --dir") from error
        for path in self.path.glob("*/*.partial"):
            # whoever writes it at this moment holds the claim
            if (claim := Claim.of(self.path / "claims" / path.name.partition(".")[0])) is not None:
                path.unlink(missing_ok=True)
                claim.release()

    def rows(self) -> dict[str, Row]:
        """Return all results by the id of their run; a file is read once."""
        found: dict[str, Row] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path / "rows") as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    found[entry.name.removesuffix(".json")] = self._row(entry)
        return found

    def _row(self, entry: "os.DirEntry[str]") -> Row:
        changed = entry.stat().st_mtime_ns
        before = self._read.get(entry.name)
        if before is not None and before[0] == changed:
            return before[1]
        row: Row = json.loads(Path(entry.path).read_text(encoding="utf-8"))
        self._read[entry.name] = (changed, row)
        return row

    def write(self, row: Row, predictions: pd.DataFrame | None) -> None:
        """Keep what a run gave: first the predictions, so that a row never stands without them."""
        if predictions is not None:
            with whole(self.predictions(row["id"])) as partial:
                predictions.to_parquet(partial, index=False, compression="zstd")
        text = json.dumps(plain(row, "row"), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(self.row(row["id"]), text + "\n")

    def claim(self, name: str) -> Claim | None:
        """Return the right to compute a run, or None if another process has it."""
        claim = Claim.of(self.path / "claims" / name)
        if claim is not None:
            shutil.rmtree(self.work(name), ignore_errors=True)
        return claim

    def claimed(self) -> set[str]:
        """Return the runs that some process computes at this moment; claims of killed ones are deleted."""
        found = set()
        for path in (self.path / "claims").glob("*"):
            if (claim := Claim.of(path)) is None:
                found.add(path.name)
            else:
                claim.release()
        return found - {GATHERING}

    @contextlib.contextmanager
    def gathering(self) -> Iterator[bool]:
        """Yield whether this process may write the table of results; another may be at it."""
        claim = self.claim(GATHERING)
        try:
            yield claim is not None
        finally:
            if claim is not None:
                claim.release()

    def write_results(self, table: pd.DataFrame, name: str = RESULTS) -> None:
        """Write a table of results, whole or not at all."""
        with self.gathering() as ours:
            if ours:
                with whole(self.path / name) as partial:
                    table.to_parquet(partial, index=False)


def facts(row: Row) -> Mapping[str, Any]:
    """Return the columns of a row but its labels."""
    return {name: value for name, value in row.items() if name not in {"labels", "traceback"}}
