r"""A fine-tuned network as its difference to the one that it started from.

Of each tensor of the network the file holds

- nothing, where the base has the same one;
- two factors, where the difference is of low rank, as that of LoRA (:class:`tlzoo.freezing.LoRA`):
  :math:`W = W_0 + B A`, with B of shape (out, r) and A of shape (r, in);
- itself, where it is new or was trained freely: the head, biases.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from tlzoo.cards.card import Base
from tlzoo.errors import UserError

# What the names of the factors B and A end with.
LEFT: Final = ".difference.b"
RIGHT: Final = ".difference.a"


def reduced(tensors: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return what must be stored of tensors, and the names of those that are made from the base's."""
    stored: dict[str, Tensor] = {}
    of_base = []
    for name, value in tensors.items():
        before = base.get(name)
        if before is None or before.shape != value.shape or before.dtype != value.dtype:
            stored[name] = value
        elif torch.equal(before, value):
            of_base.append(name)
        elif factors := _factors(before, value):
            stored[name + LEFT], stored[name + RIGHT] = factors
            of_base.append(name)
        else:
            stored[name] = value
    return stored, of_base


def completed(stored: Mapping[str, Tensor], base: Mapping[str, Tensor], about: Base) -> dict[str, Tensor]:
    """Return all tensors of the network.

    Raises:
        UserError: The base lacks one, or factors do not fit it.
    """
    found = {name: value for name, value in stored.items() if not name.endswith((LEFT, RIGHT))}
    for name in about.tensors:
        if name not in base:
            raise UserError(f"{about.name} has no tensor {name}, which the difference changes")
        left, right = stored.get(name + LEFT), stored.get(name + RIGHT)
        if left is None or right is None:
            found[name] = base[name]
            continue
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            raise UserError(f"the factors of {name} do not fit each other: {left.shape} and {right.shape}")
        if (len(left), right.shape[1]) != base[name].shape:
            raise UserError(f"the factors of {name} do not fit {about.name}: {left.shape} and {right.shape}")
        found[name] = (base[name].double() + left.double() @ right.double()).to(base[name].dtype)
    return found


def _factors(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor] | None:
    r"""Return B and A of two matrices, None where they would be no smaller than the matrix.

    What is left over is what rounding has made of the entries, as of noise: of spectral norm
    :math:`\epsilon |W| (\sqrt{out} + \sqrt{in})`.
    """
    if after.ndim != 2 or not after.is_floating_point():
        return None
    left, values, right = torch.linalg.svd(after.double() - before.double(), full_matrices=False)
    rows, columns = after.shape
    largest = max(float(before.abs().max()), float(after.abs().max()))
    noise = torch.finfo(after.dtype).eps * largest * (rows**0.5 + columns**0.5)
    rank = max(1, int((values > noise).sum()))
    if rank * (rows + columns) >= rows * columns:
        return None
    root = values[:rank].sqrt()
    factors = left[:, :rank] * root, root[:, None] * right[:rank]
    return tuple(factor.to(after.dtype).contiguous() for factor in factors)
