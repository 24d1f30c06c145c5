"""Which checkpoints there are, narrowed down, and which one to take for a property."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Self

from tlzoo.cards import library
from tlzoo.cards.card import Card
from tlzoo.errors import UserError, no_such

# What a checkpoint is made for: to predict with, as it has learned from every crystal; to compare with others
# and to start from, as it has not seen the crystals of test sets; a potential has learned no property; nobody
# knows which crystals it has seen that others have trained.
PRODUCTION: Final = "production"
BENCHMARK: Final = "benchmark"
POTENTIAL: Final = "potential"
IMPORTED: Final = "imported"


@dataclass(frozen=True)
class Catalogue:
    """Checkpoints by name.

    Attributes:
        cards: Those whose cards can be read.
        damaged: What is wrong with the others.
        properties: Pattern of the properties that are looked for, such as ``phonons.*``.
    """

    cards: Sequence[Card]
    damaged: dict[str, str] = field(default_factory=dict)
    properties: str = "*"

    @classmethod
    def read(cls) -> Self:
        """Read all cards."""
        cards, damaged = [], {}
        for name in library.names():
            try:
                cards.append(library.find(name).card)
            except UserError as error:
                damaged[name] = str(error)
        return cls(cards, damaged)

    def narrowed(
        self,
        properties: str | None,
        backbone: str | None,
        elements: Sequence[str],
        error: float | None = None,
    ) -> "Catalogue":
        """Return those that predict a property, err by at most so much, have a network, and know elements.

        Of a property the one with the least error comes first.

        Raises:
            UserError: No card has such a property or network, or there is no such element; or an error is
                given and not one property, or not one unit.
        """
        from tlzoo.crystals import SYMBOLS

        cards = list(self.cards)
        there = dict.fromkeys(target for card in cards for target in card.targets)
        if properties is not None and not any(fnmatchcase(name, properties) for name in there):
            raise UserError(no_such("property", properties, there))
        networks = dict.fromkeys(network(card) for card in cards)
        if backbone is not None and backbone.lower() not in map(str.lower, networks):
            raise UserError(no_such("backbone", backbone, networks))
        if strange := [symbol for symbol in elements if symbol not in SYMBOLS[1:]]:
            raise UserError(f"there is no element {strange[0]!r}; wanted symbols such as Si")
        if backbone is not None:
            cards = [card for card in cards if network(card).lower() == backbone.lower()]
        cards = [card for card in cards if {*elements} <= {*card.elements}]
        found = Catalogue(cards, {}, properties or "*")
        if properties is None:
            if error is not None:
                raise UserError("say of which property the error is: --property NAME")
            return found
        cards = [card for card in cards if found.targets(card)]
        units = dict.fromkeys(unit for card in cards for _, unit in found.targets(card))
        if error is not None and len(units) > 1:
            raise UserError(f"{properties} has several units, {', '.join(units)}: name one property")
        cards = [card for card in cards if error is None or found.least(card) <= error]
        return Catalogue(sorted(cards, key=found.least), {}, properties)

    def targets(self, card: Card) -> list[tuple[str, str]]:
        """Return properties of a card that are looked for, with their units."""
        both = zip(card.targets, card.units, strict=True)
        return [(name, unit) for name, unit in both if fnmatchcase(name, self.properties)]

    def least(self, card: Card) -> float:
        """Return the smallest error of a card among the properties that are looked for."""
        known = (card.metrics[name].mae for name, _ in self.targets(card) if name in card.metrics)
        return min(known, default=float("inf"))

    def best(self) -> Iterator[dict[str, Any]]:
        """Yield for each property the checkpoint with the least error on crystals that were left out.

        One that has learned from every crystal wins if its error is as small. To compare with others, and as
        a start for crystals of test sets, take the best of those that have left these out.
        """
        for target, unit in dict.fromkeys(pair for card in self.cards for pair in self.targets(card)):
            known = [card for card in self.cards if target in card.metrics]
            if not known:
                continue
            predict = min(known, key=lambda card: (card.metrics[target].mae, kind_of(card) != PRODUCTION))
            others = [card for card in known if kind_of(card) == BENCHMARK]
            start = min(others, key=lambda card: card.metrics[target].mae, default=None)
            yield {
                "property": target,
                "unit": unit,
                "theory": predict.theory.get(target, ""),
                "predict": predict.name,
                "predict_mae": predict.metrics[target].mae,
                "predict_r2": predict.metrics[target].r2,
                "left_out": left_out(predict),
                "benchmark": start.name if start else None,
                "benchmark_mae": start.metrics[target].mae if start else None,
            }


def network(card: Card) -> str:
    """Return the class of a checkpoint's network, such as ``CGCNN``."""
    return str(card.spec.backbone.get("class_path")).rpartition(".")[2]


def kind_of(card: Card) -> str:
    """Return what a checkpoint is made for."""
    if card.package:
        return POTENTIAL
    if card.imported:
        return IMPORTED
    return PRODUCTION if card.cross_validation else BENCHMARK


def left_out(card: Card) -> int | None:
    """Return how many crystals of test sets a network has not learned from; None if only its maker knows."""
    if card.training is None:
        return None
    return card.training.test.crystals + (card.training.excluded.crystals if card.training.excluded else 0)


def content(found: library.Shelved) -> dict[str, Any]:
    """Return what a list says of a checkpoint, as plain data."""
    card = found.card
    return {
        "name": card.name,
        "description": card.description,
        "kind": kind_of(card),
        "backbone": network(card),
        "parameters": card.parameters,
        "bytes": card.bytes,
        "targets": [_target(card, *pair) for pair in zip(card.targets, card.units, strict=True)],
        "elements": card.elements,
        "learned_from": _learned_from(card),
        "training_crystals": card.training.train.crystals if card.training else None,
        "left_out": left_out(card),
        "started_from": [origin.name for origin in card.started_from],
        "licence": card.licence,
        "needs": found.lacking,
        "sha256": card.sha256,
    }


def _learned_from(card: Card) -> str:
    """Say what a network has learned from."""
    if card.training is not None:
        return card.training.source
    elsewhere = card.package or card.imported
    return elsewhere.learned if elsewhere else ""


def _target(card: Card, name: str, unit: str) -> dict[str, Any]:
    found = card.metrics.get(name)
    measured = {key: getattr(found, key, None) for key in ("mae", "rmse", "r2", "n")}
    return {"name": name, "unit": unit, "theory": card.theory.get(name, ""), **measured}
