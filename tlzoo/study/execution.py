"""Running a study: what is wanted and not there yet, computed in the order of the grid."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tlzoo.errors import UserError
from tlzoo.study.axes import Condition, Labels, holds, text
from tlzoo.study.backends import Backend
from tlzoo.study.choice import Row, decide, once
from tlzoo.study.estimate import Estimate, duration
from tlzoo.study.folder import Claim, Folder
from tlzoo.study.grid import Study, StudyRun
from tlzoo.study.job import Job, Outcome
from tlzoo.study.results import results

# Seconds between two looks at what other processes on the same directory have finished.
POLL = 1.0
# Seconds between two tables of results in between.
GATHER = 60.0

Say = Callable[[str], None]


@dataclass
class Execution:
    """A study that is being run.

    Attributes:
        study: The study.
        folder: Its directory.
        backend: Where runs are computed.
        say: Where lines for people go.
        only: The runs that are meant.
        limit: How many to compute at most.
    """

    study: Study
    folder: Folder
    backend: Backend
    say: Say
    only: Condition = field(default_factory=dict)
    limit: int | None = None

    def __post_init__(self) -> None:
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._claims: dict[str, Claim] = {}
        self._submitted = 0
        self._gathered = time.monotonic()

    def run(self) -> "Progress":
        """Compute what is wanted and not there yet.

        Returns:
            What is done and what is not.

        Raises:
            UserError: It was stopped, or results cannot be written.
        """
        self.folder.make()
        try:
            with self.backend:
                self._loop()
        except (KeyboardInterrupt, SystemExit) as stop:
            done = self.progress()
            raise UserError(
                f"stopped. {done.done} of {done.total} runs are in {self.folder.path}; "
                "the same command goes on from there"
            ) from stop
        finally:
            for claim in self._claims.values():
                claim.release()
            self.folder.write_results(results(self.study, self.folder))
        return self.progress()

    def _loop(self) -> None:
        while True:
            elsewhere = self._submit()
            if self._claims:
                for outcome in self.backend.finished():
                    self._record(outcome)
            elif elsewhere:
                time.sleep(POLL)
            else:
                return

    def _submit(self) -> bool:
        """Begin as many runs as there is room for; return whether other processes compute what is wanted."""
        elsewhere = False
        for run in self.progress().missing:
            if len(self._claims) >= self.backend.slots or self._submitted == self.limit:
                break
            if run.id in self._claims:
                continue
            claim = self.folder.claim(run.id)
            if claim is None:
                elsewhere = True
            elif self._settled(self.folder.rows().get(run.id)):
                claim.release()  # finished elsewhere between the two looks
                elsewhere = True
            else:
                self._claims[run.id] = claim
                self._submitted += 1
                self.backend.submit(
                    Job(run.id, run.labels, run.tree, run.started_from, self.folder.work(run.id))
                )
        return elsewhere and self._submitted != self.limit

    def _record(self, outcome: Outcome) -> None:
        row = outcome.row
        self.folder.write(row, outcome.predictions)
        self._claims.pop(row["id"]).release()
        progress = self.progress()
        left = progress.estimate.remaining(progress.missing, progress.undecided) / self.backend.slots
        after = f", {duration(left)} left" if progress.settled < progress.total else ""
        self.say(f"[{progress.settled}/{progress.total}] {text(row['labels'])}: {told(row)}{after}")
        if time.monotonic() - self._gathered > GATHER:
            self._gathered = time.monotonic()
            self.folder.write_results(results(self.study, self.folder))

    def _settled(self, row: Row | None) -> bool:
        """Whether a result stands: done, or failed since this command began."""
        return row is not None and (row["status"] == "done" or str(row["finished"]) >= self._started)

    def progress(self) -> "Progress":
        """Return what is done and what is not, of the runs that are meant."""
        rows = {name: row for name, row in self.folder.rows().items() if self._settled(row)}
        return Progress.of(self.study, rows, self.only)


@dataclass(frozen=True)
class Progress:
    """What is done and what is not.

    Attributes:
        done: Runs with a result.
        failed: Runs that failed.
        missing: Runs that are wanted and have no result, in their order.
        undecided: Number of runs that wait for a choice.
        hopeless: Number of runs for which nothing can be chosen.
        estimate: How long runs take.
    """

    done: int
    failed: int
    missing: tuple[StudyRun, ...]
    undecided: int
    hopeless: int
    estimate: Estimate

    @classmethod
    def of(cls, study: Study, rows: dict[str, Row], only: Condition) -> "Progress":
        """Count.

        Args:
            study: The study.
            rows: Results that stand, by id.
            only: The runs that are meant.
        """
        decision = decide(study, rows)
        wanted = once(run for run in decision.wanted if holds(only, run.labels))
        status = [rows[run.id]["status"] for run in wanted if run.id in rows]
        return cls(
            done=status.count("done"),
            failed=status.count("failed"),
            missing=tuple(run for run in wanted if run.id not in rows),
            undecided=_count(decision.undecided, only),
            hopeless=_count(decision.hopeless, only),
            estimate=Estimate(study, rows),
        )

    @property
    def settled(self) -> int:
        """Runs that need no more time."""
        return self.done + self.failed + self.hopeless

    @property
    def total(self) -> int:
        """All runs that are wanted."""
        return self.settled + len(self.missing) + self.undecided


def _count(several: Iterable[Labels], only: Condition) -> int:
    """Count the combinations that are meant, which have no values yet on the axes that are tuned."""
    return sum(
        holds({name: values for name, values in only.items() if name in labels}, labels) for labels in several
    )


def told(row: Row) -> str:
    """Return a result in a few words.

    >>> told({"status": "failed", "error": "no", "seconds": 1.0})
    'failed: no'
    """
    if row["status"] == "failed":
        return f"failed: {row['error']}"
    errors = [
        f"{name} MAE {row[key]:.4g}"
        for name, key in (("validation", "val_mae"), ("test", "test_mae"))
        if row.get(key) is not None
    ]
    return f"{', '.join(errors)} {row['unit']}".rstrip() + f", {duration(row['seconds'])}"
