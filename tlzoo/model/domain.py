r"""How far a crystal is from those that a model has learned from, as the model sees it, or whether it is one.

With the embedding of a crystal, each number scaled to unit variance over the training crystals,

.. math::
    d = \frac1k \sum_{j \in \text{k nearest}} \lVert x - x_j \rVert

over the k = 5 nearest of some training crystals. The same for each training crystal, itself left out, gives
what is usual: distances are in units of its median, and a crystal is out of the domain beyond its 99th
percentile.

Beside the weights of a model, ``NAME.domain.safetensors`` holds the points, what is usual, and the keys of
the training structures (:mod:`tlzoo.data.structure_keys`). Checkpoints whose crystals come from one data set
share a file of keys. The card names both files and pins their hashes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from tlzoo.cards.beside import DOMAIN, KEYS, Beside
from tlzoo.data.structure_keys import NAMES, StructureKeys
from tlzoo.errors import UserError

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

FORMAT: Final = 1
NEAREST: Final = 5
PERCENTILE: Final = 99.0
# Training crystals that distances are taken to, of those drawn; the others tell what is usual. Flags agree to
# 99 % with those of 5,000 points, which take five times the space.
POINTS: Final = 1000
DRAWN: Final = 2000
BLOCK: Final = 256  # crystals whose distances to all points are in memory at a time
HALF: Final = float(np.finfo(np.float16).max)


@dataclass(frozen=True, eq=False)
class Domain:
    """What a model has learned from, in brief.

    Attributes:
        points: Embeddings of training crystals, scaled, ``(points, dim)`` float64; none if not known.
        scale: Factor of each number, ``(dim,)`` float64.
        usual: Median and 99th percentile of the distances among training crystals.
        keys: Keys of the structures that it learned from; None if they are not known.
        reason: Why something is not known.
    """

    points: Tensor
    scale: Tensor
    usual: tuple[float, float]
    keys: StructureKeys | None = None
    reason: str = ""

    @classmethod
    def unknown(cls, reason: str) -> Self:
        """Return the domain of a model of which nothing is known."""
        none = torch.empty(0, dtype=torch.float64)
        return cls(none.reshape(0, 0), none, (1.0, 0.0), reason=reason)

    @classmethod
    def of(
        cls,
        embeddings: NDArray[Any],
        keys: StructureKeys | None = None,
        *,
        points: int = POINTS,
        reason: str = "",
    ) -> Self:
        """Learn what is usual from embeddings of training crystals drawn at random, ``(crystals, dim)``."""
        drawn = torch.from_numpy(np.asarray(embeddings, dtype=np.float64))
        if len(drawn) < 2:  # there is no distance among them
            return replace(cls.unknown(reason or "it has learned from one crystal alone"), keys=keys)
        deviation = drawn[:points].std(dim=0, correction=0)
        scale = torch.where(deviation > 0, 1 / deviation, 0.0)
        scaled = drawn[:points] * scale
        among = nearest(scaled, scaled, itself=True)
        others = nearest(drawn[points:] * scale, scaled)
        median, far = np.percentile(torch.cat([among, others]).numpy(), [50.0, PERCENTILE])
        return cls(scaled, scale, (max(float(median), 1e-12), float(far)), keys, reason)

    @property
    def measures(self) -> bool:
        """Whether there is anything to measure distances to."""
        return len(self.points) > 1

    @property
    def limit(self) -> float:
        """The distance beyond which a crystal is out of the domain, in the units of :meth:`distances`."""
        usual, far = self.usual
        return far / usual

    def distances(self, embedding: NDArray[Any]) -> Values:
        """Return distances in units of what is usual among training crystals, ``(crystals,)``."""
        points = torch.from_numpy(np.asarray(embedding, dtype=np.float64)) * self.scale
        return (nearest(points, self.points) / self.usual[0]).numpy()

    def content(self, *, exact: bool = False) -> bytes:
        """Return the content of a file that holds it; points have 11 bits unless they are to be ``exact``."""
        points = self.points if exact else self.points.clamp(-HALF, HALF)
        arrays = {
            "points": points.numpy().astype(np.float64 if exact else np.float16),
            "scale": self.scale.numpy(),
            "usual": np.array(self.usual),
            **(self.keys.arrays if self.keys else {}),
        }
        note = json.dumps({"format": FORMAT, "reason": self.reason}, sort_keys=True)
        arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        content: bytes = safetensors.numpy.save(arrays, metadata={"tlzoo": note})
        return content

    @classmethod
    def parse(cls, content: bytes, path: Path) -> Self:
        """Read the content of such a file.

        Raises:
            UserError: It is another one.
        """
        arrays, note = _arrays(content, path)
        try:
            points, scale = (torch.from_numpy(arrays[key].astype(np.float64)) for key in ("points", "scale"))
            median, far = arrays["usual"].tolist()
            keys = StructureKeys.of_arrays(arrays) if NAMES[0] in arrays else None
        except (LookupError, ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged: {error}") from error
        if points.ndim != 2 or points.shape[1:] != scale.shape or not median > 0:
            raise UserError(f"{path} is damaged: its points do not fit their scale")
        return cls(points, scale, (median, far), keys, str(note.get("reason", "")))


def read(weights: Path, card: Mapping[str, Any]) -> Domain:
    """Return the domain of a model as far as the files beside its weights tell.

    Raises:
        UserError: A file is not the one that the card pins.
    """
    pinned = {name: Beside.of(card[name]) for name in (DOMAIN, KEYS) if card.get(name)}
    if overlap := (card.get("package") or {}).get("overlap"):
        return Domain.unknown(str(overlap))
    if DOMAIN not in pinned and card.get("imported"):
        return Domain.unknown("the file that it was imported from does not name them")
    if DOMAIN not in pinned:
        return Domain.unknown("its card names no file of them, as that of an older version")
    files = {name: weights.with_name(one.file) for name, one in pinned.items()}
    missing = {name: path for name, path in files.items() if not path.is_file()}
    reason = f"{' and '.join(map(str, missing.values()))} is missing beside its weights"
    if DOMAIN in missing:
        domain = Domain.unknown(reason)
    else:
        domain = Domain.parse(pinned[DOMAIN].read(files[DOMAIN]), files[DOMAIN])
    if KEYS in missing:
        return replace(domain, reason=reason)
    if KEYS not in files:
        return domain
    own = card["training"]["train"]["ids_sha256"]
    return replace(domain, keys=shared_keys(pinned[KEYS].read(files[KEYS]), files[KEYS], own))


def shared_content(keys: StructureKeys, sets: Mapping[str, Flags]) -> bytes:
    """Return the content of a file of keys that checkpoints share.

    Args:
        keys: Of all structures.
        sets: Which of them one has learned from, by the SHA-256 of their ids, ``(crystals,)`` each.
    """
    order = sorted(sets)
    bits = np.packbits(np.stack([sets[name] for name in order], axis=1), axis=1)
    note = json.dumps({"format": FORMAT, "sets": order}, sort_keys=True)
    arrays = {**keys.arrays, "sets": bits}
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    content: bytes = safetensors.numpy.save(arrays, metadata={"tlzoo": note})
    return content


def shared_keys(content: bytes, path: Path, ids_sha256: str) -> StructureKeys:
    """Return the keys of one of the sets in such a file.

    Raises:
        UserError: It is another file, or does not know the set.
    """
    arrays, note = _arrays(content, path)
    if ids_sha256 not in note.get("sets", []):
        raise UserError(f"{path} does not say which crystals the model has learned from; restore both files")
    try:
        bits = np.unpackbits(arrays["sets"], axis=1)[:, note["sets"].index(ids_sha256)]
        return StructureKeys.of_arrays(arrays).select(np.flatnonzero(bits))
    except (LookupError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def nearest(points: Tensor, others: Tensor, *, itself: bool = False) -> Tensor:
    """Return the mean distance to the five nearest others; with ``itself`` the points are the same ones."""
    count = min(NEAREST, len(others) - itself) + itself
    found = [
        _distances(part, others, count)[:, int(itself) :].mean(dim=1) for part in torch.split(points, BLOCK)
    ]
    return torch.cat([points.new_empty(0), *found])


def _distances(points: Tensor, others: Tensor, count: int) -> Tensor:
    """Return the distances of each point to the nearest others, ascending, ``(points, count)``."""
    squares = points.square().sum(dim=1)[:, None] + others.square().sum(dim=1) - 2 * points @ others.T
    return squares.clamp(min=0).topk(count, dim=1, largest=False).values.sqrt()


def _arrays(content: bytes, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays of a safetensors file and what its header says."""
    try:
        arrays = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        note = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["tlzoo"])
        version = note["format"]
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is no file of training crystals: {error}") from error
    if version != FORMAT:
        wanted = f"this tlzoo reads format {FORMAT}; update tlzoo to read it"
        raise UserError(f"{path} has format {version}, {wanted}")
    return arrays, note
