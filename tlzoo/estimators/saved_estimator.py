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
    from tlzoo.transfer.finetune.folded import Folded

    Estimator = TransferRegressor | TransferClassifier | CrystalEmbedding


def load(name: str | PathLike[str]) -> "Model | SavedFeatures | chosen.Chosen | Folded | Estimator":
    """Load a trained model or estimator.

    Args:
        name: A checkpoint (`tlzoo zoo list`), a run directory, the directory of a `tlzoo finetune`, a
            ``.safetensors`` file with its card beside it, ``hf:user/model@revision``,
            ``https://….safetensors#sha256=…``, ``wandb:entity/project/name:version``, a folder written by
            `tlzoo features --save` or by the ``save`` of an estimator, or the result of :func:`tlzoo.fit` or
            :func:`tlzoo.finetune`.

    Raises:
        UserError: There is no such model, or it cannot be fetched, or it is damaged.
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
