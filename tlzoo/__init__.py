"""tlzoo, the transfer-learning model zoo for crystals."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlzoo.cards.library import list_checkpoints as list_checkpoints
    from tlzoo.crystals import Crystals as Crystals
    from tlzoo.data.intake import crystals_from as read
    from tlzoo.errors import UserError as UserError
    from tlzoo.estimators.classifier import TransferClassifier as TransferClassifier
    from tlzoo.estimators.compared import finetune as finetune
    from tlzoo.estimators.crystal_embedding import CrystalEmbedding as CrystalEmbedding
    from tlzoo.estimators.fitted import fit as fit
    from tlzoo.estimators.regressor import TransferRegressor as TransferRegressor
    from tlzoo.estimators.saved_estimator import load as load
    from tlzoo.model.trained import Model as Model
    from tlzoo.model.trained import embed as embed
    from tlzoo.training.measuring import test as test
    from tlzoo.training.measuring import validate as validate
    from tlzoo.transfer import features as features

__version__ = "0.2.0"
__all__ = [
    "CrystalEmbedding", "Crystals", "Model", "TransferClassifier", "TransferRegressor", "UserError",
    "__version__", "embed", "features", "finetune", "fit", "list_checkpoints", "load", "read", "test",
    "validate",
]  # fmt: skip

# Resolved on first use: torch takes seconds to import, `tlzoo --help` must not wait for it. What a type
# checker and an editor read is above.
_HOMES = {
    "CrystalEmbedding": "tlzoo.estimators.crystal_embedding",
    "Crystals": "tlzoo.crystals",
    "Model": "tlzoo.model.trained",
    "TransferClassifier": "tlzoo.estimators.classifier",
    "TransferRegressor": "tlzoo.estimators.regressor",
    "UserError": "tlzoo.errors",
    "embed": "tlzoo.model.trained",
    "features": "tlzoo.transfer.features",
    "finetune": "tlzoo.estimators.compared",
    "fit": "tlzoo.estimators.fitted",
    "list_checkpoints": "tlzoo.cards.library",
    "load": "tlzoo.estimators.saved_estimator",
    "read": "tlzoo.data.intake",
    "test": "tlzoo.training.measuring",
    "validate": "tlzoo.training.measuring",
}
_CALLED = {"read": "crystals_from"}  # where it has another name there


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any public name)
    if name not in _HOMES:
        raise AttributeError(f"module 'tlzoo' has no attribute {name!r}")
    import importlib

    home = importlib.import_module(_HOMES[name])
    return home if home.__name__.endswith(f".{name}") else getattr(home, _CALLED.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)
