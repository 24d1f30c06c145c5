"""Trained networks as parts of a configuration: ``class_path: tlzoo.zoo.backbone``."""

from pathlib import Path

from tlzoo import checkpoint
from tlzoo.backbones.base import Backbone
from tlzoo.errors import UserError
from tlzoo.heads.base import Head


def backbone(name: str) -> Backbone:
    """The trained backbone of an exported model, as a starting point for fine-tuning.

    Args:
        name: A run directory, or a ``.safetensors`` file with its card beside it.

    Raises:
        UserError: There is no such model, or it is damaged.
    """
    return checkpoint.load(path(name)).backbone


def head(name: str) -> Head:
    """The trained head of an exported model; its target scaler is fitted anew when fitting starts.

    Args:
        name: As for :func:`backbone`.

    Raises:
        UserError: There is no such model, or it is damaged.
    """
    return checkpoint.load(path(name)).head


def path(name: str) -> Path:
    """Where the weights of a model are.

    Raises:
        UserError: Neither a run directory with an exported model nor a ``.safetensors`` file.
    """
    given = Path(name)
    file = given / "model.safetensors" if given.is_dir() else given
    if file.suffix != ".safetensors":
        raise UserError(
            f"{name} is no model: give a run directory or a .safetensors file with its card beside it"
        )
    if not file.is_file():
        raise UserError(f"there is no model {file}; a run directory holds one once `tlzoo fit` has finished")
    return file
