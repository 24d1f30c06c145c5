"""The ranking as a table for people and as data for programs."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tlzoo.crystals import with_unit
from tlzoo.errors import UserError
from tlzoo.evaluation.results import aligned, error_text
from tlzoo.model.description import plain
from tlzoo.transfer.features.layers import DESCRIPTORS
from tlzoo.transfer.features.saved import LEARNED
from tlzoo.transfer.finetune.duration import minutes, told
from tlzoo.transfer.finetune.recipes import Recipe
from tlzoo.transfer.recommend.costs import FITS, Cost, together
from tlzoo.transfer.recommend.scores import Score

FORMAT: Final = 1
# Models that are named to fine-tune from, at most: each is as many trainings more.
STARTS: Final = 3
# Of fewer crystals each is left out alone: there may be too few compositions for folds.
MANY: Final = 50


@dataclass(frozen=True)
class Proposal:
    """A command, the seconds that it takes, if they are known, and what it starts from."""

    command: str
    seconds: float | None
    starts: Sequence[str]

    def __str__(self) -> str:
        return self.command + (f"  # {told(self.seconds)}" if self.seconds is not None else "")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What to start from, for some data.

    Attributes:
        unit: Its unit; empty if unknown.
        crystals: How many were scored on.
        part: Which these are.
        scores: Models and descriptors, best first.
        recipe: How to fine-tune with so many crystals.
        costs: What fine-tuning each model takes; of those that cannot be fine-tuned nothing.
        labelled: Crystals with a known target.
        minutes: What is proposed takes no longer; None for no limit.
        absent: The command that brings further models, by name.
        seen: How many of the crystals were in the training of a model, of those that this was looked up for.
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
    costs: Mapping[str, Cost] = field(default_factory=dict)
    labelled: int = 0
    minutes: float | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    options: Sequence[str] = ()

    @property
    def proposals(self) -> list[Proposal]:
        """The command to go on with, then another.

        What is first in the ranking is fine-tuned, if it is a model and there is time for that, else what can
        be read off it is learned; the other command does the other thing with the best that there is.

        Raises:
            UserError: Nothing takes as little time as was asked for.
        """
        tuned, frozen = self._fine_tuned(), self._frozen()
        first = self.kept or self.scores[0]
        found = [tuned, frozen] if tuned and first.name in tuned.starts else [frozen, tuned]
        if not any(found):
            quickest = min(self._frozen_seconds(score) for score in self.scores)
            raise UserError(
                f"--minutes {self.minutes:g} are too few: the quickest of all, a regression on frozen "
                f"features, takes {told(quickest)}"
            )
        return [each for each in found if each is not None]

    @property
    def command(self) -> str:
        """The command to go on with."""
        return self.proposals[0].command

    def _fine_tuned(self) -> Proposal | None:
        """Fine-tuning from the best that there is time for, and those that cannot be told from it.

        None if there is no time, or no model.
        """
        kept = self.kept
        networks = [kept] if kept else [score for score in self.scores if score.name != DESCRIPTORS]
        first = next((score for score in networks if self._fits([score.name])), None)
        if first is None:
            return None
        starts = [first.name]
        for score in networks[networks.index(first) + 1 :]:
            level = not score.behind(first).certain
            if level and len(starts) < STARTS and self._fits([*starts, score.name]):
                starts.append(score.name)
        words = ["finetune", self.source, "--target", self.target, *self.options, "--from", ",".join(starts)]
        words += ["--head", str(kept.answer)] if kept else []
        words += ["--strategy", self.recipe.strategy]
        took = together(self.costs[name] for name in starts) if self._known(starts) else None
        if took is not None and self.minutes is not None and took > 60 * self.minutes:
            words += ["--minutes", f"{self.minutes:g}"]
            took = 60 * self.minutes
        return Proposal(shlex.join(["tlzoo", *words]), took, tuple(starts))

    def _fits(self, names: Sequence[str]) -> bool:
        """Whether there is time for the least that fine-tuning from models takes."""
        if self.minutes is None:
            return True
        least = max((self.costs[name].least for name in names if name in self.costs), default=1.0)
        return (
            self._known(names) and together(self.costs[name] for name in names) * least <= 60 * self.minutes
        )

    def _known(self, names: Sequence[str]) -> bool:
        return all(name in self.costs for name in names)

    def _frozen(self) -> Proposal | None:
        """A regression on the features that it does best on; None if there is no time for any."""
        limit = None if self.minutes is None else 60 * self.minutes
        for score in self.scores:
            took = self._frozen_seconds(score)
            if limit is None or took <= limit:
                break
        else:
            return None
        name = re.sub(r"[^\w.-]", "-", f"{self.target}-{score.estimator}")
        folds = f"{FITS - 1}-fold" if self.labelled >= MANY else "leave-one-out"
        words = ["features", self.source, "--target", self.target, *self._unit, "--from", score.name]
        words += ["--layer", score.layer, "--estimator", score.estimator, "--cv", folds, "-o", name]
        words += ["--save", name] if score.estimator in LEARNED else []
        return Proposal(shlex.join(["tlzoo", *words]), took, (score.name,))

    @property
    def _unit(self) -> list[str]:
        """The unit as an option, where one was given: `tlzoo features` takes no further options of data."""
        place = self.options.index("--unit") if "--unit" in self.options else None
        return [] if place is None else list(self.options[place : place + 2])

    def _frozen_seconds(self, score: Score) -> float:
        """Estimate how long `tlzoo features` takes: all crystals are read, then fitted to in ten folds."""
        # the time of a fit grows with the square of the crystals and more
        more = max(1.0, self.labelled / self.crystals)
        return score.pace * self.labelled + FITS * score.fit * more**2

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
        return list(dict.fromkeys(score.shown for score in others if not score.behind(first).certain))

    @property
    def warnings(self) -> list[str]:
        """What to be wary of."""
        first, found = self.scores[0], []
        start = self.kept or first
        if self.level:
            found.append(
                f"{', '.join(self.level)} cannot be told from {first.shown} on {self.crystals} crystals."
            )
        descriptors = [score for score in self.scores if score.name == DESCRIPTORS]
        rivals = [told for score in [*descriptors, *self.baselines] if (told := self._rival(score))]
        if rivals and not self.kept and first.name != DESCRIPTORS:
            found.append(
                f"the best embedding says no more than {' or '.join(rivals)}. That is of frozen "
                "embeddings: `tlzoo finetune` sets what training makes of them beside the same baselines."
            )
        if seen := self.seen.get(start.name):
            found.append(
                f"{start.name} has learned from {seen} of the {self.crystals} crystals: here it may seem "
                "better than it is."
            )
        if start.unseen:
            found.append(f"{start.unseen} crystals have elements that {start.name} never learned from.")
        return found

    def _rival(self, score: Score) -> str:
        """Name what the first model is not certainly better than, and how far it is ahead."""
        ahead = self.scores[0].behind(score)
        if ahead.high < 0:
            return ""
        low, high = (f"{100 * end:.1f}" for end in (ahead.low, ahead.high))
        name = f"the {score.estimator} on {score.shown}" if score.estimator else score.name
        return f"{name} (lower by {100 * ahead.value:.1f} %, interval {low} to {high} %)"

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
                "absent": dict(self.absent),
                "warnings": self.warnings,
                "strategy": self.recipe.strategy,
                "evidence": self.recipe.evidence,
                "command": self.command,
                "proposals": [
                    {"command": each.command, "seconds": each.seconds, "starts": list(each.starts)}
                    for each in self.proposals
                ],
            },
            "report",
        )
        return found

    def _row(self, score: Score) -> dict[str, Any]:
        behind = vars(score.behind(self.scores[0])).items()
        cost = self.costs.get(score.name)
        return {
            "name": score.name,
            "estimator": score.estimator,
            "layer": score.layer,
            "mae": score.mae,
            "mae_sd": score.sd,
            "behind_percent": {name: 100 * value for name, value in behind},
            "logme": score.logme,
            "unseen": score.unseen,
            "as_it_is": dict(score.answers),
            "crystals_per_second": 1 / score.pace if score.pace else None,
            "fine_tuning_seconds": together([cost]) if cost else None,
        }

    def text(self) -> str:
        """The ranking, warnings and what to do, for a terminal."""
        error = with_unit("MAE", self.unit, "{} ({})")
        words = ["", "features of", "head", error, "first is better by", "LogME", "unseen", "as it is"]
        cells: list[tuple[str, ...]] = [(*words, "crystals/s", "min. to fine-tune")]
        cells += [(str(i), *self._cells(score)) for i, score in enumerate(self.scores, start=1)]
        cells += [("", *self._cells(score)) for score in self.baselines]
        about = (
            f"{self.target} of {self.source}, {self.crystals:,} crystals ({self.part}), left out in turn; a "
            "regression on frozen features:"
        )
        further = [f"{name} is not here: {text}" for name, text in self.absent.items()]
        further += [f"WARNING: {warning}" for warning in self.warnings]
        if near := [f"{score.name} with its {score.answer}" for score in self.scores if score.answer]:
            further.append(
                f"Nearer as it is than the regression on its embeddings: {', '.join(near)}; "
                "--head keeps what it predicts."
            )
        further.append(f"Strategy for so many crystals: {self.recipe.strategy} ({self.recipe.evidence}).")
        further += [f"{word}: {each}" for word, each in zip(("Try", "Or"), self.proposals, strict=False)]
        return "\n".join([about, *(line.rstrip() for line in aligned(cells, "><<>>>>>>>")), *further])

    def _cells(self, score: Score) -> tuple[str, ...]:
        first, behind = self.scores[0], score.behind(self.scores[0])
        low, high = (f"{100 * end:.1f}" for end in (behind.low, behind.high))
        cost = self.costs.get(score.name)
        return (
            score.shown,
            score.estimator,
            error_text(score.mae, score.sd),
            "" if score is first else f"{100 * behind.value:.1f} % ({low} to {high})",
            f"{score.logme:.3f}" if score.logme is not None else "",
            str(score.unseen) if score.unseen is not None else "",
            error_text(score.nearest) if score.answers else "",
            f"{1 / score.pace:.0f}" if score.pace else "",
            f"{minutes(together([cost]))}" if cost else "",
        )
