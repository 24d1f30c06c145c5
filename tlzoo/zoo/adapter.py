"""A fine-tuned model as a small file: its difference to the model that it started from."""

from pathlib import Path
from typing import Final

from tlzoo.cards.beside import files
from tlzoo.cards.card import NAME
from tlzoo.cards.library import locate
from tlzoo.errors import UserError
from tlzoo.model import checkpoint, ensemble
from tlzoo.model.trained import Model
from tlzoo.zoo.golden import deviation, golden

# Largest deviation of its answers from those of the whole model, relative to their size and spread.
TOLERANCE: Final = 1e-6
# A difference that is no smaller than this part of the model is none to speak of.
LARGEST: Final = 0.7


def store(name: str, path: Path, *, base: str = "") -> Path:
    """Store a model as its difference to another one; return the file.

    Args:
        name: A run directory, or any model that was fine-tuned.
        path: The new file, ``NAME.safetensors``; its card is put beside it.
        base: The model that the difference is to; by default the one that its card says it started from.

    Raises:
        UserError: It did not start from another model, was trained as a whole, so that its difference is as
            large as itself, or several trainings answer together.
    """
    weights = locate(name)
    if ensemble.others(weights):
        raise UserError(
            f"in {name} several trainings answer together; give the files of one: its .safetensors"
        )
    if path.suffix != ".safetensors" or not NAME.fullmatch(path.stem):
        raise UserError(f"{path} is no name of a model; wanted a-z, 0-9, '.', '_' and '-', then .safetensors")
    # it may be the model itself, or its base
    if there := [str(file) for file in (path, path.with_suffix(".json")) if file.exists()]:
        raise UserError(f"{there[0]} exists; give the difference another name, or delete that file")
    whole = checkpoint.load(weights)
    base = base or _start(name, whole.card)
    known = checkpoint.further(weights, whole.card)
    card = {**whole.card, "name": path.stem} if "name" in whole.card else whole.card
    checkpoint.save(path, whole.backbone, whole.head, card, base=base, **known)
    problem = _problem(whole, weights, path)
    if problem:
        for made in files(path):
            made.unlink(missing_ok=True)
        raise UserError(f"{name} is not stored as a difference to {base}: {problem}")
    return path


def _start(name: str, card: dict[str, object]) -> str:
    """Return the model that a card says training began with."""
    origins = card.get("started_from")
    names = [str(origin["name"]) for origin in origins] if isinstance(origins, list) else []
    if len(names) != 1:
        told = f"started from {' and '.join(names)}" if names else "does not say which model it started from"
        raise UserError(f"{name} {told}; name the one to take the difference to: --base MODEL")
    return names[0]


def _problem(whole: checkpoint.Loaded, weights: Path, path: Path) -> str:
    """Say why a difference is of no use; empty if it is."""
    sizes = [file.stat().st_size for file in (weights, path)]
    if sizes[1] > LARGEST * sizes[0]:
        return (
            f"it would have {sizes[1]:,} bytes, the model has {sizes[0]:,}; everything was trained. Train "
            "less, with --model.freezing LoRA, Biases or LastLayer, or keep the model itself"
        )
    again = checkpoint.load(path)
    answers = [golden(Model(one.backbone, one.head, one.card)) for one in (again, whole)]
    apart, where = deviation(*answers)
    if apart > TOLERANCE:
        return f"its answer for {where} would deviate by {apart:.1e}, more than {TOLERANCE:.0e}"
    return ""
