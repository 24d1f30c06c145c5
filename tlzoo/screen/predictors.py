"""What answers for a crystal: a value, its interval, and a vector, which is how the model sees it."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import NormalDist
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlzoo.cards.library import locate
from tlzoo.crystals import Crystals
from tlzoo.data.learned_from import fitted_crystals, training_crystals
from tlzoo.descriptors.stores import Options
from tlzoo.errors import UserError
from tlzoo.graphs.batch import Batch
from tlzoo.machine import runtime
from tlzoo.model.answering import Stores
from tlzoo.model.domain import Domain
from tlzoo.model.intervals import ENDS, widened
from tlzoo.model.trained import Model
from tlzoo.transfer import features
from tlzoo.transfer.finetune.chosen import Chosen, load
from tlzoo.transfer.finetune.composite import Composite
from tlzoo.transfer.finetune.folded import Folded

if TYPE_CHECKING:
    from tlzoo.transfer.features.saved import SavedFeatures

Values = NDArray[np.float64]

# Crystals, and rows, computed at a time: on a CPU more are no faster, and two threads stay small.
BATCH: Final = 1024
ROWS: Final = 20_000
# Batches after which freed memory goes back: no two have the same shapes, what one leaves seldom fits.
GIVEN_BACK: Final = 16

LEVEL: Final = 0.95  # of all intervals
DEVIATIONS: Final = NormalDist().inv_cdf((1 + LEVEL) / 2)  # to its ends, 1.96


class Answers(NamedTuple):
    """What a model says of crystals.

    Attributes:
        value: Predictions, ``(crystals,)``.
        low: Lower ends of the model's own 95 % intervals, NaN if it has none, ``(crystals,)``.
        high: Upper ends, ``(crystals,)``.
        embedding: ``(crystals, dim)``.
    """

    value: Values
    low: Values
    high: Values
    embedding: Values


class Predictor(ABC):
    """A trained model, asked for one property.

    Attributes:
        sha256: Of all that its answers depend on.
        elements: Symbols of the elements it has learned from; None if nobody can tell.
        uncertain: Whether it has intervals of its own.
        calibration: What these rest on, in words; empty if nobody has calibrated them.
    """

    name: str
    sha256: str
    target: str
    unit: str
    elements: Sequence[str] | None
    uncertain: bool
    calibration: str = ""

    @property
    @abstractmethod
    def needs(self) -> Sequence[Options]:
        """What is to be made of crystals."""

    @abstractmethod
    def answers(self, stores: Stores) -> Answers:
        """Answer for crystals, by what was made of them for each of :attr:`needs`."""

    @abstractmethod
    def domain(self) -> Domain:
        """Return what comes with the model of the crystals that it has learned from."""

    @abstractmethod
    def training(self) -> Crystals:
        """Return the crystals that it has learned from.

        Raises:
            UserError: They are not to be had; the message says why.
        """


class Network(Predictor):
    """A backbone and a head, asked for the only property that they predict if none is named.

    Raises:
        UserError: It does not predict that, or several properties of which none was chosen.
    """

    def __init__(self, name: str, model: Model, target: str | None = None) -> None:
        self.name, self.model = name, model
        card = model.card
        self.target = one_of(name, model.units, model.columns, target)
        self.unit = model.units[self.target]
        self.sha256 = card["sha256"]
        self.elements = card.get("elements")
        self._stated = {name: each for name, each in model.intervals.items() if name == self.target}
        # those that it shows are for 90 %
        self._plain = replace(model, intervals={})
        self._columns = self._plain.columns
        self._batches = count(1)
        self.uncertain = any(_level(column, self.target) is not None for column in self._columns)
        for each in self._stated.values():
            self.uncertain, self.calibration = True, f"calibrated on {each.crystals:,} {each.left_out}"
            self.sha256 = hashlib.sha256(f"{card['sha256']}\n{each}".encode()).hexdigest()

    @property
    def needs(self) -> Sequence[Options]:
        """What the backbone reads."""
        return self.model.options

    def answers(self, stores: Stores) -> Answers:
        """Predict and embed in one pass."""
        store = stores[self.model.backbone.graph]
        table = self.model.rows(self._compute, store, batch_size=BATCH, max_rows=ROWS).astype(np.float64)
        columns = dict(zip(self._columns, table.T, strict=False))
        low, high = interval(columns, self.target)
        if self._stated:
            head, targets = self.model.head, list(self.model.units)
            said = torch.from_numpy(table[:, : len(head.columns(targets))])
            ends = widened(self._stated, head, targets, said, str(LEVEL))[self.target]
            low, high = (end.numpy() for end in ends)
        return Answers(columns[self.target], low, high, table[:, len(self._columns) :])

    def domain(self) -> Domain:
        """Return what the files beside its weights tell."""
        return self.model.domain

    def training(self) -> Crystals:
        """Return the crystals of the training part."""
        return training_crystals(locate(self.name), self.model.card)

    def _compute(self, batch: Batch) -> Tensor:
        if next(self._batches) % GIVEN_BACK == 0:
            runtime.give_back()
        embedding = self.model.backbone(batch)
        return torch.cat([self._plain.answer(batch, embedding), embedding.float()], dim=1)


class Frozen(Predictor):
    """A regression on frozen features, as `tlzoo features --save` keeps it.

    Raises:
        UserError: It predicts another one.
    """

    def __init__(self, name: str, model: "SavedFeatures", target: str | None = None) -> None:
        self.name, self.model = name, model
        self.target, self.unit = model.card["target"], model.card["unit"]
        if target not in {None, self.target}:
            raise UserError(f"{name} predicts {self.target}, not {target}")
        if model.base:
            raise UserError(
                f"{name} predicts from the column {model.base}, which is not read of crystals to screen; "
                "take tlzoo predict, or a regression without --base"
            )
        self.sha256 = hashlib.sha256((Path(name) / features.CARD).read_bytes()).hexdigest()
        self.elements = model.card["elements"]
        self.uncertain = len(model.columns) > 1
        if calibration := model.card.get("calibration"):
            found = (calibration["coverage"] or {}).get("calibrated")
            held = f"; of others, left out of everything, they held {found[str(LEVEL)]:.0%}" if found else ""
            self.calibration = f"calibrated on {calibration['crystals']:,} crystals left out in turn{held}"
        self._one_at_a_time = Lock()

    @property
    def needs(self) -> Sequence[Options]:
        """What its sources of features read."""
        return self.model.options

    def answers(self, stores: Stores) -> Answers:
        """Predict in the unit of the target; the embedding are the standardised features."""
        # layers are read off by hooks, which would hear the batches of other threads too
        with self._one_at_a_time:
            mean, deviation, features = self.model.learned(stores)
        half = self.model.half_width(deviation, str(LEVEL))
        ends = (mean, mean - half, mean + half)
        value, low, high = map(np.exp, ends) if self.model.card["log"] else ends
        return Answers(value, low, high, features.astype(np.float64))

    def domain(self) -> Domain:
        """Return what its features of the crystals it was fitted to tell."""
        return self.model.domain

    def training(self) -> Crystals:
        """Return the crystals it was fitted to."""
        return fitted_crystals(self.model.card)


class Together(Predictor):
    """Several models as one, asked for the only property, or for one of several.

    Raises:
        UserError: They do not predict that, or several properties of which none was chosen.
    """

    def __init__(self, name: str, model: Composite, target: str | None = None) -> None:
        self.name, self.model = name, model
        self.target = one_of(name, model.units, model.columns, target)
        self.unit = model.units[self.target]
        self.sha256 = hashlib.sha256("\n".join(model.hashes).encode()).hexdigest()
        self.elements = model.card.get("elements")
        self.calibration = model.calibrated(self.target)
        self.uncertain = bool(self.calibration)
        self._one_at_a_time = Lock()

    @property
    def needs(self) -> Sequence[Options]:
        """What networks and features read."""
        return self.model.options

    def answers(self, stores: Stores) -> Answers:
        """Predict in the unit of the target."""
        # layers are read off by hooks, which would hear the batches of other threads too
        with self._one_at_a_time:
            columns, embedding = self.model.told(stores, str(LEVEL))
        value = columns[self.target].astype(np.float64)
        none = np.full_like(value, np.nan)
        low, high = (columns.get(f"{self.target}_{end}", none).astype(np.float64) for end in ENDS)
        return Answers(value, low, high, embedding.astype(np.float64))

    def domain(self) -> Domain:
        """Return what comes with them of the crystals that they have learned from."""
        return self.model.domain

    def training(self) -> Crystals:
        """Return the crystals that they have learned from."""
        return self.model.training()


def one_of(name: str, units: Iterable[str], columns: Container[str], target: str | None) -> str:
    """Return the property that a model is asked for, the only one if none is named.

    Raises:
        UserError: There are several, it is not among them, or classes of it are predicted.
    """
    targets = list(units)
    if target is None and len(targets) > 1:
        raise UserError(f"{name} predicts {', '.join(targets)}; choose one: --target {targets[0]}")
    found = target or targets[0]
    if found not in targets:
        raise UserError(f"{name} predicts {', '.join(targets)}, not {found}")
    if found not in columns:
        raise UserError(f"{name} predicts classes of {found}, and candidates are ranked by a number")
    return found


def open_predictors(names: Sequence[str], target: str | None) -> list[Predictor]:
    """Load models that predict the same: as of :func:`tlzoo.load`, or what `tlzoo features --save` wrote.

    Raises:
        UserError: There is no such model, or they predict different things.
    """
    if not names:
        raise UserError("name at least one model")
    if len(set(names)) < len(names):
        raise UserError(f"a model is named twice: {', '.join(names)}")
    found: list[Predictor] = []
    for name in names:
        model = load(name)
        kind = {Model: Network, Chosen: Together, Folded: Together}.get(type(model), Frozen)
        found.append(kind(name, model, target))
    kinds = {(predictor.target, predictor.unit) for predictor in found}
    if len(kinds) > 1:
        listing = ", ".join(f"{each.name}: {each.target} in {each.unit or '1'}" for each in found)
        raise UserError(f"the models of an ensemble must predict the same in the same unit; got {listing}")
    return found


def interval(columns: Mapping[str, Values], target: str) -> tuple[Values, Values]:
    """Return the ends of a model's own 95 % intervals; NaN where it has none.

    Quantiles at another level are moved out, or in, as those of a normal distribution would be.
    """
    value = columns[target]
    ends = [np.full_like(value, np.nan), np.full_like(value, np.nan)]
    for name, values in columns.items():
        level = _level(name, target)
        if level is None:
            continue
        if name == f"{target}_std":
            return value - DEVIATIONS * values, value + DEVIATIONS * values
        # quantiles rise: the first is the lowest, the last the highest
        side, far = int(level > 0.5), NormalDist().inv_cdf(level)
        if side or np.isnan(ends[0]).all():
            ends[side] = value + (values - value) * DEVIATIONS / abs(far)
    return ends[0], ends[1]


def _level(column: str, target: str) -> float | None:
    """Return the level of a column that says how sure a prediction is; None for other columns.

    >>> _level("gap_q95", "gap"), _level("gap", "gap")
    (0.95, None)
    """
    if column == f"{target}_std":
        return 0.5
    try:
        return float(column.removeprefix(f"{target}_q")) / 100 if column.startswith(f"{target}_q") else None
    except ValueError:
        return None
