"""A checkpoint in half of its size: matrices in 16 bits, with the answers and errors of just these."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from tlzoo.cards import Card
from tlzoo.data.learned_from import training_crystals
from tlzoo.errors import UserError
from tlzoo.evaluation.baselines import errors
from tlzoo.model import checkpoint
from tlzoo.model.trained import Model
from tlzoo.zoo.golden import golden


def halve(weights: Path) -> Card:
    """Round the matrices of a checkpoint, store it in its place, and return its new card.

    Golden predictions, and errors on the test part, are measured anew; errors of other networks, those of a
    cross-validation, stay. The card keeps the hash of the weights before, which others may have started from.

    Raises:
        UserError: It has been halved before, is a difference to another model, its numbers are too large, or
            the data that it was tested on are not on this machine.
    """
    loaded = checkpoint.load(weights)
    card = loaded.card
    if card.get("rounded_from") or card.get("base"):
        raise UserError(f"{weights} is {'halved' if card.get('rounded_from') else 'a difference'} already")
    known = checkpoint.further(weights, card)
    small = checkpoint.rounded(loaded)
    model = Model(small.backbone, small.head, card)
    changed = {"golden": golden(model), "rounded_from": card["sha256"]}
    if not card.get("cross_validation"):
        changed["metrics"] = _measured(model, weights)
    checkpoint.save(weights, small.backbone, small.head, {**card, **changed}, half=True, **known)
    return Card.read(weights.with_suffix(".json"))


def _measured(model: Model, weights: Path) -> dict[str, Any]:
    """Return the errors on the test part, as a card states them."""
    tested = training_crystals(weights, model.card, ("test",), model.card["targets"])
    answers = model.predict(tested)
    found = {}
    for name in model.card["metrics"]:
        truth = tested.column(name)
        there = ~np.isnan(truth)
        one = errors(truth[there], answers[name].to_numpy(np.float64)[there])
        found[name] = {**one, "r2": None if math.isnan(one["r2"]) else one["r2"], "n": int(there.sum())}
    return found
