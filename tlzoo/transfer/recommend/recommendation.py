"""The ranking as a table for people and as data for programs."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tlzoo.crystals import with_unit
from tlzoo.evaluation.results import aligned, error_text
from tlzoo.model.description import plain
from tlzoo.transfer.finetune.recipes import Recipe
from tlzoo.transfer.recommend.scores import Score

FORMAT: Final = 1
# Models that are named to fine-tune from, at most: each is as many trainings more.
STARTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Report:
    """What to start from, for some data.

    Attributes:
        unit: Its unit; empty if unknown.
        crystals: How many were scored on.
        part: Which these are.
        scores: The models, best first.
        recipe: How to fine-tune with so many crystals.
        options: What else the fine-tuning command needs to read the same data.
    """

    source: str
    target: str
    unit: str
    crystals: int
    part: str
    scores: Sequence[Score]
    baselines: Sequence[Score]
    recipe: Recipe
    options: Sequence[str] = ()

    @property
    def command(self) -> str:
        """The command to go on with."""
        words = ["tlzoo", "finetune", self.source, "--target", self.target, *self.options]
        starts = [self.scores[0].name, *self.level][:STARTS]
        kept = self.kept
        words += ["--from", kept.name if kept else ",".join(starts)]
        words += ["--head", str(kept.answer)] if kept else []
        return shlex.join([*words, "--strategy", self.recipe.strategy])

    @property
    def kept(self) -> Score | None:
        """The model to keep the trained head of: as it is, it is nearer than any regression; else None."""
        nearest = min(
            (score for score in self.scores if score.answer), key=lambda score: score.nearest, default=None
        )
        return nearest if nearest and nearest.nearest < self.scores[0].mae else None

    @property
    def level(self) -> list[str]:
        """Models that cannot be told from the first on these crystals."""
        first, *others = self.scores
        return [score.name for score in others if not score.behind(first).certain]

    @property
    def warnings(self) -> list[str]:
        """What to be wary of."""
        first, found = self.scores[0], []
        start = self.kept or first
        if self.level:
            found.append(
                f"{', '.join(self.level)} cannot be told from {first.name} on {self.crystals} crystals."
            )
        rivals = [] if self.kept else [told for score in self.baselines if (told := self._rival(score))]
        if rivals:
            found.append(
                f"the best embedding says no more than {' or '.join(rivals)}. That is of frozen "
                "embeddings: `tlzoo finetune` sets what training makes of them beside the same baselines."
            )
        if start.unseen:
            found.append(f"{start.unseen} crystals have elements that {start.name} never learned from.")
        return found

    def _rival(self, score: Score) -> str:
        """Name a baseline that the first model is not certainly better than, and how far it is ahead."""
        ahead = self.scores[0].behind(score)
        if ahead.high < 0:
            return ""
        low, high = (f"{100 * end:.1f}" for end in (ahead.low, ahead.high))
        return f"{score.name} (lower by {100 * ahead.value:.1f} %, interval {low} to {high} %)"

    def content(self) -> dict[str, Any]:
        """The ranking as plain data; differences in percent."""
        found: dict[str, Any] = plain(
            {
                "format": FORMAT,
                "source": self.source,
                "target": self.target,
                "unit": self.unit,
                "crystals": self.crystals,
                "part": self.part,
                "ranking": [{"rank": i, **self._row(score)} for i, score in enumerate(self.scores, start=1)],
                "baselines": [self._row(score) for score in self.baselines],
                "warnings": self.warnings,
                "strategy": self.recipe.strategy,
                "evidence": self.recipe.evidence,
                "command": self.command,
            },
            "report",
        )
        return found

    def _row(self, score: Score) -> dict[str, Any]:
        behind = vars(score.behind(self.scores[0])).items()
        return {
            "name": score.name,
            "mae": score.mae,
            "mae_sd": score.sd,
            "behind_percent": {name: 100 * value for name, value in behind},
            "logme": score.logme,
            "unseen": score.unseen,
            "as_it_is": dict(score.answers),
        }

    def text(self) -> str:
        """The ranking, warnings and what to do, for a terminal."""
        error = with_unit("MAE", self.unit, "{} ({})")
        cells: list[tuple[str, ...]] = [
            ("", "model", error, "first is better by", "LogME", "unseen", "as it is")
        ]
        cells += [(str(i), *self._cells(score)) for i, score in enumerate(self.scores, start=1)]
        cells += [("", *self._cells(score)) for score in self.baselines]
        about = (
            f"{self.target} of {self.source}, {self.crystals:,} crystals ({self.part}); "
            "ridge regression on frozen embeddings, cross-validated:"
        )
        further = [f"WARNING: {warning}" for warning in self.warnings]
        if near := [f"{score.name} with its {score.answer}" for score in self.scores if score.answer]:
            further.append(
                f"Nearer as it is than the regression on its embeddings: {', '.join(near)}; "
                "--head keeps what it predicts."
            )
        further += [
            f"Strategy for so many crystals: {self.recipe.strategy} ({self.recipe.evidence}).",
            f"Try: {self.command}",
        ]
        return "\n".join([about, *(line.rstrip() for line in aligned(cells, "><>>>>>")), *further])

    def _cells(self, score: Score) -> tuple[str, ...]:
        first, behind = self.scores[0], score.behind(self.scores[0])
        low, high = (f"{100 * end:.1f}" for end in (behind.low, behind.high))
        return (
            score.name,
            error_text(score.mae, score.sd),
            "" if score is first else f"{100 * behind.value:.1f} % ({low} to {high})",
            f"{score.logme:.3f}" if score.logme is not None else "",
            str(score.unseen) if score.unseen is not None else "",
            error_text(score.nearest) if score.answers else "",
        )
