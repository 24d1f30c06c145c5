"""Where to compute: the processor, or an accelerator that torch can use."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tlzoo.errors import UserError

Device = Literal["auto", "cpu", "cuda", "mps"]


def device(name: str) -> str:
    """Return the device of a name: ``auto`` is a CUDA GPU where there is one, else the processor.

    Apple's GPUs (``mps``) are taken only by name: results on them are not tested.

    Raises:
        UserError: This machine has none.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[name]:
        kind = "NVIDIA or AMD" if name == "cuda" else "Apple"
        raise UserError(f"--device {name}: there is no {kind} GPU here that torch can use; take --device cpu")
    return name


def shared(trainers: Iterable[Mapping[str, Any]]) -> bool:
    """Whether trainings, by the sections ``trainer`` of their configurations, would share an accelerator."""
    import torch

    return torch.accelerator.is_available() and any(each.get("accelerator") != "cpu" for each in trainers)
