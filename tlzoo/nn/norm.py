"""The normalisation of a layer, by name."""

from typing import Literal

from torch import nn

from tlzoo.errors import UserError

Norm = Literal["batch", "layer"]


def norm_layer(norm: Norm, dim: int) -> nn.Module:
    """Return batch normalisation (as published) or layer normalisation (blind to the rest of the batch).

    Raises:
        UserError: Another name.
    """
    if norm == "batch":
        return nn.BatchNorm1d(dim)
    if norm == "layer":
        return nn.LayerNorm(dim)
    raise UserError(f"norm must be 'batch' or 'layer', got {norm!r}")
