"""What to do by default with so many crystals, and the evidence for it: the one place for both."""

from dataclasses import dataclass
from math import inf
from typing import Any, Final

from tlzoo.errors import UserError
from tlzoo.nn.pooling import Pooling

# What the model section of an experiment says for each strategy; scratch always trains everything.
STRATEGIES: Final[dict[str, dict[str, Any]]] = {
    "all": {},
    "layer-decay": {"layer_decay": 0.7},
    "gradual": {"freezing": {"class_path": "Gradual", "init_args": {"every": 5}}},
    "two-body": {"freezing": {"class_path": "TwoBody"}},
    "three-body": {"freezing": {"class_path": "ThreeBody"}},
    "new-head": {"freezing": {"class_path": "NewHead"}},
    "last-layer": {"freezing": {"class_path": "LastLayer"}},
}


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune with up to so many training crystals, and to train from scratch beside it.

    Attributes:
        up_to: Largest number of training crystals this is for.
        strategy: One of ``STRATEGIES``.
        epochs: Passes over the training part, for both.
        batch_size: Crystals per batch, for both.
        rates: Learning rates to try, for both; validation chooses.
        poolings: Ways from atoms to the crystal to try, for both.
        evidence: Why, with figures.
    """

    up_to: float
    strategy: str
    epochs: int
    batch_size: int
    rates: tuple[float, ...]
    poolings: tuple[Pooling, ...]
    evidence: str


# Not yet measured: places to start, to be set from the study of strategies by number of crystals.
RECIPES: Final = (
    Recipe(100, "layer-decay", 100, 8, (3e-3, 1e-2), ("mean", "max"), "not yet measured"),
    Recipe(500, "all", 100, 16, (3e-3, 1e-2), ("mean", "max"), "not yet measured"),
    Recipe(inf, "all", 100, 32, (3e-3, 1e-2), ("mean", "max"), "not yet measured"),
)


def recipe(crystals: int) -> Recipe:
    """Return what to do by default.

    Args:
        crystals: Number of training crystals.
    """
    return next(row for row in RECIPES if crystals <= row.up_to)


def strategy(name: str) -> dict[str, Any]:
    """Return what the model section of an experiment says for a strategy.

    Raises:
        UserError: There is none of this name.
    """
    if name not in STRATEGIES:
        raise UserError(f"there is no strategy {name!r}; there are: {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
