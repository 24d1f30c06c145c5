"""tlzoo, the transfer-learning model zoo for crystals."""

from typing import Any

__version__ = "0.2.0"
__all__ = [
    "Crystals", "Model", "UserError", "__version__", "embed", "features", "finetune", "fit",
    "list_checkpoints", "load", "test", "validate",
]  # fmt: skip

# Resolved on first use: torch takes seconds to import, `tlzoo --help` must not wait for it.
_HOMES = {
    "Crystals": "tlzoo.crystals",
    "Model": "tlzoo.model.trained",
    "UserError": "tlzoo.errors",
    "embed": "tlzoo.model.trained",
    "features": "tlzoo.transfer.features",
    "finetune": "tlzoo.transfer.finetune.compare",
    "fit": "tlzoo.training.fitting",
    "list_checkpoints": "tlzoo.cards.library",
    "load": "tlzoo.transfer.finetune.chosen",
    "test": "tlzoo.training.measuring",
    "validate": "tlzoo.training.measuring",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public name)
    if name not in _HOMES:
        raise AttributeError(f"module 'tlzoo' has no attribute {name!r}")
    import importlib

    home = importlib.import_module(_HOMES[name])
    return home if home.__name__.endswith(f".{name}") else getattr(home, name)
