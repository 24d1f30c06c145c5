"""How long the rest of a study will take."""

from collections.abc import Iterable
from statistics import fmean

from tlzoo.study.axes import Label, Labels
from tlzoo.study.choice import Rows
from tlzoo.study.grid import Study, StudyRun


class Estimate:
    """Seconds that runs take, from those that are done.

    Args:
        study: The study.
        rows: Results, by id.
    """

    def __init__(self, study: Study, rows: Rows) -> None:
        tuned = study.tune.axes if study.tune else ()
        self._alike = {*study.average, *tuned}
        seconds: dict[tuple[tuple[str, Label], ...], list[float]] = {}
        for run in study.runs():
            row = rows.get(run.id)
            if row is not None and row["status"] == "done":
                seconds.setdefault(self._kind(run.labels), []).append(float(row["seconds"]))
        self._seconds = {kind: fmean(several) for kind, several in seconds.items()}
        self._mean = fmean(self._seconds.values()) if self._seconds else 0.0

    def _kind(self, labels: Labels) -> tuple[tuple[str, Label], ...]:
        return tuple((name, value) for name, value in labels.items() if name not in self._alike)

    def remaining(self, missing: Iterable[StudyRun], undecided: int) -> float:
        """Return the seconds that runs will take one after another.

        Args:
            missing: The runs; each takes as long as those that differ in nothing but averaged and tuned axes.
            undecided: Number of further runs.
        """
        known = [self._seconds.get(self._kind(run.labels), self._mean) for run in missing]
        return sum(known) + undecided * (fmean(known) if known else self._mean)


def duration(seconds: float) -> str:
    """Return a time for people.

    >>> duration(4.2), duration(75), duration(4000), duration(200_000)
    ('4.2 s', '75 s', '67 min', '56 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
