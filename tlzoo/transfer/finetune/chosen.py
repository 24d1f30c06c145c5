"""The model of a comparison, where a head on frozen features answers, alone or together with the network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tlzoo.cards.library import locate
from tlzoo.crystals import Crystals, with_unit
from tlzoo.data.learned_from import training_crystals
from tlzoo.descriptors.stores import Options
from tlzoo.errors import UserError
from tlzoo.model import answer_record, checkpoint, cross_conformal, trained
from tlzoo.model.answer_record import FROZEN, NETWORK, SHOWN, AnswerRecord
from tlzoo.model.answering import Columns, Stores
from tlzoo.model.domain import Domain
from tlzoo.model.predictor import About
from tlzoo.model.trained import Model
from tlzoo.transfer import features
from tlzoo.transfer.finetune.composite import Composite
from tlzoo.transfer.finetune.folded import Folded

if TYPE_CHECKING:
    from tlzoo.transfer.features.saved import SavedFeatures  # scikit-learn takes a second to import


@dataclass(frozen=True, eq=False, repr=False)
class Chosen(Composite):
    """A head on frozen features, or its weighted mean with a network, with intervals.

    Attributes:
        network: The network of the comparison; it has a part in the answer if the record says so.
        frozen: The head.
        record: Whose mean the answer is.
    """

    network: Model
    frozen: "SavedFeatures"
    record: AnswerRecord

    def about(self) -> About:
        """Say what it is and what it is worth."""
        network = self.network.about()
        called = {FROZEN: self.frozen.about().network, NETWORK: network.network}
        shares = self.record.parts
        told = [f"{share:.2g} x " * (len(shares) > 1) + called[part] for part, share in shares.items()]
        (unit,) = self.units.values()
        half = with_unit(f"±{self.record.half_widths[SHOWN]:.3g}", unit)
        error = f"90 % interval {half}, by {self.record.crystals:,} crystals left out"
        return About(network.name, " + ".join(told), network.learned, error)

    @property
    def card(self) -> dict[str, Any]:
        """That of the network, which has learned from the same split."""
        return self.network.card

    @property
    def units(self) -> dict[str, str]:
        """Unit of the target."""
        return self.network.units

    @property
    def columns(self) -> list[str]:
        """The target, how much several trainings differ, and the ends of an interval that holds 90 %."""
        (target,) = self.units
        spread = [f"{target}_spread"] if NETWORK in self.record.parts and self.network.others else []
        return [target, *spread, f"{target}_q5", f"{target}_q95"]

    @property
    def options(self) -> list[Options]:
        """What must be made of crystals for :meth:`answers`."""
        networks = self.network.options if NETWORK in self.record.parts else []
        return list(dict.fromkeys([*networks, *self.frozen.options]))

    @property
    def domain(self) -> Domain:
        """What it has learned from: distances are those of the network where it answers."""
        network = self.network.domain
        return network if NETWORK in self.record.parts else replace(self.frozen.domain, keys=network.keys)

    def to(self, device: str) -> Self:
        """Move all networks to a device, for example ``"cuda"``; return the model itself."""
        self.network.to(device)
        self.frozen.to(device)
        return self

    @property
    def hashes(self) -> Sequence[str]:
        """Those of the weights, and the record of their parts."""
        return self.network.card["sha256"], self.frozen.card["sha256"], str(self.record)

    def calibrated(self, target: str) -> str:  # noqa: ARG002 (there is one)
        """Say what the intervals rest on."""
        return f"calibrated on {self.record.crystals:,} crystals that were left out"

    def training(self) -> Crystals:
        """Return the crystals of training and validation part: the head has learned from both."""
        return training_crystals(self.network.weights, self.card, ("train", "val"))

    def told(
        self, stores: Stores, level: str = SHOWN, /, **limits: int
    ) -> tuple[Columns, NDArray[np.float32]]:
        """Predict and embed, as :meth:`Answerer.told` says."""
        values, _, embedding = self.frozen.learned(stores)
        spread = []
        if NETWORK in self.record.parts:
            (target,) = self.units
            table, embedding = self.network.told(stores, **limits)
            shares = self.record.parts
            values = shares[FROZEN] * values + shares[NETWORK] * table[target].astype(np.float64)
            spread = [table[f"{target}_spread"]] if self.network.others else []
        half = self.record.half_widths[level]
        # less than nature allows no crystal can have
        columns = (values, *spread, np.maximum(values - half, self.frozen.least), values + half)
        return dict(zip(self.columns, columns, strict=True)), embedding


def load(name: str | Path) -> "Model | SavedFeatures | Chosen | Folded":
    """Load whatever predicts, as `tlzoo predict` takes it.

    Args:
        name: What :func:`tlzoo.model.trained.load` takes, of the directory of a comparison what validation
            chose to answer, of folds all of them together; or a folder that `tlzoo features --save` wrote.

    Raises:
        UserError: There is no such model, it cannot be fetched, or it is damaged.
    """
    if cross_conformal.is_folds(name):
        return _folded(Path(name))
    if features.is_saved(name):
        found: SavedFeatures = features.load(name)
        return found
    network = trained.load(name)
    weights = locate(str(name))
    record = answer_record.read(weights)
    if record is None or FROZEN not in record.parts:
        return network
    folder = weights.with_name(FROZEN)
    if not features.is_saved(folder):
        raise UserError(
            f"{weights.with_name(answer_record.FILE)} lets the head in {folder} answer, which is missing; "
            "restore it, or run `tlzoo finetune` again"
        )
    return Chosen(network, features.load(folder), record)


def _folded(folder: Path) -> Folded:
    record, weights = cross_conformal.read(folder), folder / "model.safetensors"
    card = checkpoint.load(weights).card
    members = []
    for place in (folder / name for name in record.folds):
        one = load(place) if not cross_conformal.is_folds(place) else None
        if not isinstance(one, Model | Chosen):
            raise UserError(
                f"{place} is no model of a fold: restore it, or run the command with --folds again"
            )
        members.append(one)
    return Folded.of(members, card, record, weights)
