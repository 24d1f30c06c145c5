"""Fine-tuning and training from scratch on the same split, tuned alike, tested at the end."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from tlzoo.cards.beside import files
from tlzoo.crystals import with_unit
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.sources.labels import are_classes
from tlzoo.errors import UserError, no_such
from tlzoo.evaluation.baselines import predictions
from tlzoo.machine import argument_types, latest
from tlzoo.machine.files import write_table, write_text
from tlzoo.machine.lock import held
from tlzoo.machine.remarks import once
from tlzoo.machine.runtime import single_threaded
from tlzoo.model import answer_record, cross_conformal, ensemble
from tlzoo.model.answer_record import FROZEN, NETWORK, SHOWN
from tlzoo.model.checkpoint import Loaded
from tlzoo.model.known_crystals import known_crystals
from tlzoo.model.trained import load
from tlzoo.training.configuration import Configuration
from tlzoo.training.in_memory import Table, contents, kept
from tlzoo.training.run import Run
from tlzoo.transfer.features.layers import source
from tlzoo.transfer.finetune import finished, verdict
from tlzoo.transfer.finetune.budget import affordable, jobs
from tlzoo.transfer.finetune.candidate import Training, fit, read
from tlzoo.transfer.finetune.course import Course
from tlzoo.transfer.finetune.decision import BOTH, Decision, decide
from tlzoo.transfer.finetune.duration import Durations, told
from tlzoo.transfer.finetune.experiment import SIDES, Choice, Plan, Side, draft, in_unit, neglected, plan
from tlzoo.transfer.finetune.finetune_request import FORMULA_START, LATEST, START, Request
from tlzoo.transfer.finetune.frozen_head import FrozenHead
from tlzoo.transfer.finetune.measure import Measure, end
from tlzoo.transfer.finetune.recipes import recipe

logger = logging.getLogger(__name__)

# Fields of a request that `finetune` has arguments of its own for, and lists.
OURS = frozenset({"source", "target", "starts", "run_dir"})
LISTS = frozenset({"rates", "poolings", "strategies", "beside", "configs"})
# The head of which there is a counterpart on frozen features.
REGRESSION = "Regression"

Values = NDArray[np.float64]
Trainings = Mapping[Side, Sequence[Training]]


@once()
def finetune(
    data: Table | str | Path,
    *,
    target: str | None = None,
    from_: str | Path | Sequence[str] | None = None,
    run_dir: str | Path = LATEST,
    **more: Any,  # noqa: ANN401 (fields of the request)
) -> verdict.Verdict:
    """Fine-tune a model on few crystals, and compare with training from scratch; what `tlzoo finetune` does.

    Args:
        data: A path or the name of a data set, or crystals in memory as for :func:`tlzoo.fit`, which are kept
            in the run directory.
        target: Column to learn; the data set's own if it has only one.
        from_: The model to start from, that of the request by default: a checkpoint, a run directory or a
            ``.safetensors`` file; of several, validation chooses.
        run_dir: Directory for everything; :func:`tlzoo.load` takes it as a model. By default one for each
            request, to the newest of which ``runs/finetune`` leads.
        **more: Further fields of the :class:`~tlzoo.transfer.finetune.finetune_request.Request`, such as
            ``unit``, ``epochs``, ``strategy``, ``head`` or ``seeds``.

    Returns:
        What was found: ``text()`` is what the command prints.

    Raises:
        UserError: As :func:`compare`, or there is no such field.
    """
    with asked(data, target=target, from_=from_, run_dir=run_dir, **more) as request:
        return compare(request)


@contextmanager
def asked(
    data: Table | str | Path,
    *,
    target: str | None = None,
    from_: str | Path | Sequence[str] | None = None,
    run_dir: str | Path = LATEST,
    **more: Any,  # noqa: ANN401 (fields of the request)
) -> Iterator[Request]:
    """Yield the request of :func:`finetune`; crystals in memory are kept if something comes of it.

    Raises:
        UserError: There is no such field, or it has no such value.
    """
    hints, facts = get_type_hints(Request), [target, from_, dict(more)]
    known = [field.name for field in fields(Request) if field.name not in OURS]
    if unknown := [name for name in more if name not in known]:
        raise UserError(no_such("option", unknown[0], known))
    more = {name: _typed(name, value, hints[name]) for name, value in more.items()}
    argument_types.check("target", target, hints["target"])
    argument_types.check("run_dir", run_dir, str | Path)
    folder = Path(run_dir)
    if from_ is not None:
        argument_types.check("from_", from_, str | Path | Sequence[str | Path])
        more["starts"] = (str(from_),) if isinstance(from_, str | Path) else tuple(map(str, from_))
    given = {"target": target, **more}
    if isinstance(data, str | Path):
        yield Request(source=str(data), run_dir=folder, **given)
        return
    unnamed = folder == LATEST
    if unnamed:
        folder = latest.folder(folder, ["finetune", target or ""], [contents(data), *facts])
    Request(source="crystals in memory", run_dir=folder, **given)  # refused before anything is written
    with kept(data, folder) as source:
        yield Request(source=source, run_dir=folder, **given)
    if unnamed:
        latest.point(LATEST, folder)


def _typed(name: str, value: Any, hint: Any) -> Any:  # noqa: ANN401 (a field of the request)
    """Return the value of a field of the request; what may be several may be one alone."""
    if name not in LISTS or value is None:
        argument_types.check(name, value, hint)
        return value
    if not isinstance(value, list | tuple) and argument_types.fits((value,), hint):
        return (value,)
    argument_types.check(name, value, hint)
    return tuple(value)


def compare(
    request: Request,
    say: Callable[[str], None] = logger.info,
    known: CrystalDataModule | None = None,
) -> verdict.Verdict:
    """Fine-tune, train from scratch, test both and write everything into one directory.

    Both sides see the same split, as many epochs and the same learning rates and poolings, of which
    validation chooses (a trained head that is kept has its own, unless the request names some); the test
    part is predicted only when both choices are made. What is finished is not computed again. ``known`` are
    the same data, perhaps split otherwise, which need not be read again.

    Raises:
        UserError: The model or the data cannot be read, the directory holds another comparison, training was
            stopped, or all trainings of a side diverge.
    """
    cross_conformal.refuse_folds(request.run_dir)
    with held(request.run_dir, "choose another --run-dir"):
        found = _compared(request, say, known)
        if request.run_dir == request.place():
            latest.point(LATEST, request.run_dir)
        return found


def _compared(
    request: Request, say: Callable[[str], None], known: CrystalDataModule | None
) -> verdict.Verdict:
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        say(text)

    comparison = Comparison.prepare(request, tell, known)
    asked, request = request, comparison.request
    frozen = comparison.frozen()
    with comparison.course:
        tried = comparison.tune()
        answering = comparison.answering(tried)
    for side, trainings in answering.items():
        training, file = trainings[0], request.run_dir / f"{side}.yaml"
        about = f"from {request.start(training.choice)}" if side == "transfer" else "from scratch"
        how = f"{training.choice}, as validation chose. tlzoo fit --config {file}"
        tree = yaml.safe_dump(training.tree, sort_keys=False)
        write_text(file, f"# {request.source} {about}; {how}\n{tree}")
    found = comparison.judge(tried, answering, frozen)
    first, *others = (
        training.run.model for training in next(v for s, v in answering.items() if s == found.model)
    )
    ours = Run(request.run_dir).model
    for file in files(first.with_suffix(".safetensors")):
        shutil.copyfile(file, ours.with_name(file.name))
    ensemble.write(ours, others)
    if frozen is not None:
        frozen.save(request.run_dir / FROZEN)
    answer_record.write(ours, found.decision.record if found.decision is not None else None)
    content = json.dumps(found.content(), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(request.run_dir / "verdict.json", content + "\n")
    write_text(request.run_dir / "verdict.md", found.document())
    tell(f"\n{found.text()}\n\nrun directory: {request.run_dir}")
    finished.keep(asked, comparison.data.table, comparison.plan.trees.values(), said)
    return found


@dataclass(frozen=True)
class Comparison:
    """The same data for two experiments."""

    request: Request
    starts: Mapping[str, Loaded]
    data: CrystalDataModule
    plan: Plan
    strategy: str
    say: Callable[[str], None]
    course: Course

    @classmethod
    def prepare(
        cls, request: Request, say: Callable[[str], None], known: CrystalDataModule | None = None
    ) -> "Comparison":
        """Read model and data, and decide by the number of crystals what was not asked."""
        starts = request.start_models()
        # what cannot be trained is refused before the data are read, which may take minutes
        asked = plan(request, starts, recipe(1), [request.target or "target"])
        for side, choices in asked.choices.items():
            for choice in {choice.start: choice for choice in choices}.values():
                Configuration.parsed(asked.tree(side, choice, request.seed)).build()
        data = read(draft(request, next(iter(starts.values()))), known)
        if request.starts == START and not data.crystals.structured.any():
            say(f"{request.source} has formulas alone, without structures: starting from {FORMULA_START[0]}")
            return cls.prepare(replace(request, starts=FORMULA_START), say, known)
        if not len(data.split.test):
            raise UserError("the split has no test part to compare on; choose a splitter with test > 0")
        row = recipe(len(data.split.train))
        say(f"{data.targets[0]} of {request.source}: {data.split.describe()}")
        if request.head is None:
            _tell_of_kin(starts, data.units[0], say)
        labels = data.target_values(np.arange(len(data.crystals))).numpy()[:, 0]
        classes = are_classes(labels)
        minimum = None if classes else end(labels, data.split.train)
        experiments = plan(request, starts, row, data.targets, classes=classes, minimum=minimum)
        if experiments.classes:
            say(_classes(data, labels))
        elif minimum is not None and experiments.least == minimum:
            zeros = np.sum(labels[data.split.train] == minimum)
            say(f"no label is below 0, and {zeros} to train on are 0: no prediction is below 0")
        durations = Durations.begun(data, request.run_dir)
        # timed as it will be trained
        with single_threaded() if jobs(request, experiments) > 1 else nullcontext():
            experiments, took = affordable(
                request,
                row,
                durations,
                lambda some: plan(request, starts, some, data.targets, classes=classes, minimum=minimum),
                say,
            )
        durations.keep(request.run_dir)
        numbers = {side: len(experiments.choices[side]) for side in SIDES}
        again = len(starts) - 1 if request.together else len(SIDES) * (request.seeds - 1)
        epochs = next(iter(experiments.trees.values()))["trainer"]["max_epochs"]
        course = Course(sum(numbers.values()) + again, epochs)
        say(
            f"{course.trainings} trainings, {epochs} epochs each: {numbers['transfer']} from "
            f"{', '.join(starts)} and {numbers['scratch']} from scratch, to choose from"
            + (f"; {again} more with what was chosen" if again else "")
            + (f"; {told(took)} on this machine" if took is not None else "")
        )
        return cls(request, starts, data, experiments, request.strategy or row.strategy, say, course)

    def frozen(self) -> FrozenHead | None:
        """Fit a head to frozen features; None if there is to be none, or can be none, which is said."""
        if self.request.no_frozen:
            return None
        if self.plan.head != REGRESSION:
            self.say(f"no head on frozen features: it learns a number, not what a {self.plan.head} does")
            return None
        for name in self.request.beside:
            source(name)  # what is asked for by name must be there
        try:
            head = FrozenHead.of(
                self.data, list(self.starts), self.request.seed, self.request.beside, self.plan.least
            )
        except UserError as problem:
            self.say(f"no head on frozen features: {problem}")
            return None
        error = with_unit(f"MAE {head.error:.4g}", self.data.units[0])
        self.say(
            f"frozen: a kernel head on {head.name}: {error} of {len(head.left_out)} crystals left out in turn"
        )
        return head

    def tune(self) -> dict[Side, list[Training]]:
        """Train each side with each choice.

        Raises:
            UserError: All trainings of a side diverged.
        """
        wanted = [(side, choice, self.request.seed) for side in SIDES for choice in self.plan.choices[side]]
        trained = self._trained(wanted)
        tried: dict[Side, list[Training]] = {
            side: [one for one in trained if one.side == side] for side in SIDES
        }
        for side in SIDES:
            best(side, tried[side])
        return tried

    def answering(self, tried: Trainings) -> dict[Side, list[Training]]:
        """Return the trainings of each side that answer in the end; the first is the best that was tried.

        They are trained with what was chosen and several seeds; but if all models are to answer together,
        transfer has the best from each, whose number scratch has of seeds.
        """
        request = self.request
        if request.together:
            each = [
                best("transfer", [one for one in tried["transfer"] if one.choice.start == start])
                for start in request.starts
            ]
            first: dict[Side, list[Training]] = {
                "transfer": sorted(each, key=lambda one: one.val),
                "scratch": [best("scratch", tried["scratch"])],
            }
            number = {"transfer": 1, "scratch": len(each)}
        else:
            first = {side: [best(side, tried[side])] for side in SIDES}
            number = dict.fromkeys(SIDES, request.seeds)
        again = self._trained(
            [
                (side, first[side][0].choice, request.seed + i)
                for side in SIDES
                for i in range(1, number[side])
            ]
        )
        for one in again:
            best(one.side, [one])
        return {side: [*first[side], *(one for one in again if one.side == side)] for side in SIDES}

    def _trained(self, wanted: Sequence[tuple[Side, Choice, int]]) -> list[Training]:
        """Train with choices and seeds, and say how each did, in this order."""
        trainings = [
            Training(side, choice, seed, self.plan.tree(side, choice, seed), self.request.run_dir)
            for side, choice, seed in wanted
        ]
        if not trainings:
            return []
        first = self.course.begin([f"{one.side}, {one.choice}" for one in trainings])
        done: set[int] = set()
        told = 0
        try:
            for number in fit(
                trainings, self.data, self.jobs, lambda number: self.course.epoch(first + number)
            ):
                self.course.end(first + number)
                done.add(number)
                while told in done:
                    self._tell(trainings[told], first + told)
                    told += 1
        except KeyboardInterrupt as stop:
            raise UserError(
                f"stopped. All finished epochs are in {self.request.run_dir}; the same command goes on from "
                "there"
            ) from stop
        return trainings

    def _tell(self, training: Training, number: int) -> None:
        """Say how a training did."""
        chosen_by, unit = ("cross entropy", "") if self.plan.classes else ("MAE", self.data.units[0])
        result = (
            with_unit(f"validation {chosen_by} {training.val:.4g}", unit)
            if isfinite(training.val)
            else "diverged"
        )
        side, choice, seed = training.side, training.choice, training.seed
        how = self.strategy if side == "transfer" else "everything"
        how = "" if choice.strategy else f"{how}, "  # the choice says it
        again = f", seed {seed}" if seed != self.request.seed else ""
        which = f"{number}/{self.course.trainings}"
        self.say(f"{which:6}{side:9}{how}{training.epochs} epochs, {choice}{again}: {result}")

    @property
    def jobs(self) -> int:
        """How many trainings are done at a time: one on an accelerator, which they would share."""
        return jobs(self.request, self.plan)

    def judge(self, tried: Trainings, answering: Trainings, frozen: FrozenHead | None) -> verdict.Verdict:
        """Decide what answers, predict the test part, for the first time, and compare."""
        model = min(SIDES, key=lambda side: fmean(training.val for training in answering[side]))
        decision = self._decided(answering[model], frozen)
        errors: dict[str, Values] = {
            side: np.stack([run.test(self.data) for run in answering[side]]) for side in SIDES
        }
        together: dict[str, Values] = {model: errors[model].mean(axis=0)}
        if frozen is not None and decision is not None:
            alone = frozen.predict(self.data.split.test) - self._labels(self.data.split.test)
            together |= {FROZEN: alone, BOTH: decision.both(together[model], alone)}
            head = {FROZEN: together[FROZEN][None], BOTH: together[BOTH][None]}
            errors = {verdict.TRANSFER: errors.pop(verdict.TRANSFER), **head, **errors}
        starts = dict.fromkeys(self.request.start(one.choice) for one in answering["transfer"])
        read = frozen.networks if frozen is not None else []
        test, split = self.data.split.test, self.data.split
        known = known_crystals([*starts, *read], self.data.crystals, test, self.request.source)
        best_scratch = answering["scratch"][0].choice
        measure = Measure(self._labels(test), self.plan.classes)
        everything = errors | self._as_it_is(list(starts)) | self._baselines()
        self._write(everything)
        answers = model if decision is None or decision.answers == NETWORK else decision.answers
        return verdict.Verdict(
            source=self.request.source,
            target=self.data.targets[0],
            unit="" if measure.classes else self.data.units[0],
            starts={start: self.starts[start].card["sha256"] for start in starts},
            split=split.describe(),
            test_crystals=len(test),
            seen=None if known.mask is None else int(known.mask.sum()),
            unknown=known.reason,
            without_seen=_without(errors, known.mask, measure),
            copies=split.warning,
            without_copies=_without(errors, np.isin(test, split.copies), measure),
            epochs=answering["transfer"][0].epochs,
            trainings=len(answering["transfer"]),
            sides={side: self._side(side, tried[side], answering[side][0]) for side in SIDES},
            rows=verdict.rows(
                everything,
                chosen=answers,
                measure=measure,
            ),
            measure=measure.name,
            model=model,
            answers=answers,
            head=frozen.told if frozen is not None else None,
            decision=decision,
            held=_held(together, decision, model),
            neglected=neglected(self.plan, recipe(len(split.train)), best_scratch),
        )

    def _write(self, errors: Mapping[str, Values]) -> None:
        """Keep what each model predicts for the test part: of several trainings the mean."""
        test = self.data.split.test
        known = self._labels(test)
        said = {name: known + values.mean(axis=0) for name, values in errors.items()}
        table = pd.DataFrame({"id": self.data.crystals.ids[test], "known": known, **said})
        write_table(table, self.request.run_dir / finished.TESTED)

    def _decided(self, answering: Sequence[Training], frozen: FrozenHead | None) -> Decision | None:
        """Return what answers; None where there is no number that could have an interval."""
        if self.plan.head != REGRESSION:
            return None
        network = np.mean([training.errors("val") for training in answering], axis=0)
        if frozen is None:
            return decide(network)
        return decide(network, frozen.val - self._labels(self.data.split.val), frozen.left_out)

    def _labels(self, rows: NDArray[np.int64]) -> Values:
        """Return the labels of crystals, ``(rows,)``."""
        labels: Values = self.data.target_values(rows).numpy()[:, 0].astype(np.float64)
        return labels

    def _side(self, side: Side, tried: Sequence[Training], first: Training) -> verdict.Side:
        return verdict.Side(
            strategy=(first.choice.strategy or self.strategy) if side == "transfer" else "all",
            choice=first.choice,
            tried={training.choice: training.val for training in tried},
            best_epoch=first.best_epoch,
            run=first.run.path.relative_to(self.request.run_dir).as_posix(),
        )

    def _as_it_is(self, starts: Sequence[str]) -> dict[str, Values]:
        """Errors of what the kept head predicts before fine-tuning, on the test part, ``(1, crystals)``."""
        if self.request.head is None:
            return {}
        test = self.data.split.test
        crystals = self.data.crystals.select(test)
        # of classes the first column is the probability of class 1, of several properties one is asked for
        column = f"{self.request.head}_probability" if self.plan.classes else self.request.head
        said = np.mean([load(start).predict(crystals)[column] for start in starts], axis=0)
        return {verdict.AS_IT_IS: (said - self._labels(test))[None]}

    def _baselines(self) -> dict[str, Values]:
        """Errors of the trivial baselines on the test part, ``(1, crystals)`` each."""
        test, classes = self.data.split.test, self.plan.classes
        target = self._labels(np.arange(len(self.data.crystals)))
        found = predictions(self.data.crystals, target, self.data.split.parts, classification=classes)
        return {
            name: ((said["test"][:, 1] if classes else said["test"]) - target[test])[None]
            for name, said in found.items()
        }


def _tell_of_kin(starts: Mapping[str, Loaded], unit: str, say: Callable[[str], None]) -> None:
    """Say which models have learned something in the unit of the target."""
    for start, model in starts.items():
        if kin := in_unit(model.card, unit):
            say(
                f"{start} has learned {', '.join(kin)} in {unit}: if your property is "
                f"nearly the same, --head {' or '.join(kin)} starts from what it predicts"
            )


def _held(errors: Mapping[str, Values], decision: Decision | None, model: str) -> dict[str, float]:
    """Return the part of the test crystals that the intervals hold, for each of what may answer."""
    widths = decision.half_widths if decision is not None else {}
    names = {name: model if name == NETWORK else name for name in widths}
    return {
        called: float((np.abs(errors[called]) <= widths[name][SHOWN]).mean())
        for name, called in names.items()
    }


def _classes(data: CrystalDataModule, labels: Values) -> str:
    """Say that classes are learned, and how many crystals of each there are.

    Raises:
        UserError: The labels are no classes.
    """
    if not are_classes(labels):
        raise UserError(
            f"wanted classes for the head Classification, but the labels of {data.targets[0]} are not 0 and "
            "1; name a column that holds 0 and 1, or leave the head out to learn a number"
        )
    parts = ", ".join(
        f"{part} {np.count_nonzero(labels[rows] == 0):,} and {np.count_nonzero(labels[rows] == 1):,}"
        for part, rows in data.split.parts.items()
    )
    return (
        f"{data.targets[0]} is 0 or 1 and learned as two classes; of 0 and 1 there are: {parts}. "
        "If it is a number, say model: {head: {class_path: Regression}} in a --config"
    )


def _without(
    errors: Mapping[str, Values], mask: NDArray[np.bool_] | None, measure: Measure
) -> dict[str, float]:
    """Return the error of each side without some test crystals, if these are some and not all."""
    if mask is None or not mask.any() or mask.all():
        return {}
    return {side: float(measure(values, ~mask).mean()) for side, values in errors.items()}


def best(side: str, trainings: Sequence[Training]) -> Training:
    """Return the training with the least validation error.

    Raises:
        UserError: All of them diverged.
    """
    found = min(trainings, key=lambda training: training.val)
    if not isfinite(found.val):
        rates = ", ".join(dict.fromkeys(f"{training.choice.rate:g}" for training in trainings))
        raise UserError(f"{side} diverged with the learning rate(s) {rates}; give lower --learning-rates")
    return found
