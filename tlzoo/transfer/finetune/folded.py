"""Models that have each left out a fold of the same crystals, as one: it answers with their mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals, with_unit
from tlzoo.data.learned_from import training_crystals
from tlzoo.descriptors.stores import Options
from tlzoo.errors import UserError
from tlzoo.heads import Classification
from tlzoo.model.answer_record import SHOWN
from tlzoo.model.answering import Columns, Stores
from tlzoo.model.cross_conformal import FILE, FoldRecord
from tlzoo.model.domain import Domain, read
from tlzoo.model.intervals import ENDS
from tlzoo.model.predictor import About, errors, history
from tlzoo.model.trained import Model
from tlzoo.transfer.finetune.composite import Composite

if TYPE_CHECKING:
    from tlzoo.transfer.finetune.chosen import Chosen

    Member: TypeAlias = Model | Chosen

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Folded(Composite):
    """The mean of several models, with intervals by the crystals that each has left out.

    Attributes:
        members: The models, which say what they say without intervals of their own.
        card: That of all: what the folds had together.
        record: Of the folds.
        weights: Those of a network in the same directory, which others start from.
    """

    members: Sequence["Member"]
    card: dict[str, Any]
    record: FoldRecord
    weights: Path

    @classmethod
    def of(cls, members: Sequence["Member"], card: dict[str, Any], record: FoldRecord, weights: Path) -> Self:
        """Put models together.

        Raises:
            UserError: They do not predict the same.
        """
        plain = [replace(one, intervals={}) if isinstance(one, Model) else one for one in members]
        for one in plain:
            if one.units != plain[0].units or _named(one) != _named(plain[0]):
                raise UserError(
                    f"the models of {weights.parent / FILE} predict different things: restore the "
                    "directory, or run the command with --folds again"
                )
        return cls(plain, card, record, weights)

    @property
    def network(self) -> Model:
        """The network of the first fold."""
        first = self.members[0]
        return first if isinstance(first, Model) else first.network

    def about(self) -> About:
        """Say what it is and what it is worth."""
        network = f"{len(self.members)} models that each left out a fold; the first: "
        network += self.members[0].about().network
        error = errors(self.card, self.units)
        for name, one in self.record.intervals.items():
            scores = np.concatenate(one.scores)
            error += f"; {with_unit(name, self.units[name], '{}')} with intervals by {len(scores):,} of them"
        return About(str(self.weights.parent), network, history(self.card), error)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each target."""
        return self.network.units

    @property
    def columns(self) -> list[str]:
        """What is predicted, how much the models differ (standard deviation), ends of 90 % intervals."""
        ends = [f"{name}_{end}" for name in self.units if name in self.record.intervals for end in ENDS]
        spreads = [f"{name}_spread" for name in self.units if name in _named(self.members[0])]
        return list(dict.fromkeys([*_named(self.members[0]), *spreads, *ends]))

    @property
    def options(self) -> list[Options]:
        """What must be made of crystals for :meth:`answers`."""
        return list(dict.fromkeys(each for one in self.members for each in one.options))

    @cached_property
    def domain(self) -> Domain:
        """What the models have learned from: distances are those of the first, crystals those of all."""
        own = self.members[0].domain
        return replace(own, keys=read(self.weights, self.card).keys)

    def to(self, device: str) -> Self:
        """Move all networks to a device, for example ``"cuda"``; return the model itself."""
        for one in self.members:
            one.to(device)
        return self

    @property
    def hashes(self) -> Sequence[str]:
        """Those of the weights, and the record of the folds."""
        frozen = [one.hashes[1] for one in self.members if isinstance(one, Composite)]
        weights = [str(one.card["sha256"]) for one in self.members]
        return *weights, *frozen, (self.weights.parent / FILE).read_text(encoding="utf-8")

    def calibrated(self, target: str) -> str:
        """Say what the intervals of a property rest on; empty if it has none."""
        one = self.record.intervals.get(target)
        return f"calibrated on {one.crystals:,} crystals, each left out by one model" if one else ""

    def training(self) -> Crystals:
        """Return the crystals in all folds."""
        return training_crystals(self.network.weights, self.network.card, ("train", "val", "test"))

    def located(self, stores: Stores, **limits: int) -> NDArray[np.float32]:
        """Return what distances are of: the embedding of the first model."""
        return self.members[0].located(stores, **limits)

    def told(
        self, stores: Stores, level: str = SHOWN, /, **limits: int
    ) -> tuple[Columns, NDArray[np.float32]]:
        """Predict and embed, as :meth:`Answerer.told` says."""
        first = self.members[0]
        others = [one for one in self.members[1:] if isinstance(one, Model) and one.options == first.options]
        if isinstance(first, Model) and len(others) == len(self.members) - 1:
            each, embedding = first.told_with(others, stores, **limits)
        else:
            said, embedding = first.told(stores, **limits)
            each = [said, *(one.answers(stores, **limits) for one in self.members[1:])]
        return self.together(each, level), embedding

    def together(self, each: Sequence[Columns], level: str = SHOWN) -> Columns:
        """Return the columns of all, from those of each model."""
        names = _named(self.members[0])
        stacked = {name: np.stack([one[name] for one in each]).astype(np.float64) for name in names}
        found = {name: values.mean(axis=0) for name, values in stacked.items()}
        if isinstance(self.head, Classification) and len(names) > 1:
            found[names[0]] = np.stack([found[name] for name in names[1:]]).argmax(axis=0).astype(np.float64)
        for name in (name for name in self.units if name in names):
            found[f"{name}_spread"] = stacked[name].std(axis=0, ddof=1)
            if f"{name}_std" in names:  # of the mixture of what they state
                inner = np.square(stacked[f"{name}_std"]).mean(axis=0)
                found[f"{name}_std"] = np.sqrt(inner + stacked[name].var(axis=0))
        least = dict(zip(self.units, self.head.least.tolist(), strict=False))
        for name, one in self.record.intervals.items():
            ends = one.ends([said(columns, name) for columns in each], float(level))
            # less than nature allows no crystal can have; and an interval holds what is predicted
            low, high = np.maximum(ends[0], least[name]), ends[1]
            found |= {f"{name}_{ENDS[0]}": np.minimum(low, found[name])}
            found |= {f"{name}_{ENDS[1]}": np.maximum(high, found[name])}
        return {name: found[name].astype(np.float32) for name in self.columns}


def said(columns: Mapping[str, NDArray[Any]], name: str) -> dict[str, Values]:
    """Return what a model says of a property: the prediction, and what else its head states of it."""
    further = {part: f"{name}_{part}" for part in ("std", *ENDS) if f"{name}_{part}" in columns}
    return {
        part: columns[column].astype(np.float64) for part, column in {"prediction": name, **further}.items()
    }


def _named(member: "Member") -> list[str]:
    """Return the columns of what a model predicts itself."""
    return member.head.columns(list(member.units))
