"""How far a study is, and how long the rest will take."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from tlzoo.cards.card import duration
from tlzoo.crystals import with_unit
from tlzoo.study.axes import Condition, Label, Labels, holds, text
from tlzoo.study.grid import Study, StudyRun
from tlzoo.study.selection import Row, Rows, decide, once
from tlzoo.study.start_networks import before

# Failures that `tlzoo study status` shows, at most.
SHOWN = 10


@dataclass(frozen=True)
class Progress:
    """What is done and what is not, of the runs that are meant.

    Attributes:
        rows: Results that stand, by id.
        wanted: The runs that are wanted for sure, each once.
        undecided: Values of runs that wait until tuning has chosen, but for the tuned axes.
        hopeless: The same of runs for which nothing can be chosen.
    """

    study: Study
    rows: Rows
    wanted: tuple[StudyRun, ...]
    undecided: tuple[Labels, ...]
    hopeless: tuple[Labels, ...]

    @classmethod
    def of(cls, study: Study, rows: Rows, only: Condition) -> "Progress":
        """Look at the results."""
        decision = decide(study, rows)
        wanted = once(run for run in decision.wanted if holds(only, run.labels))
        undecided = tuple(labels for labels in decision.undecided if meant(only, labels))
        hopeless = tuple(labels for labels in decision.hopeless if meant(only, labels))
        return cls(study, rows, tuple(wanted), undecided, hopeless)

    def status(self, run: StudyRun) -> str:
        """Return ``done``, ``failed`` or ``missing``."""
        return str(self.rows[run.id]["status"]) if run.id in self.rows else "missing"

    @cached_property
    def missing(self) -> tuple[StudyRun, ...]:
        """Runs without a result, in the order in which they are to be computed."""
        return tuple(run for run in self.wanted if run.id not in self.rows)

    @property
    def done(self) -> int:
        """Number of runs with a result."""
        return sum(self.status(run) == "done" for run in self.wanted)

    @property
    def failed(self) -> int:
        """Number of runs that failed."""
        return sum(self.status(run) == "failed" for run in self.wanted)

    @property
    def total(self) -> int:
        """Number of runs that are wanted; those for which nothing can be chosen are not."""
        return len(self.wanted) + len(self.undecided)

    def remaining(self) -> float:
        """Return the seconds that the rest will take, one run after another.

        A run takes as long as those that differ from it in nothing but the axes that tables do not show;
        where there are none, as long as the mean.
        """
        alike = {*self.study.average, *self.study.ensemble, *self.study.tuned}
        rest = [*(run.labels for run in self.missing), *self.undecided]
        seconds: dict[tuple[tuple[str, Label], ...], list[float]] = {}
        for run in self.study.runs():
            row = self.rows.get(run.id)
            if row is not None and row["status"] == "done":
                seconds.setdefault(_kind(run.labels, alike), []).append(float(row["seconds"]))
        means = {kind: fmean(several) for kind, several in seconds.items()}
        overall = fmean(means.values()) if means else 0.0
        return sum(means.get(_kind(labels, alike), overall) for labels in rest)

    def line(self, claimed: Collection[str] = ()) -> str:
        """Return the numbers in a line; ``claimed`` is what is being computed, for other studies too."""
        needed = {source.id for source in before(source for run in self.missing for source in run.needs)}
        under_way = len((needed | {run.id for run in self.missing}) & set(claimed))
        parts = [f"{self.done} of {self.total} runs done"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{under_way} under way"] if under_way else []
        if self.undecided:
            parts.append(f"{len(self.undecided)} wait until tuning has chosen")
        if self.hopeless:
            parts.append(f"{len(self.hopeless)} left out, as all that was tried in tuning failed")
        if (left := self.remaining()) > 0:
            parts.append(f"about {duration(left / max(1, under_way))} left")
        return ", ".join(parts)

    def by_axis(self) -> str:
        """Return the numbers for each value of each axis."""
        lines = [f"{'':24}{'done':>8}{'failed':>8}{'to do':>8}"]
        for name, axis in self.study.axes.items():
            counts = Counter((run.labels[name], self.status(run)) for run in self.wanted)
            waiting = Counter(labels.get(name) for labels in self.undecided)
            lines.append(name)
            for value in axis.values:
                todo = counts[value, "missing"] + waiting[value]
                done, failed = counts[value, "done"], counts[value, "failed"]
                lines.append(f"  {value!s:22}{done:8}{failed:8}{todo:8}")
        return "\n".join(lines)

    def failures(self) -> str:
        """Return what failed and why, the first of them."""
        failed = [run for run in self.wanted if self.status(run) == "failed"]
        lines = [f"{text(run.labels)}: {self.rows[run.id]['error']}" for run in failed[:SHOWN]]
        if len(failed) > SHOWN:
            lines.append(f"and {len(failed) - SHOWN} more")
        return "\n".join(lines)


def told(row: Row) -> str:
    """Return a result in a few words.

    >>> told({"status": "failed", "error": "no", "seconds": 1.0})
    'failed: no'
    """
    if row["status"] == "failed":
        return f"failed: {row['error']}"
    measured = [("validation", row.get("val_mae")), ("test", row.get("test_mae"))]
    measured += [
        (name, parts.get("test", parts["val"])["mae"]) for name, parts in row.get("baselines", {}).items()
    ]
    errors = [f"{name} MAE {error:.4g}" for name, error in measured if error is not None]
    return f"{with_unit(', '.join(errors), row['unit'])}, {duration(row['seconds'])}"


def _kind(labels: Labels, alike: Iterable[str]) -> tuple[tuple[str, Label], ...]:
    return tuple((name, value) for name, value in labels.items() if name not in alike)


def meant(only: Condition, labels: Labels) -> bool:
    """Whether a combination is meant, as far as it has values."""
    return holds({name: values for name, values in only.items() if name in labels}, labels)
