"""How far a comparison is: which of how many trainings it is at, and when it may be done."""

from types import TracebackType
from typing import Self

from tqdm import tqdm


class Course:
    """Counts trainings; on a terminal a bar counts their epochs and says what time is left.

    Attributes:
        trainings: How many there are.
        number: Which of them it is at, from 1; 0 before the first.
    """

    def __init__(self, trainings: int, epochs: int) -> None:
        self.trainings, self.number = trainings, 0
        self._epochs, self._left, self._total = epochs, 0, trainings * epochs
        self._bar = tqdm(total=self._total, unit="epoch", disable=None, leave=False)

    def __enter__(self) -> Self:
        """Show the bar until it is left."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._bar.close()

    def begin(self, what: str) -> None:
        """Begin with the next training."""
        self.number, self._left = self.number + 1, self._epochs
        self._bar.set_description(f"training {self.number} of {self.trainings}: {what}")

    def epoch(self) -> None:
        """Count an epoch."""
        self._left -= 1
        self._bar.update()

    def end(self) -> None:
        """End a training, which may have been finished before, or diverged: its time counts for none."""
        self._total -= self._left
        self._bar.total = self._total
        self._bar.clear()
