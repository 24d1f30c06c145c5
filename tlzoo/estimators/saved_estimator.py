"""Whatever predicts, loaded again: models of every kind, and estimators that were saved into a folder."""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tlzoo.cards.library import spelled
from tlzoo.errors import UserError, no_such
from tlzoo.estimators import estimator_file
from tlzoo.transfer.finetune import chosen

if TYPE_CHECKING:
    from tlzoo.estimators.classifier import TransferClassifier
    from tlzoo.estimators.crystal_embedding import CrystalEmbedding
    from tlzoo.estimators.regressor import TransferRegressor
    from tlzoo.model.trained import Model
    from tlzoo.transfer.features.saved import SavedFeatures

    Estimator = TransferRegressor | TransferClassifier | CrystalEmbedding


def load(name: str | PathLike[str]) -> "Model | SavedFeatures | chosen.Chosen | Estimator":
    """Load whatever predicts.

    Args:
        name: A checkpoint (`tlzoo zoo list`), a run directory, the directory of a comparison, a
            ``.safetensors`` file with its card beside it, ``https://….safetensors#sha256=…``,
            ``wandb:entity/project/name:version``, or a folder that `tlzoo features --save` or the ``save`` of
            an estimator wrote; or what :func:`tlzoo.fit` and :func:`tlzoo.finetune` give.

    Raises:
        UserError: There is no such model, it cannot be fetched, or it is damaged.
    """
    folder = Path(spelled(name))
    if not estimator_file.is_estimator(folder):
        return chosen.load(spelled(name))
    # scikit-learn and lightning take seconds to import
    from tlzoo.estimators.classifier import TransferClassifier
    from tlzoo.estimators.crystal_embedding import CrystalEmbedding
    from tlzoo.estimators.regressor import TransferRegressor

    kinds = {kind.__name__: kind for kind in (TransferRegressor, TransferClassifier, CrystalEmbedding)}
    facts = estimator_file.read(folder)
    if facts["class"] not in kinds:
        raise UserError(f"{folder}: {no_such('estimator', facts['class'], kinds)}")
    found: Estimator = kinds[facts["class"]].restored(folder, facts)
    return found
