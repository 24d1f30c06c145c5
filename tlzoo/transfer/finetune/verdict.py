"""What a comparison found: errors on the test part, gains with their intervals, warnings in plain words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from statistics import stdev
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import with_unit
from tlzoo.evaluation.gain import Gain, gain
from tlzoo.evaluation.results import aligned, error_text
from tlzoo.model.answer_record import FROZEN, NETWORK, SHOWN
from tlzoo.model.description import plain
from tlzoo.transfer.finetune.decision import BOTH, Decision
from tlzoo.transfer.finetune.experiment import Choice

Values = NDArray[np.float64]

TRANSFER: Final = "transfer"
SCRATCH: Final = "scratch"
# Where the trained head is kept: what the model predicts before fine-tuning.
AS_IT_IS: Final = "as it is"
FORMAT: Final = 2
# What is no trivial baseline.
OURS: Final = frozenset({TRANSFER, SCRATCH, FROZEN, BOTH})
# Crystals that it takes for an interval to hold nine of ten more.
ENOUGH: Final = 9


@dataclass(frozen=True)
class Row:
    """A model on the test part.

    Attributes:
        name: ``transfer``, ``frozen``, ``both``, ``scratch``, ``as it is`` or a baseline.
        mae: Mean absolute error in the unit of the target, or the balanced error of classes; the mean over
            the seeds.
        sd: Standard deviation of it over the seeds; None if there is one.
        gain: What transfer gains over this model; None for transfer itself.
        seeds: Trainings whose predictions are averaged; such rows are compared with each other.
        answer: What the model that stands for the directory gains over this one; None for what may be it.
    """

    name: str
    mae: float
    sd: float | None
    gain: Gain | None
    seeds: int = 1
    answer: Gain | None = None


def rows(
    errors: Mapping[str, Values], chosen: str = TRANSFER, measure: Callable[[Values], Values] = np.abs
) -> list[Row]:
    """Compare the models on the crystals of the test part.

    Args:
        errors: Errors of each model, predicted minus true, ``(seeds, crystals)``; transfer first. The gain is
            of the absolute errors averaged over the seeds.
        chosen: What stands for the directory; seeds answer with their mean.
        measure: What an error costs; its mean is the row's.

    Returns:
        A row per model, then one for each of several seeds, with the errors of their mean prediction.
    """
    absolute = {name: measure(values) for name, values in errors.items()}
    together = {name: measure(values.mean(axis=0)) for name, values in errors.items() if len(values) > 1}
    answers = measure(errors[chosen].mean(axis=0))
    found = [
        Row(
            name,
            mae=float(values.mean()),
            sd=stdev(values.mean(axis=1).tolist()) if len(values) > 1 else None,
            gain=_over(absolute[TRANSFER].mean(axis=0), name, values.mean(axis=0)),
            answer=None if name in OURS else gain(answers, values.mean(axis=0)),
        )
        for name, values in absolute.items()
    ]
    for name, values in together.items():
        seeds = len(errors[name])
        better = _over(together[TRANSFER], name, values)
        found.append(Row(f"{name}, {seeds} together", float(values.mean()), None, better, seeds))
    return found


def _over(ours: Values, name: str, values: Values) -> Gain | None:
    return None if name == TRANSFER else gain(ours, values)


@dataclass(frozen=True, kw_only=True)
class Side:
    """How one of the two models was trained.

    Attributes:
        strategy: What trains.
        choice: Learning rate and pooling with the least validation error.
        tried: Validation MAE of all choices; infinite where training diverged.
        best_epoch: Epoch that was kept, from 1, of the first seed.
        run: Its run directory, within that of the comparison.
    """

    strategy: str
    choice: Choice
    tried: dict[Choice, float]
    best_epoch: int
    run: str


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head on frozen features.

    Attributes:
        name: What it reads, in words.
        networks: The models among that; none if it reads descriptors alone.
        weights: What each counts, by model and layer.
        left_out: Mean absolute error of crystals of training and validation part, left out in turn.
        tried: The same with each layer alone and a quicker head, by model and layer.
    """

    name: str
    networks: Sequence[str]
    weights: Mapping[str, float]
    left_out: float
    tried: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The whole result.

    Attributes:
        unit: Its unit; empty if unknown.
        starts: The model that transfer began with, or those whose trainings answer together, the best first,
            and the SHA-256 of their weights.
        split: Sizes of the parts and what else there is to say of them.
        test_crystals: Crystals of the test part.
        seen: Test crystals that such a model learned from, or one that it started from; None if nobody can
            tell.
        epochs: Passes over the training part, on both sides.
        trainings: How many answer together, on both sides.
        rows: The models on the test part, transfer first.
        model: The side with the smaller validation error, whose weights lie in the directory.
        answers: What stands for the directory: that side, ``frozen``, or ``both``, the mean of the two.
        head: The head on frozen features; None if there is none.
        decision: What that rests on; None of classes.
        held: Part of the test crystals that intervals held, for each of what may answer.
        unknown: Why nobody can tell what was seen.
        copies: What is wrong with the split: test crystals that are in training, too; empty if nothing is.
        without_seen: MAE of both sides on the test crystals that were not seen, if some were and not all.
        without_copies: The same on those that are not in training, too.
        neglected: What training from scratch was not given, though the recipe has it.
        measure: What is compared: ``MAE``, or ``balanced error`` of two classes.
    """

    source: str
    target: str
    unit: str
    starts: Mapping[str, str]
    split: str
    test_crystals: int
    seen: int | None
    epochs: int
    trainings: int
    sides: Mapping[str, Side]
    rows: list[Row]
    model: str
    answers: str = ""
    head: Head | None = None
    decision: Decision | None = None
    held: Mapping[str, float] = field(default_factory=dict)
    unknown: str = ""
    copies: str = ""
    without_seen: Mapping[str, float] = field(default_factory=dict)
    without_copies: Mapping[str, float] = field(default_factory=dict)
    neglected: Sequence[str] = ()
    measure: str = "MAE"

    @property
    def answering(self) -> str:
        """The row of what stands for the directory."""
        return self.answers or self.model

    @property
    def learners(self) -> str:
        """The names of all models that something of this began with."""
        return ", ".join(dict.fromkeys([*self.starts, *(self.head.networks if self.head else [])]))

    @property
    def choice(self) -> list[str]:
        """What answers, what that rests on, and how sure it is, a sentence each."""
        found = self.decision
        if found is None:
            return []
        unit = f" {self.unit}" if self.unit else ""
        told = []
        if self.head is not None:
            errors = ", ".join(
                f"{self._called(name)} {error_text(error)}{unit}" for name, error in found.errors.items()
            )
            why = "neither alone has a smaller error by more than chance" * (self.answers == BOTH)
            told.append(
                f"What answers: {self._answers()}, as validation chose ({errors}; {found.crystals} crystals"
                f"{'; ' * bool(why)}{why}). frozen is a kernel head on {self.head.name}, without training a "
                "network. For the test it has learned from the validation part too; networks have not, for "
                "that part judges them."
            )
        half, size = found.record.half_widths[SHOWN], found.record.crystals
        count = round(self.held[self.answering] * self.test_crystals)
        few = f", too few for 90 %: it is the largest error of {size}" * (size < ENOUGH)
        told.append(
            f"Its 90 % interval is ±{half:.4g}{unit}, by the errors of {size} crystals that were left "
            f"out{few}; it held {count} of the {self.test_crystals} test crystals."
        )
        return told

    def _called(self, name: str) -> str:
        return self.model if name == NETWORK else name

    def _answers(self) -> str:
        """Name what answers, plainly."""
        if self.answers == BOTH:
            parts = self.decision.weights if self.decision else {}
            return "both, " + " + ".join(f"{share:g} {self._called(name)}" for name, share in parts.items())
        if self.answers == FROZEN and self.head is not None and not self.head.networks:
            return "frozen alone, which reads descriptors and no network at all"
        return f"{self.answering} alone"

    @property
    def chosen_by(self) -> str:
        """What validation chose by."""
        return "MAE" if self.measure == "MAE" else "cross entropy"

    @property
    def gain(self) -> Gain:
        """What transfer gains over training from scratch."""
        found = next(row.gain for row in self.rows if row.name == SCRATCH)
        assert found is not None
        return found

    @property
    def origin(self) -> str:
        """The names of the models that transfer began with."""
        return ", ".join(self.starts)

    @property
    def conclusion(self) -> str:
        """The answer in one sentence."""
        found = self.gain
        does = "lowers" if found.value >= 0 else "raises"
        return (
            f"Transfer {does} the test error by {abs(100 * found.value):.1f} % "
            f"(95 % interval of the gain: {_interval(found)})."
        )

    @property
    def warnings(self) -> list[str]:
        """What speaks against transfer, or against this comparison."""
        found = []
        if self.gain.value < 0:
            found.append(
                "transfer hurts here: the model trained from scratch has the smaller test error. "
                + ("Use that one, or try" if self.answering in {TRANSFER, SCRATCH} else "Try")
                + " another checkpoint (`tlzoo recommend`) or another --strategy."
            )
        if not self.gain.certain:
            zero = "" if isnan(self.gain.high) else "the interval includes zero: "
            found.append(
                f"{zero}with {self.test_crystals} test crystals the difference between transfer and scratch "
                "may be chance. More test crystals narrow the interval."
            )
        ours, others = next(row for row in self.rows if row.name == self.answering), self.rows[1:]
        if any(row.name == AS_IT_IS and row.mae <= ours.mae for row in others):
            found.append(
                f"{self.origin} as it is has the smaller test error: fine-tuning loses something here. "
                f"Use it unchanged (`tlzoo predict {self.origin} …`)."
            )
        found += self._trivial([row for row in others if row.answer and row.name != AS_IT_IS])
        if self.copies:
            found.append(f"{self.copies}{self._without(self.without_copies)}")
        if self.seen:
            of = "one of " if "," in self.learners else ""
            found.append(
                f"{of}{self.learners} has learned from {self.seen} of the {self.test_crystals} test "
                f"crystals: the comparison flatters transfer.{self._without(self.without_seen)}"
            )
        if self.neglected:
            found.append(
                "the gain over scratch may be too large. What training from scratch would have had by "
                f"default: {'; '.join(self.neglected)}."
            )
        return found

    def _trivial(self, baselines: Sequence[Row]) -> Iterator[str]:
        """Say which baselines the model of the directory does not beat, and whether that is certain."""
        pairs = [(row.name, row.answer) for row in baselines if row.answer]
        if worse := [
            f"{-100 * over.value:.1f} % higher than that of {name} (95 % interval: {-100 * over.high:.1f} to "
            f"{-100 * over.low:.1f} %)"
            for name, over in pairs
            if over.high < 0
        ]:
            yield (
                f"expect little of these models here: the test error of {self.answering} is "
                f"{', '.join(worse)}. Trivial baselines see no structure."
            )
        if unsure := [name for name, over in pairs if not (over.high < 0 or over.low > 0)]:
            yield (
                f"the test error of {self.answering} cannot be told from that of the trivial baseline(s) "
                f"{', '.join(unsure)} with {self.test_crystals} test crystals."
            )

    def _without(self, errors: Mapping[str, float]) -> str:
        """Say the errors on the crystals that are left."""
        told = [
            f"of {name} {error_text(error)}{f' {self.unit}' if self.unit else ''}"
            for name, error in errors.items()
        ]
        return f" Without them the test error is {', '.join(told)}." if told else ""

    @property
    def notes(self) -> list[str]:
        """What a careful reader should know besides."""
        found = []
        for name, side in self.sides.items():
            rates = sorted({choice.rate for choice in side.tried})
            if len(rates) > 2 and side.choice.rate in (ends := (rates[0], rates[-1])):
                end = "smallest" if side.choice.rate == ends[0] else "largest"
                found.append(
                    f"{name} did best at the {end} learning rate tried: --learning-rates widens the list."
                )
        numbers = {name: len(side.tried) for name, side in self.sides.items()}
        if numbers[TRANSFER] > numbers[SCRATCH]:
            found.append(
                f"transfer was chosen from {numbers[TRANSFER]} trainings, scratch from {numbers[SCRATCH]}."
            )
        if self.seen is None:
            found.append(
                f"nobody can tell whether {self.learners} has seen structures of the test part: "
                f"{self.unknown}."
            )
        elif not self.seen:
            found.append(
                f"0 of the {self.test_crystals} test crystals were in the training of {self.learners}."
            )
        return found

    def content(self) -> dict[str, Any]:
        """The verdict as plain data, for ``verdict.json``; gains in percent."""
        fields = {
            name: getattr(self, name)
            for name in (
                *("source", "target", "unit", "starts", "split", "test_crystals", "seen"),
                *("epochs", "trainings", "model", "conclusion", "choice", "warnings", "notes"),
                *("unknown", "without_seen", "copies", "without_copies", "neglected", "measure"),
            )
        }
        sides = {
            name: {
                **side.choice.facts(),
                **{key: value for key, value in vars(side).items() if key != "choice"},
                "tried": [{**choice.facts(), "val_mae": error} for choice, error in side.tried.items()],
            }
            for name, side in self.sides.items()
        }
        results = [
            {
                "name": row.name,
                "mae": row.mae,
                "mae_sd": row.sd,
                "gain_percent": _percent(row.gain),
                **({"answer_gain_percent": _percent(row.answer)} if row.answer else {}),
            }
            for row in self.rows
        ]
        content: dict[str, Any] = plain(
            {"format": FORMAT, **fields, **self._answer(), "sides": sides, "results": results}, "verdict"
        )
        return content

    def _answer(self) -> dict[str, Any]:
        """What answers and why, as plain data."""
        found: dict[str, Any] = {"answers": self.answering, "frozen": vars(self.head) if self.head else None}
        if self.decision is None:
            return found
        errors, widths = self.decision.errors, self.decision.half_widths
        return found | {
            "decision": {
                "val_mae": {self._called(name): error for name, error in errors.items()},
                "crystals": self.decision.crystals,
                "weights": {self._called(name): share for name, share in self.decision.weights.items()},
            },
            "intervals": {
                self._called(name): {
                    "half_widths": widths[name],
                    "crystals": self.decision.calibrated[name],
                    "test_held": self.held[self._called(name)],
                }
                for name in widths
            },
        }

    def table(self) -> str:
        """The models on the test part, as a Markdown table that is aligned for the terminal too."""
        cells = [
            ("", with_unit(f"test {self.measure}", self.unit, "{} ({})"), "gain of transfer", "95 % interval")
        ]
        cells += [(row.name, error_text(row.mae, row.sd), *gain_cells(row.gain)) for row in self.rows]
        return markdown(cells)

    def text(self) -> str:
        """The table, the answer and the warnings, as Markdown for people."""
        paragraphs = [self.table(), self.conclusion, *self.choice]
        paragraphs += [f"WARNING: {warning}" for warning in self.warnings]
        paragraphs += [f"Note: {note}" for note in self.notes]
        return "\n\n".join(paragraphs)

    def document(self) -> str:
        """``verdict.md``: the text and how it came about."""
        fair = (
            f"Crystals: {self.split}. {self.epochs} epochs on both sides. The validation part chose from "
            "what was tried, and the test part was not looked at before that."
        )
        model = (
            f"The network of this directory is that of {self.model}, which has the smaller validation error."
        )
        if self.answering in {FROZEN, BOTH}:
            model += (
                f" `tlzoo predict` answers with {self._answers()}; `--from` and `tlzoo embed` take the "
                "network."
            )
        if self.trainings > 1 and self.answering == FROZEN:
            model += f" It has {self.trainings} trainings."
        elif self.trainings > 1 and self.answering == BOTH:
            model += f" Of its {self.trainings} trainings the mean counts."
        elif self.trainings > 1:
            model += (
                f" Its {self.trainings} trainings answer together: `tlzoo predict` gives the mean of their "
                f"predictions and, as `{self.target}_spread`, the standard deviation."
            )
        how = [fair, *(self._trained(name) for name in self.sides), model]
        return (
            "\n\n".join([f"# {self.target} of {self.source}, from {self.origin}", self.text(), *how]) + "\n"
        )

    def _trained(self, name: str) -> str:
        side = self.sides[name]
        tried = "; ".join(f"{error:.4g} with {choice}" for choice, error in side.tried.items())
        return (
            f"{name.capitalize()} ({side.strategy}): {side.choice}, model of epoch "
            f"{side.best_epoch}. Validation {self.chosen_by}: {tried}. "
            f"Run directory: `{side.run}`; to repeat it: `tlzoo fit --config {name}.yaml --run_dir NEW`."
        )


def _percent(found: Gain | None) -> dict[str, float] | None:
    return {name: 100 * value for name, value in vars(found).items()} if found else None


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, aligned, names to the left and numbers to the right; the head comes first."""
    head, *lines = (f"| {line} |" for line in aligned(cells, "<>>>", " | "))
    first, *rest = ("-" * len(cell) for cell in head.split("|")[1:-1])
    rule = f"|{first}|" + "".join(f"{dashes[1:]}:|" for dashes in rest)
    return "\n".join([head, rule, *lines])


def gain_cells(found: Gain | None) -> tuple[str, str]:
    """Return a gain and its interval for people; nothing where there is none."""
    if found is None:
        return "", ""
    return f"{100 * found.value:.1f} %", _interval(found)


def _interval(found: Gain) -> str:
    if isnan(found.high):
        return "not known"
    low = "" if isnan(found.low) else f"{100 * found.low:.1f} "
    return f"{low}{'to' if low else 'up to'} {100 * found.high:.1f} %"
