"""What models of any kind say of themselves: what they predict, what of, from what they learned, how well."""

import html
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tlzoo.crystals import with_unit
from tlzoo.data import named
from tlzoo.machine.plural import counted

# Properties that are named in one line.
SHOWN: Final = 3


class About(NamedTuple):
    """A model in a few words.

    Attributes:
        name: Name of the checkpoint, or where it is.
        network: What reads crystals, with its size.
        learned: From how many crystals of what it has learned.
        error: Errors on crystals that it has not learned from; empty if none are known.
    """

    name: str
    network: str
    learned: str
    error: str


class Predictor(ABC):
    """A model that predicts for crystals, with a card and a name; printed, it tells both in a few lines."""

    if TYPE_CHECKING:

        @property
        def card(self) -> dict[str, Any]:
            """What is known of the model."""

    @property
    @abstractmethod
    def units(self) -> dict[str, str]:
        """Unit of each target."""

    @abstractmethod
    def about(self) -> About:
        """Say what it is and what it is worth."""

    def __repr__(self) -> str:
        told = self.about()
        rows = [("predicts", self._predicts()), ("network", told.network), ("learned", told.learned)]
        rows += [("error", told.error or "not measured")]
        return "\n".join([told.name, *(f"  {name:<9} {text}" for name, text in rows)])

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        return f"<pre>{html.escape(repr(self))}</pre>"

    def _predicts(self) -> str:
        """Name the properties with units, and where it is known of which theory or measurement they are."""
        training = self.card.get("training") or {}
        about: dict[str, str] = {}
        for source in (self.card.get("source"), training.get("base"), training.get("source")):
            if isinstance(source, str) and named.known(source):
                targets = named.find(source).targets
                about |= {name: target.description for name, target in targets.items()}
        if len(self.units) == 1:
            ((target, unit),) = self.units.items()
            return with_unit(target, unit, "{} ({})") + (f": {about[target]}" if about.get(target) else "")
        return listed([with_unit(target, unit, "{} ({})") for target, unit in self.units.items()])


def listed(names: Sequence[str]) -> str:
    """Name some things, the first of many.

    >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def history(card: Mapping[str, Any]) -> str:
    """Say from a card of a network how many crystals of what it has learned from."""
    training = card.get("training")
    if training:
        base = f" ({training['base']} and more)" if training.get("base") else ""
        return f"{training['train']['crystals']:,} crystals of {training['source']}{base}"
    if package := card.get("package"):
        return str(package["learned"])
    return f"{card.get('source', 'crystals that nobody has named')}: {card.get('split', 'split not known')}"


def errors(card: Mapping[str, Any], units: Mapping[str, str]) -> str:
    """Say from a card of a network how large its errors are on crystals that it has not learned from."""
    metrics = card.get("metrics") or {}
    part = next((part for part in ("test", "val") if part in metrics and part not in units), None)
    if part is None:  # of a published checkpoint, by target
        told = [
            with_unit("{mae:.3g}".format(**metrics[name]), unit)
            + f" on {counted(metrics[name]['n'], 'crystal')}"
            for name, unit in units.items()
            if name in metrics
        ]
        return f"MAE {listed(told)} held out" if told else ""
    measured = metrics[part]
    noun = "test crystal" if part == "test" else "validation crystal"
    where = f"on {counted(measured.get('crystals', 0), noun)}"
    several = {name: measured.get(f"mae_{name}", measured.get("mae")) for name in units}
    told = [with_unit(f"{mae:.3g}", units[name]) for name, mae in several.items() if mae is not None]
    if told:
        return f"MAE {listed(told)} {where}"
    other = next((name for name in ("accuracy", "loss") if measured.get(name) is not None), None)
    return f"{other} {measured[other]:.3g} {where}" if other else ""
