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
    """Regressor that fine-tunes a pretrained network on crystal structures.

    X is a list, an array or a column of a data frame with one structure per row: pymatgen structures, ASE
    atoms or names of files; y has one number for each. Some of the crystals are not trained on, but used to
    stop the training early and to keep the best epoch. The same data, arguments and ``random_state`` give the
    same predictions.

    Args:
        from_: Checkpoint (`tlzoo zoo list`), run directory or ``.safetensors`` file to start from.
        backbone: Network to train from scratch instead: ``CGCNN``, or a mapping with a class and its
            arguments.
        strategy: Which layers are trained, and how: ``all``, ``two-body``, ``new-head`` …
            (docs/explanation/strategies.md).
        pooling: How vectors of atoms are combined to one of the crystal: ``mean``, ``max`` …; None keeps the
            pooling of the network.
        epochs: Largest number of passes over the crystals. None is the default of `tlzoo finetune`: 100, or
            60 for more than 500 crystals.
        learning_rate: Learning rate of the optimiser (AdamW). It rises over the first tenth of the steps,
            then falls to zero.
        batch_size: Crystals per batch; None is a default that depends on the number of crystals.
        validation: Fraction or number of crystals that are used to stop the training.
        patience: Epochs without improvement on these crystals before the training stops. None trains all
            epochs and keeps the last.
        random_state: Seed of the weights, the batches and the choice of validation crystals; None draws
            another one each time.
        config: Further settings, a mapping as in the YAML files of `tlzoo fit`, which override the arguments.
        verbose: Show progress.

    Attributes:
        model_: The fine-tuned :class:`~tlzoo.model.trained.Model`, with ``embed``, ``trust`` and
            ``per_atom``.
        history_: Metrics during training, a row per epoch.
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
