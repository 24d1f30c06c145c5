"""Learning from a few crystals what layers of a network that learned from many already say of them."""

from pathlib import Path
from typing import Any, Final

__all__ = ["CARD", "FrozenFeatures", "is_saved", "load"]

CARD: Final = "features.json"  # of a regression that `tlzoo features --save` keeps

_HOMES = {"FrozenFeatures": "tlzoo.transfer.features.frozen", "load": "tlzoo.transfer.features.saved"}


def is_saved(folder: str | Path) -> bool:
    """Whether a folder holds what :func:`load` reads."""
    return (Path(folder) / CARD).is_file()


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public name)
    # scikit-learn and torch take seconds to import, `tlzoo features --help` must not wait for them
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
