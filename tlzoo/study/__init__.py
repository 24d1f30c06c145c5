"""Studies: a grid of configurations, each trained and tested once, resumable, tuned on validation.

``tlzoo.study.load(FILE)`` reads a study, :func:`results` gives a table of its runs,
:func:`baselines` one of the trivial baselines on the same splits.
"""

from typing import Any

__all__ = ["Study", "baselines", "load", "results"]

# Resolved on first use, as in the root: `tlzoo study --help` must not wait for torch.
_HOMES = {
    "Study": "tlzoo.study.grid",
    "load": "tlzoo.study.document",
    "results": "tlzoo.study.gathering",
    "baselines": "tlzoo.study.gathering",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public name)
    if name not in _HOMES:
        raise AttributeError(f"module 'tlzoo.study' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
