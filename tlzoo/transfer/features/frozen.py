"""Frozen features as a transformer of scikit-learn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from tlzoo.crystals import Crystals
from tlzoo.errors import UserError
from tlzoo.model.trained import Model
from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.folds import groups_of
from tlzoo.transfer.features.layers import DESCRIPTORS, Network, Source, source
from tlzoo.transfer.features.nested import Learner, candidates

if TYPE_CHECKING:
    from pymatgen.core import Structure

Values = NDArray[np.float64]

AUTO: Final = "auto"


class FrozenFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Transformer from crystals to features of a trained network, or to descriptors; nothing is trained.

    Crystals are a table (:class:`~tlzoo.crystals.Crystals`) or a list of pymatgen structures; scikit-learn
    can divide only the list into folds:

    ``cross_val_score(make_pipeline(FrozenFeatures("cgcnn-fe"), StandardScaler(), Ridge()), structures, y)``

    Args:
        model: ``descriptors``, a model, or the name of one, as :func:`tlzoo.load` takes it.
        layer: Layer to read. ``auto`` takes the one with the smallest error of a ridge regression, in a
            cross-validation on the crystals that the transformer is fitted to (with polymorphs in the same
            fold).

    Attributes:
        layer_: The layer, after fitting.
    """

    def __init__(self, model: Any = DESCRIPTORS, layer: str = AUTO) -> None:  # noqa: ANN401 (a name or a model)
        self.model = model
        self.layer = layer

    def fit(self, X: "Crystals | Sequence[Structure]", y: Sequence[float] | None = None) -> Self:  # noqa: N803
        """Choose the layer; y, ``(crystals,)``, is used for ``auto`` only.

        Raises:
            UserError: There is no such model or layer, a crystal cannot be read, or ``auto`` was not given y.
        """
        self.source_ = Network(self.model) if isinstance(self.model, Model) else source(str(self.model))
        if self.layer != AUTO:
            self.source_.check(self.layer)
            self.layer_ = self.layer
            return self
        if y is None:
            raise UserError("layer 'auto' is chosen by what is to be learned: give y, or name a layer")
        crystals = table(X)
        found = {("", name): values for name, values in values_of(self.source_, crystals).items()}
        ridge = estimators.find("ridge")
        learner = Learner(
            found,
            np.asarray(y, dtype=np.float64),
            groups_of(crystals, "composition"),
            ridge,
            seed=0,
            train=np.arange(len(crystals)),
        )
        self.layer_ = learner.best(candidates(found, ridge)[""]).layer
        return self

    def transform(self, X: "Crystals | Sequence[Structure]") -> Values:  # noqa: N803 (scikit-learn's name)
        """Return the features, ``(crystals, dim)``."""
        return values_of(self.source_, table(X), [self.layer_])[self.layer_]

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Name the features, as scikit-learn asks for them."""
        return np.array(self.source_.columns(self.layer_), dtype=object)


def values_of(source: Source, crystals: Crystals, layers: Sequence[str] | None = None) -> dict[str, Values]:
    """Return layers of a source, all by default, in double precision, ``(crystals, dim)`` each."""
    found = source.activations(crystals, layers or source.layers)
    return {name: values.astype(np.float64) for name, values in found.items()}


def table(crystals: "Crystals | Sequence[Structure]") -> Crystals:
    """Return crystals as a table."""
    return crystals if isinstance(crystals, Crystals) else Crystals.from_structures(crystals)
