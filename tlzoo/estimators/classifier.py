"""A classification of scikit-learn that fine-tunes a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from tlzoo.errors import UserError
from tlzoo.estimators.crystal_input import crystals_of
from tlzoo.estimators.network_estimator import NetworkEstimator, check_given, named
from tlzoo.model.predictor import listed


class TransferClassifier(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Classifier that fine-tunes a pretrained network on crystal structures.

    Arguments and attributes are those of :class:`~tlzoo.estimators.regressor.TransferRegressor`.

    Attributes:
        classes_: The class labels, sorted.
    """

    def fit(self, X: Any, y: Any) -> Self:  # noqa: ANN401, N803 (see crystals_of)
        """Fine-tune to the labels y, ``(crystals,)``: texts or numbers.

        Raises:
            UserError: A structure cannot be read, there is one class alone, or an argument is none to train
                with.
            ValueError: y is no label for each crystal.
        """
        crystals = crystals_of(X)
        check_given(y)
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(f"wanted two classes or more, got one class: {self.classes_.tolist()}")
        head = {"class_path": "Classification", "init_args": {"classes": len(self.classes_)}}
        self._train(crystals, numbers.astype(np.float64), named(y), head)
        return self

    def _labels(self) -> str:
        told = [f"{number} for {label!r}" for number, label in enumerate(self.classes_.tolist())]
        return f", of class {listed(told)}"

    def _facts(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist()}

    @classmethod
    def restored(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Return the estimator that :meth:`save` wrote into a folder.

        Raises:
            UserError: A file is missing or damaged.
        """
        estimator = super().restored(folder, facts)
        estimator.classes_ = np.array(facts.get("classes", []))
        if len(estimator.classes_) != estimator.model_.head.classes:
            raise UserError(f"{folder} is damaged (classes): save the estimator again")
        return estimator

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401, N803 (see crystals_of)
        """Return the probability of each class, ``(crystals, classes)``, in the order of ``classes_``."""
        check_is_fitted(self)
        table = self._said(X).to_numpy(dtype=np.float64)
        if len(self.classes_) == 2:
            return np.stack([1 - table[:, 0], table[:, 0]], axis=1)
        probabilities: NDArray[np.float64] = table[:, 1:] / table[:, 1:].sum(axis=1, keepdims=True)
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: ANN401, N803 (see crystals_of)
        """Return the most probable class, ``(crystals,)``."""
        check_is_fitted(self)
        best: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return best
