"""How far a comparison is: which of how many trainings it is at, and when it may be done."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tlzoo.machine.progress import bar


class Course:
    """Counts trainings; on a terminal a bar counts their epochs and says what time is left.

    Attributes:
        trainings: How many there are.
        number: How many have begun.
    """

    def __init__(self, trainings: int, epochs: int) -> None:
        self.trainings, self.number = trainings, 0
        self._epochs, self._total = epochs, trainings * epochs
        self._seen: Counter[int] = Counter()
        self._bar = bar(self._total, "", "epoch", delay=0)

    def __enter__(self) -> Self:
        """Show the bar until it is left."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._bar.close()

    def begin(self, what: Sequence[str]) -> int:
        """Begin with the next trainings, all at once; return the number of the first, from 1."""
        first, self.number = self.number + 1, self.number + len(what)
        which = f"training {first}" if len(what) == 1 else f"trainings {first} to {self.number}"
        alone = f": {what[0]}" if len(what) == 1 else ""
        self._bar.set_description(f"{which} of {self.trainings}{alone}")
        return first

    def epoch(self, number: int) -> None:
        """Count an epoch of a training."""
        self._seen[number] += 1
        self._bar.update()

    def end(self, number: int) -> None:
        """End a training, which may have been finished before, or diverged: its time counts for none."""
        self._total -= self._epochs - self._seen[number]
        self._bar.total = self._total
        self._bar.clear()
