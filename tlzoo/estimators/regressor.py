"""A regression of scikit-learn that fine-tunes a network."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted, column_or_1d

from tlzoo.estimators.crystal_input import crystals_of
from tlzoo.estimators.network_estimator import NetworkEstimator, check_given, named


class TransferRegressor(RegressorMixin, NetworkEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Fine-tunes a pretrained network to a property of crystals.

    X is a list, an array or a column of a data frame with one structure a row: pymatgen structures, ASE atoms
    or names of files; y a number each. Part of the crystals is kept from training to stop it early, and to
    keep the best epoch. What has learned the same from the same, with the same ``random_state``, says the
    same.

    Args:
        from_: Checkpoint (`tlzoo zoo list`), run directory or ``.safetensors`` file to start from.
        backbone: A network to train from scratch instead: ``CGCNN``, or a mapping with its arguments.
        strategy: What is trained: ``all``, ``two-body``, ``new-head`` … (docs/finetune.md).
        pooling: From atoms to the crystal: ``mean``, ``max`` …; None keeps what the network has.
        epochs: Passes over the crystals, at most; None is what a comparison takes for so many: 100, above 500
            crystals 60.
        learning_rate: Of the optimiser, AdamW, whose rate rises over a tenth of the steps and falls to zero.
        batch_size: Crystals in a batch; None is what is usual for so many.
        validation: Part of the crystals, or how many, that stop the training.
        patience: Epochs without progress on these before it stops; None trains to the end and keeps the last.
        random_state: Of weights, batches and the validation part; None draws another one each time.
        config: A mapping as YAML files of `tlzoo fit` hold it, on top of all this.
        verbose: Show progress.

    Attributes:
        model_: The fine-tuned :class:`~tlzoo.model.trained.Model`: with embeddings, and what can be trusted.
        history_: What was measured while it trained, an epoch a row.
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: ANN401, N803 (see crystals_of)
        """Fine-tune to y, ``(crystals,)``.

        Raises:
            UserError: A structure cannot be read, or an argument is none to train with.
            ValueError: y is not a finite number for each crystal.
        """
        crystals = crystals_of(X)
        check_given(y)
        values = np.asarray(column_or_1d(y, warn=True), dtype=np.float64)
        assert_all_finite(values, input_name="y")
        self._train(crystals, values, named(y), "Regression")
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401, N803 (see crystals_of)
        """Predict, ``(crystals,)``, in the unit of y."""
        check_is_fitted(self)
        values: NDArray[np.float64] = self._said(X).iloc[:, 0].to_numpy(dtype=np.float64)
        return values
