r"""How far a crystal is from those that a model has learned from, as the model sees it.

With the embedding of a crystal, each number scaled to unit variance over the training crystals,

.. math::
    d = \frac1k \sum_{j \in \text{k nearest}} \lVert x - x_j \rVert

over the k = 5 nearest training crystals. The same for each training crystal, itself left out, gives what is
usual: distances are in units of its median, and a crystal is out of the domain beyond its 99th percentile.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tlzoo.data.duplicates import VOLUME_TOLERANCE
from tlzoo.errors import UserError
from tlzoo.machine.files import whole
from tlzoo.model.answering import answered
from tlzoo.screen.facts import Facts
from tlzoo.screen.predictors import Predictor

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

NEAREST: Final = 5
PERCENTILE: Final = 99.0
MOST: Final = 5000  # training crystals that distances are taken to; of more, so many are drawn
CHUNK: Final = 1024  # crystals embedded at a time
BLOCK: Final = 256  # crystals whose distances to all points are in memory at a time


@dataclass(frozen=True, eq=False)
class Domain:
    """What a model has learned from, in brief.

    Attributes:
        points: Embeddings of training crystals, ``(points, dim)`` float64; none if they are not to be had.
        formulas: Hash of the formula of each training crystal, ``(crystals,)`` int64; none likewise.
        volumes: Volume per atom of the same, Å³, ``(crystals,)`` float64.
        reason: Why the training crystals are not to be had.
    """

    points: Tensor
    formulas: Tensor
    volumes: Tensor
    reason: str = ""

    @property
    def measures(self) -> bool:
        """Whether there is anything to measure distances to."""
        return len(self.points) > 1

    @property
    def lists(self) -> bool:
        """Whether the training crystals are known one by one."""
        return len(self.formulas) > 0

    @classmethod
    def of(cls, predictor: Predictor) -> Self:
        """Embed the training crystals of a model, or at most 5,000 of them drawn at random."""
        points = predictor.known()
        try:
            crystals = predictor.training()
        except UserError as error:
            none = torch.empty(0, dtype=torch.float64)
            there = none.reshape(0, 1) if points is None else torch.from_numpy(points)
            return cls(there, none.long(), none, str(error))
        if points is None:
            drawn = np.random.default_rng(0).permutation(len(crystals))[:MOST]
            some = crystals.select(np.sort(drawn))
            found = answered(some, predictor.needs, predictor.answers, most=CHUNK, atoms=None)
            points = np.concatenate([part.embedding for part in found])
        facts = Facts(crystals)
        return cls(
            torch.from_numpy(points),
            torch.from_numpy(keys(facts)),
            torch.from_numpy(facts.volume_per_atom.copy()),
        )

    @classmethod
    def open(cls, path: Path, predictor: Predictor) -> Self:
        """Read what was found before, or find and keep it."""
        if not path.is_file():
            found = cls.of(predictor)
            arrays = {"points": found.points, "formulas": found.formulas, "volumes": found.volumes}
            with whole(path) as partial:
                save_file(arrays, partial, metadata={"reason": found.reason})
        with safe_open(path, framework="pt") as file:
            names = ("points", "formulas", "volumes")
            arrays = {name: file.get_tensor(name) for name in names}
            return cls(**arrays, reason=file.metadata()["reason"])

    def distances(self, embedding: Values) -> Values:
        """Return distances in units of what is usual among training crystals, ``(crystals,)``."""
        points = torch.from_numpy(embedding) * self._scale
        return (self._distances(points, itself=False) / self._usual[0]).numpy()

    @property
    def limit(self) -> float:
        """The distance beyond which a crystal is out of the domain, in the same units."""
        usual, far = self._usual
        return far / usual

    def holds(self, facts: Facts) -> Flags:
        """Return which crystals are, or may be, training crystals, ``(crystals,)``.

        Their formula is that of a training crystal and their volume per atom is within 12 % of its. Other
        polymorphs of about the same density count too; no training crystal is missed.
        """
        volumes = facts.volume_per_atom
        pairs = zip(keys(facts).tolist(), volumes.tolist(), strict=True)
        near = [(self._by_formula.get(key, np.empty(0)), volume) for key, volume in pairs]
        found = [(np.abs(known - volume) <= VOLUME_TOLERANCE * known).any() for known, volume in near]
        return np.array(found, dtype=bool)

    @cached_property
    def _by_formula(self) -> dict[int, Values]:
        order = np.argsort(self.formulas.numpy(), kind="stable")
        found, first = np.unique(self.formulas.numpy()[order], return_index=True)
        parts = np.split(self.volumes.numpy()[order], first[1:])
        return dict(zip(found.tolist(), parts, strict=True))

    @cached_property
    def _scale(self) -> Tensor:
        deviation = self.points.std(dim=0, correction=0)
        return torch.where(deviation > 0, 1 / deviation, 0.0)

    @cached_property
    def _scaled(self) -> Tensor:
        return self.points * self._scale

    @cached_property
    def _usual(self) -> tuple[float, float]:
        """Return median and 99th percentile of the distances among the training crystals themselves."""
        found = self._distances(self._scaled, itself=True).numpy()
        median, far = np.percentile(found, [50.0, PERCENTILE])
        return max(float(median), 1e-12), float(far)

    def _distances(self, points: Tensor, *, itself: bool) -> Tensor:
        """Return the mean distance to the nearest points; with ``itself`` the points are the same ones."""
        nearest = min(NEAREST, len(self.points) - itself)
        found = [
            _nearest(part, self._scaled, nearest + itself)[:, int(itself) :].mean(dim=1)
            for part in torch.split(points, BLOCK)
        ]
        return torch.cat([points.new_empty(0), *found])


def keys(facts: Facts) -> NDArray[np.int64]:
    """Return a hash of the reduced formula of each crystal, ``(crystals,)``."""
    digests = [blake2b(str(text).encode(), digest_size=8).digest() for text in facts.formulas]
    return np.array([int.from_bytes(digest, "little", signed=True) for digest in digests], dtype=np.int64)


def _nearest(points: Tensor, others: Tensor, count: int) -> Tensor:
    """Return the distances of each point to the nearest others, ascending, ``(points, count)``."""
    squares = points.square().sum(dim=1)[:, None] + others.square().sum(dim=1) - 2 * points @ others.T
    return squares.clamp(min=0).topk(count, dim=1, largest=False).values.sqrt()
