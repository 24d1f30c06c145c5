"""What a model has learned from, found once in a screening and kept beside its shards."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from tlzoo.data.structure_keys import StructureKeys
from tlzoo.errors import UserError
from tlzoo.machine.files import whole
from tlzoo.model.answering import answered
from tlzoo.model.domain import Domain
from tlzoo.screen.predictors import Predictor

MOST: Final = 5000  # training crystals that distances are taken to; of more, so many are drawn
CHUNK: Final = 1024  # crystals embedded at a time


def open_domain(path: Path, predictor: Predictor) -> Domain:
    """Read what was found before, or find and keep it."""
    if not path.is_file():
        found = find_domain(predictor)
        with whole(path) as partial:
            partial.write_bytes(found.content(exact=True))
    return Domain.parse(path.read_bytes(), path)


def find_domain(predictor: Predictor) -> Domain:
    """Return what comes with a model; of one that brings nothing, what its training crystals tell.

    These are embedded, or at most 5,000 of them drawn at random.
    """
    told = predictor.domain()
    if told.measures and told.keys is not None:
        return told
    try:
        crystals = predictor.training()
    except UserError as error:
        return replace(told, reason=str(error))
    keys = StructureKeys.of(crystals, shapes=False)
    if told.measures:
        return replace(told, keys=keys, reason="")
    drawn = np.random.default_rng(0).permutation(len(crystals))[:MOST]
    some = crystals.select(np.sort(drawn))
    found = answered(some, predictor.needs, predictor.answers, most=CHUNK, atoms=None)
    return Domain.of(np.concatenate([part.embedding for part in found]), keys, points=MOST)
