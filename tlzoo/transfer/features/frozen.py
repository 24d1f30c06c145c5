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
    """From crystals to what a layer of a trained network, or descriptors, say of them; nothing is trained.

    Crystals are a table (:class:`~tlzoo.crystals.Crystals`) or a list of pymatgen structures; the latter is
    what scikit-learn can divide into folds:

    ``cross_val_score(make_pipeline(FrozenFeatures("cgcnn-fe"), StandardScaler(), Ridge()), structures, y)``

    Args:
        model: ``descriptors``, the name of a model as :func:`tlzoo.load` takes it, or a model.
        layer: One of its layers, or ``auto``: the layer with the least error of a ridge regression,
            cross-validated on what the transformer is fitted to, polymorphs together.

    Attributes:
        layer_: The layer, once fitted.
    """

    def __init__(self, model: Any = DESCRIPTORS, layer: str = AUTO) -> None:  # noqa: ANN401 (a name or a model)
        self.model = model
        self.layer = layer

    def fit(self, X: "Crystals | Sequence[Structure]", y: Sequence[float] | None = None) -> Self:  # noqa: N803
        """Choose the layer; only ``auto`` looks at what is to be learned, ``(crystals,)``.

        Raises:
            UserError: There is no such model or layer, a crystal cannot be read, or ``auto`` has nothing to
                choose by.
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
