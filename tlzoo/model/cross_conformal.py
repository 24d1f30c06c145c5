r"""Intervals of models that each have left out another part of the crystals, and answer with their mean.

Crystal i of n was predicted by the model that has not seen it, and has a score :math:`s_i` there, which
:mod:`tlzoo.model.intervals` defines. Of a new crystal each model says where an interval with that score would
end: for absolute errors at :math:`\hat y_{(i)} \pm s_i`, with what the model of crystal i says of the new
one. The interval reaches from the :math:`\lfloor \alpha (n + 1) \rfloor`-th smallest lower end to the
:math:`\lceil (1 - \alpha)(n + 1) \rceil`-th smallest upper end: CV+ (Barber, Candès, Ramdas & Tibshirani,
Ann. Stat. 49, 486, 2021). However errors are distributed, it holds a new crystal like these with a
probability of at least about :math:`1 - 2 \alpha`; usually it is :math:`1 - \alpha`, or a little more.

``folds.json`` in the directory of the models has the scores.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.cards.card import Kind
from tlzoo.errors import UserError
from tlzoo.machine.files import write_text

FILE: Final = "folds.json"
FORMAT: Final = 1
KINDS: Final = ("absolute", "factor", "std", "quantiles")
# Ends that are in memory at a time: those of all scores, for some crystals.
CHUNK: Final = 4_000_000
# Crystals that it takes for an interval to hold nine of ten more.
ENOUGH: Final = 9

Values = NDArray[np.float64]
# Of some crystals: prediction, and std or q5 and q95 where the head says them, ``(crystals,)`` each.
Said = Mapping[str, Values]


@dataclass(frozen=True, eq=False)
class CrossConformal:
    """Scores of one property.

    Attributes:
        kind: What they are.
        scores: By model, of the known crystals that it has left out, ``(crystals,)`` each.
    """

    kind: Kind
    scores: Sequence[Values]

    @property
    def crystals(self) -> int:
        """How many there are."""
        return sum(map(len, self.scores))

    def ends(self, said: Sequence[Said], level: float) -> tuple[Values, Values]:
        """Return the ends of intervals that are to hold so many crystals, ``(crystals,)`` each.

        ``said`` is what each model says of the same crystals. Where there are too few scores for the level
        the largest counts.
        """
        count = len(said[0]["prediction"])
        size = max(1, CHUNK // max(1, self.crystals))
        parts = [self._ends(said, slice(at, at + size), level) for at in range(0, count, size)]
        none = np.empty(0)
        lows, highs = [low for low, _ in parts], [high for _, high in parts]
        return np.concatenate([none, *lows]), np.concatenate([none, *highs])

    def _ends(self, said: Sequence[Said], rows: slice, level: float) -> tuple[Values, Values]:
        pairs = [
            _reach(self.kind, scores, {name: values[rows, None] for name, values in one.items()})
            for scores, one in zip(self.scores, said, strict=True)
        ]
        low, high = (np.concatenate(each, axis=1) for each in zip(*pairs, strict=True))
        n, rank = self.crystals, _rank(self.crystals, level)
        lows, highs = np.partition(low, n - rank, axis=1), np.partition(high, rank - 1, axis=1)
        return lows[:, n - rank], highs[:, rank - 1]

    def held_in_turn(self, level: float) -> int:
        """Return how many crystals were within intervals as wide as the errors of the other folds ask for.

        The model of a crystal and that of its interval's width have not learned from it.
        """
        held = 0
        for number, own in enumerate(self.scores):
            others = np.sort(np.concatenate([each for i, each in enumerate(self.scores) if i != number]))
            held += int((own <= others[_rank(len(others), level) - 1]).sum()) if len(others) else 0
        return held


def _rank(count: int, level: float) -> int:
    """Return which of so many scores, in ascending order, the next one does not exceed; at most the last."""
    return min(count, int(np.ceil((count + 1) * level - 1e-9)))


def _reach(kind: Kind, scores: Values, said: Said) -> tuple[Values, Values]:
    """Return the ends for each score, ``(crystals, scores)``; numbers said are ``(crystals, 1)``."""
    value = said["prediction"]
    if kind == "quantiles":
        return said["q5"] - scores, said["q95"] + scores
    if kind == "factor":
        return value * 10.0**-scores, value * 10.0**scores
    half = scores * said["std"] if kind == "std" else scores
    return value - half, value + half


@dataclass(frozen=True, eq=False)
class FoldRecord:
    """What is known of models that have each left out a fold.

    Attributes:
        folds: Their directories, within that of all.
        intervals: By property.
        facts: What else was found, as plain data.
    """

    folds: Sequence[str]
    intervals: Mapping[str, CrossConformal]
    facts: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write it into the directory of all.

        Raises:
            UserError: It cannot be written.
        """
        intervals = {
            name: {"kind": one.kind, "scores": [each.tolist() for each in one.scores]}
            for name, one in self.intervals.items()
        }
        content = {"format": FORMAT, "folds": list(self.folds), **self.facts, "intervals": intervals}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(folder / FILE, text + "\n")


def is_folds(folder: str | Path) -> bool:
    """Whether a directory holds models that have each left out a fold."""
    return (Path(folder) / FILE).is_file()


def refuse_folds(folder: Path) -> None:
    """Refuse a directory of folds for one training or comparison: two results would be mixed.

    Raises:
        UserError: It has folds, finished or not.
    """
    if is_folds(folder) or (folder / "fold-1").is_dir():
        raise UserError(f"{folder} holds a run with folds; choose another --run-dir, or delete that one")


def read(folder: Path) -> FoldRecord:
    """Read the record in a directory.

    Raises:
        UserError: It is damaged, or of a newer version.
    """
    path = folder / FILE
    again = "the same command with --folds writes it anew"
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        version, folds = content["format"], [str(name) for name in content["folds"]]
        intervals = {
            str(name): CrossConformal(
                one["kind"], [np.array(each, dtype=np.float64) for each in one["scores"]]
            )
            for name, one in content["intervals"].items()
        }
        sound = bool(folds) and all(
            one.kind in KINDS
            and len(one.scores) == len(folds)
            and one.crystals > 0
            and all(each.ndim == 1 and np.isfinite(each).all() for each in one.scores)
            for one in intervals.values()
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged; {again}") from error
    if version != FORMAT:
        raise UserError(f"{path} has format {version}, this tlzoo reads format {FORMAT}: update tlzoo")
    if not sound:
        raise UserError(f"{path} is damaged; {again}")
    for name in folds:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{path} names {name}, which is not in that directory; {again}")
    facts = {name: value for name, value in content.items() if name not in ("format", "folds", "intervals")}
    return FoldRecord(folds, intervals, facts)
