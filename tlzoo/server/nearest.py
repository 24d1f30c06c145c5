"""The crystals that a model has learned from which it sees as most like others, with their labels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tlzoo.cards.library import locate
from tlzoo.crystals import Crystals
from tlzoo.data.learned_from import fitted_crystals, training_crystals
from tlzoo.errors import UserError
from tlzoo.screen.facts import Facts

if TYPE_CHECKING:
    from tlzoo.model.trained import Model
    from tlzoo.transfer.features.saved import SavedFeatures

    Embedding = Model | SavedFeatures

# Training crystals that are embedded: a minute with a large network. Checkpoints have learned from more, and
# keep neither ids nor labels of them.
MOST: Final = 5000
SHOWN: Final = 3


class Learned(NamedTuple):
    """Training crystals of a model with labels, formulas, and embeddings in units of what is usual there."""

    model: "Embedding"
    crystals: Crystals
    formulas: list[str]
    points: Tensor


def learned(name: str, model: "Embedding") -> Learned | None:
    """Return the training crystals of a model; None where there are too many, or the data are elsewhere."""
    training = model.card.get("training") or {}
    many = (training.get("train") or {}).get("crystals", 0) > MOST
    if many or not model.domain.measures:
        return None
    try:
        crystals = _crystals(name, model.card)
    except (UserError, OSError):
        return None
    if not 0 < len(crystals) <= MOST:
        return None
    return Learned(model, crystals, Facts(crystals).formulas.tolist(), _scaled(model, crystals))


def nearest(known: Learned, crystals: Crystals) -> list[list[dict[str, Any]]]:
    """Return for each crystal the nearest that a model has learned from."""
    distances = torch.cdist(_scaled(known.model, crystals), known.points)
    found = distances.topk(min(SHOWN, len(known.points)), largest=False)
    return [
        [_told(known, row, distance) for row, distance in zip(rows, each, strict=True)]
        for rows, each in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def _crystals(name: str, card: Mapping[str, Any]) -> Crystals:
    """Return the training crystals of a model, with their labels."""
    if "tables" in card:  # a regression on frozen features
        return fitted_crystals(card, labels=True)
    return training_crystals(locate(name), card, columns=card["targets"])


def _told(known: Learned, row: int, distance: float) -> dict[str, Any]:
    labels = {target: float(values[row]) for target, values in known.crystals.columns.items()}
    return {
        "id": str(known.crystals.ids[row]),
        "formula": known.formulas[row],
        "distance": round(distance, 3),
        "labels": {target: value for target, value in labels.items() if np.isfinite(value)},
    }


def _scaled(model: "Embedding", crystals: Crystals) -> Tensor:
    points = torch.from_numpy(np.asarray(model.embed(crystals), dtype=np.float64))
    return points * model.domain.scale / model.domain.usual[0]
