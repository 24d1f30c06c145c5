"""What a pretrained network says of structures, as a transformer of scikit-learn."""

import shutil
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tlzoo.cards.beside import files
from tlzoo.cards.library import locate, spelled
from tlzoo.estimators import estimator_file
from tlzoo.estimators.crystal_input import crystals_of, of_structures
from tlzoo.estimators.experiment_tree import START
from tlzoo.machine.files import whole
from tlzoo.transfer.features.frozen import values_of
from tlzoo.transfer.features.layers import Source, is_computed, parts_of, source, sources


class CrystalEmbedding(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Transformer from crystal structures to features of a pretrained network; nothing is trained.

    X is a list, an array or a column of a data frame with one structure per row, as for
    :class:`~tlzoo.estimators.regressor.TransferRegressor`. Use it in pipelines:

    ``make_pipeline(CrystalEmbedding(), StandardScaler(), RidgeCV())``

    Args:
        from_: A checkpoint (`tlzoo zoo list`), run directory or ``.safetensors`` file; or ``descriptors`` (of
            composition and structure). ``A+B`` puts the features of A and B side by side.
        layer: Layer to read; by default what is usually best for a regression on few crystals, as
            ``tlzoo features`` reads it. Of networks this is ``states``, the mean, standard deviation and
            maximum over the atoms of every layer, and ``teacher`` beside it where a potential has taught
            them. ``embedding`` is the input of the network's head.
    """

    def __init__(self, from_: str | PathLike[str] = START, layer: str | None = None) -> None:
        self.from_ = from_
        self.layer = layer

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 (scikit-learn has no types)
        """Say that X holds structures, not numbers in two dimensions, and that fitting learns nothing."""
        tags = of_structures(super().__sklearn_tags__())
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ANN401, ARG002, N803 (scikit-learn's signature)
        """Load the network; X is not looked at.

        Raises:
            UserError: There is no such model or layer.
        """
        return self._loaded()

    def _loaded(self) -> Self:
        return self._reading(source(spelled(self.from_)))

    def _reading(self, found: Source) -> Self:
        layer = found.default if self.layer is None else self.layer
        found.check(layer)
        self.source_, self.layer_ = found, layer
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401, N803 (see crystals_of)
        """Return the numbers, ``(crystals, dim)``.

        Raises:
            UserError: A structure cannot be read, or nothing can be said of it; the message names it.
        """
        if not hasattr(self, "source_"):
            self._loaded()
        return values_of(self.source_, crystals_of(X), [self.layer_])[self.layer_]

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Name the numbers, as scikit-learn asks for them."""
        check_is_fitted(self)
        return np.array(self.source_.columns(self.layer_), dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "source_")

    def save(self, folder: str | Path) -> Path:
        """Write it with its network as data, without pickles, into a folder that :func:`tlzoo.load` takes.

        Raises:
            UserError: It cannot be written.
        """
        check_is_fitted(self)
        place = Path(folder)
        estimator_file.begin(place)
        networks = {}
        for name in parts_of(fspath(self.from_)):
            if not is_computed(name):
                weights = locate(name)
                for file in files(weights):
                    with whole(place / file.name) as partial:
                        shutil.copyfile(file, partial)
                networks[name] = weights.name
        return estimator_file.write(place, self, networks=networks)

    @classmethod
    def restored(cls, folder: Path, facts: Mapping[str, Any]) -> Self:
        """Return the estimator that :meth:`save` wrote into a folder.

        Raises:
            UserError: A file is missing or damaged.
        """
        estimator: Self = estimator_file.built(cls, folder, facts)
        networks = facts.get("networks", {})
        places = {
            name: str(folder / networks[name]) if name in networks else name
            for name in parts_of(fspath(estimator.from_))
        }
        return estimator._reading(sources(places))
