"""Weights of another package as a file of ours, made once and kept in the cache."""

import hashlib
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from tlzoo.cards import torch_archive
from tlzoo.cards.card import Card
from tlzoo.cards.fetch import SUFFIX, cache, place
from tlzoo.cards.old_convolutions import ordered
from tlzoo.cards.package import Package
from tlzoo.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def converted(card: Card, text: bytes) -> Path:
    """Return the weights of a checkpoint that a package brings, made if they are not in the cache yet.

    Args:
        card: Of the checkpoint; it pins the package's file and the one made of it.
        text: The content of the card's file.

    Raises:
        UserError: The package is missing or another one, or what is made of its file is not what is pinned.
    """
    assert card.package is not None
    weights = cache() / card.sha256 / f"{card.name}{SUFFIX}"
    if _whole(weights, card, text):
        return weights
    made = content(card, card.package)
    if (found := hashlib.sha256(made).hexdigest()) != card.sha256:
        raise UserError(
            f"what is made of {card.package.file} is not what the card of {card.name} pins: SHA-256 "
            f"{found[:12]}…, wanted {card.sha256[:12]}…; update tlzoo"
        )

    def fill(new: Path) -> None:
        (new / weights.name).write_bytes(made)
        (new / f"{card.name}.json").write_bytes(text)

    place(weights.parent, fill)
    return weights


def content(card: Card, package: Package) -> bytes:
    """Return the content of the file of weights: those of the package, and a head that reads the energy off.

    The energy per atom is the last number of the embedding.

    Raises:
        UserError: The package is missing or another one.
    """
    import safetensors.torch
    import torch

    stored = torch_archive.tensors(package.read(), package.inside, package.file)
    if any("._w3j_" in name for name in stored):
        stored = ordered(stored)
    tensors: dict[str, Tensor] = {
        f"backbone.{package.prefix}{name}": value.contiguous()
        for name, value in stored.items()
        if not any(fnmatchcase(name, pattern) for pattern in package.without)
    }
    energy = torch.zeros(1, card.spec.head["in_dim"])
    energy[0, -1] = 1
    tensors |= {"head.outs.0.weight": energy, "head.outs.0.bias": torch.zeros(1)}
    tensors |= {"head.scaler.mean": torch.zeros(1), "head.scaler.std": torch.ones(1)}
    spec = {"backbone": card.spec.backbone, "head": card.spec.head}
    note = {"format": card.format, "spec": spec, "targets": card.targets, "units": card.units}
    made: bytes = safetensors.torch.save(tensors, metadata={"tlzoo": json.dumps(note, sort_keys=True)})
    return made


def _whole(weights: Path, card: Card, text: bytes) -> bool:
    """Whether both files are in the cache as they should be."""
    try:
        if weights.with_suffix(".json").read_bytes() != text:
            return False
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == card.sha256
    except OSError:
        return False
