"""Running a study: what is wanted and not there yet, computed in the order of the grid."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tlzoo.errors import UserError
from tlzoo.study.axes import Condition, text
from tlzoo.study.backends import Backend
from tlzoo.study.choice import Row
from tlzoo.study.folder import BASELINES, Claim, Folder
from tlzoo.study.gathering import baselines, results
from tlzoo.study.grid import Study, StudyRun
from tlzoo.study.job import Job, Outcome, check
from tlzoo.study.progress import Progress, duration, meant, told

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
        limit: How many trainings to compute at most.
        retry: Compute again what failed for good: trainings that diverged.
    """

    study: Study
    folder: Folder
    backend: Backend
    say: Say
    only: Condition = field(default_factory=dict)
    limit: int | None = None
    retry: bool = False

    def __post_init__(self) -> None:
        self._started = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._claims: dict[str, Claim] = {}
        self._submitted = 0
        self._gathered = time.monotonic()

    def run(self) -> Progress:
        """Compute what is wanted and not there yet.

        Returns:
            What is done and what is not.

        Raises:
            UserError: A configuration is wrong, it was stopped, or results cannot be written.
        """
        check(self.progress().missing)
        self.folder.make()
        try:
            with self.backend:
                self._loop()
        except (KeyboardInterrupt, SystemExit) as stop:
            done = self.progress()
            raise UserError(
                f"stopped. {done.done} of {done.total} runs are done, in {self.folder.path}; "
                "the same command goes on from there"
            ) from stop
        finally:
            for claim in self._claims.values():
                claim.release()
            self._gather()
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
        for run in self._missing():
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
                self._submitted += not run.trivial
                work = self.folder.work(run.id)
                self.backend.submit(
                    Job(run.id, run.labels, run.tree, run.started_from, work, trivial=run.trivial)
                )
        return elsewhere and self._submitted != self.limit

    def _record(self, outcome: Outcome) -> None:
        row = outcome.row
        self.folder.write(row, outcome.predictions)
        self._claims.pop(row["id"]).release()
        progress = self.progress()
        settled = progress.done + progress.failed
        left = progress.remaining() / self.backend.slots
        after = f", {duration(left)} left" if 0 < settled < progress.total else ""
        self.say(f"[{settled}/{progress.total}] {text(row['labels'])}: {told(row)}{after}")
        if time.monotonic() - self._gathered > GATHER:
            self._gather()

    def _missing(self) -> list[StudyRun]:
        """Return what is to be computed; the trivial baselines first, for they take seconds."""
        rows = self.folder.rows()
        trivial = [
            run
            for run in self.study.trivial
            if meant(self.only, run.labels) and not self._settled(rows.get(run.id))
        ]
        return [*trivial, *self.progress().missing]

    def _gather(self) -> None:
        self._gathered = time.monotonic()
        self.folder.write_results(results(self.study, self.folder))
        if self.study.baselines:
            self.folder.write_results(baselines(self.study, self.folder), BASELINES)

    def _settled(self, row: Row | None) -> bool:
        """Whether a result stands: done, failed for good, or failed since this command began."""
        if row is None:
            return False
        for_good = row["status"] == "done" or (row.get("settled", False) and not self.retry)
        return for_good or str(row["finished"]) >= self._started

    def progress(self) -> Progress:
        """Return what is done and what is not, of the runs that are meant."""
        rows = {name: row for name, row in self.folder.rows().items() if self._settled(row)}
        return Progress.of(self.study, rows, self.only)
