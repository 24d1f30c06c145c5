"""Running a study: what is wanted and not there yet, computed in the order of the grid."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tlzoo.cards.card import duration
from tlzoo.errors import UserError
from tlzoo.study.axes import Condition, text
from tlzoo.study.backends import Backend
from tlzoo.study.gathering import baselines, results
from tlzoo.study.grid import Study, StudyRun
from tlzoo.study.identity import kind
from tlzoo.study.job import Job, Outcome, Returned, check
from tlzoo.study.progress import Progress, meant, told
from tlzoo.study.selection import Row, Rows
from tlzoo.study.start_networks import Source, before, resolved
from tlzoo.study.study_folder import BASELINES, Claim, Folder
from tlzoo.training.bundle import MOST, bundles

# Seconds between two looks at what other processes on the same directory have finished.
POLL = 1.0
# Seconds between two tables of results in between.
GATHER = 60.0

Say = Callable[[str], None]


@dataclass
class Execution:
    """A study that is being run.

    Attributes:
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
        # how many runs of a kind go together, where that has been seen
        self._fitting: dict[str, int] = {}
        self._kinds: dict[str, str | None] = {}
        self._under_way = self._submitted = 0
        self._gathered = time.monotonic()

    def run(self) -> Progress:
        """Compute what is wanted and not there yet; return what is done then, and what is not.

        Raises:
            UserError: A configuration is wrong, it was stopped, or results cannot be written.
        """
        missing = self.progress().missing
        check([*before(source for run in missing for source in run.needs), *missing])
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
            if self._under_way:
                for returned in self.backend.finished():
                    self._take_back(returned)
            elif elsewhere:
                time.sleep(POLL)
            else:
                return

    def _submit(self) -> bool:
        """Begin as many runs as there is room for; return whether other processes compute what is wanted."""
        elsewhere = False
        waiting = [run for run in self._missing() if run.id not in self._claims]
        for several in self._together(waiting):
            jobs = []
            for run in several:
                if self._under_way >= self.backend.slots or self._submitted == self.limit:
                    break
                claim = self.folder.claim(run.id)
                if claim is None:
                    elsewhere = True
                elif self._stands(run, self.folder.rows()):
                    claim.release()  # finished elsewhere between the two looks
                    elsewhere = True
                else:
                    self._claims[run.id] = claim
                    self._submitted += isinstance(run, StudyRun) and not run.trivial
                    jobs.append(self._job(run))
            if jobs:
                self._under_way += 1
                self.backend.submit(jobs)
        return elsewhere and self._submitted != self.limit

    def _together(self, waiting: Sequence[StudyRun | Source]) -> list[list[StudyRun | Source]]:
        """Return the runs that are waiting, those together that may be one training."""
        kinds = [self._kind(run) for run in waiting]
        found: list[list[StudyRun | Source]] = []
        for numbers in bundles(kinds, self.backend.slots, MOST):
            size = self._fitting.get(kinds[numbers[0]] or "", MOST)
            starts = range(0, len(numbers), size)
            found += [[waiting[i] for i in numbers[start : start + size]] for start in starts]
        return found

    def _kind(self, run: StudyRun | Source) -> str | None:
        if run.id not in self._kinds:
            plain = isinstance(run, StudyRun) and not run.trivial
            self._kinds[run.id] = kind(run.tree) if plain else None
        return self._kinds[run.id]

    def _take_back(self, returned: Returned) -> None:
        """Keep what there is; what was not done after all goes back."""
        self._under_way -= 1
        jobs, outcomes = returned.jobs, returned.outcomes
        for outcome in outcomes:
            self._record(outcome)
        names = {self._kinds[job.id] for job in jobs}
        left = [job for job in jobs if job.id in self._claims]
        for job in left:
            self._claims.pop(job.id).release()
            self._submitted -= not job.trivial and job.keep is None
            # what it is, is known now; with what is not built yet it has the same in common as before
            self._kinds[job.id] = returned.shapes.get(job.id, self._kinds[job.id])
            names.add(self._kinds[job.id])
        if returned.most is not None:
            self._fitting |= {name: returned.most for name in names if name is not None}

    def _job(self, run: StudyRun | Source) -> Job:
        tree = resolved(run.tree, lambda source: str(self.folder.model(source.id)), run.needs)
        keep = self.folder.model(run.id).resolve() if isinstance(run, Source) else None
        trivial = isinstance(run, StudyRun) and run.trivial
        return Job(run.id, run.labels, tree, run.started_from, self.folder.work(run.id), trivial, keep)

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

    def _missing(self) -> list[StudyRun | Source]:
        """Return what is to be computed and can be by now.

        The trivial baselines come first, for they take seconds; in the place of a run whose sources are not
        trained yet come those.
        """
        rows = self.folder.rows()
        found: list[StudyRun | Source] = [
            run for run in self.study.trivial if meant(self.only, run.labels) and not self._stands(run, rows)
        ]
        for run in self.progress().missing:
            found += self._before(run.needs, rows) or [run]
        return list({run.id: run for run in found}.values())

    def _before(self, needs: Iterable[Source], rows: Rows) -> list[Source]:
        """Return the sources that are to be trained first, of those that can be trained by now."""
        found: list[Source] = []
        for source in needs:
            if not self._stands(source, rows):
                found += self._before(source.needs, rows) or [source]
        return found

    def _stands(self, run: StudyRun | Source, rows: Rows) -> bool:
        """Whether there is a result; that of a trained source is its model."""
        row = rows.get(run.id)
        there = self._settled(row)
        if isinstance(run, Source) and row is not None and row["status"] == "done":
            return there and (self.folder.model(run.id) / "model.safetensors").exists()
        return there

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
