"""A head for small data on features that nobody trains: of the models to start from, and of descriptors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite
from pathlib import Path
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlzoo.data.known_elements import symbols
from tlzoo.data.module import CrystalDataModule
from tlzoo.descriptors.stores import open_store
from tlzoo.errors import UserError
from tlzoo.machine.files import write_table
from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.base import Bases
from tlzoo.transfer.features.estimators import Fitted
from tlzoo.transfer.features.folds import groups_of
from tlzoo.transfer.features.layers import COMPOSITION, DESCRIPTORS, Network, is_computed, parts_of, source
from tlzoo.transfer.features.learning import collect, near
from tlzoo.transfer.features.nested import Candidate, Learner, candidates, few
from tlzoo.transfer.features.saved import Part, SavedFeatures, standardised
from tlzoo.transfer.finetune.verdict import Head

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

# Crystals that layers are compared on: the time grows with the cube of their number.
COMPARED: Final = 500
# Crystals beyond which there is no head: minutes per fit, and networks learn from so many what they need.
UP_TO: Final = 2000
# Compositions of which some can be left out and something is left to choose by.
LEAST: Final = 5


@dataclass(frozen=True, eq=False)
class FrozenHead:
    """A mixture of regressions, each on one layer.

    Attributes:
        models: Model, or ``descriptors``, and layer of each.
        weights: What each counts; not negative, and 1 together.
        tried: Mean absolute error of crystals left out with each layer, by model and layer.
        features: Of all crystals of the split, ``(crystals, dim)``, for each.
        fitted: The regressions, fitted to training and validation part.
        bases: What they start from, by name, ``(crystals,)`` each.
        left_out: Errors of both parts with sign, each crystal predicted without its composition.
        val: Predictions of the validation part by regressions that were fitted to the training part alone;
            which layers these read was chosen on both parts.
        least: The smallest value that is possible, -inf for no limit: predictions below are replaced by it.
    """

    data: CrystalDataModule
    models: Sequence[Candidate]
    weights: Sequence[float]
    tried: Mapping[str, float]
    features: Sequence[Values]
    fitted: Sequence[Fitted]
    bases: Sequence[Bases]
    left_out: Values
    val: Values
    least: float = -inf

    @classmethod
    def of(
        cls,
        data: CrystalDataModule,
        starts: Sequence[str],
        seed: int,
        beside: Sequence[str] = (),
        least: float = -inf,
    ) -> Self:
        """Choose layers and weights by crystals left out, polymorphs together, and fit.

        Of each model the layer with the least error takes part, each kind of descriptors, and the embeddings
        of all models side by side with descriptors and what else is named ``beside``. The test part is not
        looked at.

        Raises:
            UserError: There are too many crystals, or too few compositions; a model cannot be read, or a
                crystal has no graph or descriptors.
        """
        train, val = data.split.train, data.split.val
        if len(train) + len(val) > UP_TO:
            raise UserError(f"there are {len(train) + len(val):,} crystals, it is for {UP_TO:,} at most")
        # as training asks for graphs, so that these are made once
        crystals, known = data.crystals.select(data.used_rows), np.concatenate([train, val])
        groups = groups_of(crystals, "composition")
        if len(np.unique(groups[_places(data, train)])) < LEAST:
            raise UserError(f"it needs {LEAST} different compositions in the training part")
        described = DESCRIPTORS if crystals.structured.all() else COMPOSITION
        sources = {name: source(name) for name in (*starts, described)}
        joined = "+".join((*starts, described, *beside))
        needs = {each for of in sources.values() if isinstance(of, Network) for each in of.needs()}
        made = {each: open_store(crystals, each, cache_dir=data.cache_dir) for each in needs}
        wanted = {name: (of, of.layers) for name, of in sources.items()}
        sources[joined] = source(joined)
        wanted[joined] = sources[joined], [sources[joined].default]
        features = collect(wanted, crystals, made)
        sizes = {(name, at): sources[name].sizes(at) for name, at in features}
        bases = {(name, at): near(sources[name], at, x, data.units[0]) for (name, at), x in features.items()}
        target = np.full(len(crystals), np.nan)
        target[_places(data, known)] = _labels(data, known)

        def learner(rows: Rows) -> Learner:
            kind = estimators.find(estimators.SMALL_DATA)
            return Learner(features, target, groups, kind, seed, rows, bases, sizes)

        both = _places(data, known)
        some = learner(few(both, groups, COMPARED, np.random.default_rng(seed)))
        choices = _choices(candidates(features, some.estimator))
        models = [some.best(each) for each in choices]
        whole, part = learner(both), learner(_places(data, train))
        weights = whole.weights(models)
        kept = [(model, float(weight)) for model, weight in zip(models, weights, strict=True) if weight]
        counting = [model for model, _ in kept]
        return cls(
            data,
            counting,
            [weight for _, weight in kept],
            {f"{one.source}, {one.layer}": some.error(one) for each in choices for one in each},
            [features[model.source, model.layer] for model, _ in kept],
            [whole.fitted(model) for model, _ in kept],
            [bases[model.source, model.layer] for model, _ in kept],
            np.maximum(np.sum([weight * whole.left_out(model) for model, weight in kept], axis=0), least)
            - target[both],
            np.maximum(part.mixture(counting, part.weights(counting), _places(data, val))[0], least),
            least,
        )

    @property
    def name(self) -> str:
        """What it reads, for people, what counts most first."""
        order = np.argsort(self.weights, kind="stable")[::-1]
        return ", ".join(f"{self.models[i].source} ({self.models[i].layer})" for i in order)

    @property
    def networks(self) -> list[str]:
        """The models among what it reads; none if these are descriptors alone."""
        named = [name for one in self.models for name in parts_of(one.source)]
        return [name for name in dict.fromkeys(named) if not is_computed(name)]

    @property
    def error(self) -> float:
        """Mean absolute error of the crystals of training and validation part, left out in turn."""
        return float(np.abs(self.left_out).mean())

    @property
    def told(self) -> Head:
        """The same for a verdict."""
        names = [f"{one.source}, {one.layer}" for one in self.models]
        return Head(
            name=self.name,
            networks=self.networks,
            weights=dict(zip(names, self.weights, strict=True)),
            left_out=self.error,
            tried=self.tried,
        )

    def predict(self, rows: Rows) -> Values:
        """Predict crystals of the split, ``(rows,)``, from training and validation part."""
        places = _places(self.data, rows)
        total = np.zeros(len(rows))
        for weight, model, x, bases in zip(self.weights, self.fitted, self.features, self.bases, strict=True):
            total += weight * model.predict(x[places], {name: here[places] for name, here in bases.items()})
        return np.maximum(total, self.least)

    @cached_property
    def saved(self) -> SavedFeatures:
        """The same as a model that can be kept."""
        data, split = self.data, self.data.split
        known = np.concatenate([split.train, split.val])
        crystals = data.crystals.select(known)
        parts = [
            Part(one.source, one.layer, source(one.source), fitted, weight)
            for one, fitted, weight in zip(self.models, self.fitted, self.weights, strict=True)
        ]
        table = {"source": data.source, "target": data.targets[0], "crystals": list(crystals.ids)}
        card = {
            "source": data.source,
            "target": data.targets[0],
            "unit": data.units[0],
            "log": False,
            "minimum": self.least if isfinite(self.least) else None,
            "data_sha256": crystals.content_hash,
            "tables": [table],
            "estimator": estimators.SMALL_DATA,
            "base": None,
            "elements": symbols(crystals),
        }
        places = _places(data, known)
        return SavedFeatures(parts, card, standardised(parts, [x[places] for x in self.features]))

    def save(self, folder: Path) -> None:
        """Keep it in a folder, with its predictions of validation and test part in ``predictions.csv``.

        Those of the validation part are made without it.
        """
        split, ids = self.data.split, self.data.crystals.ids
        self.saved.save(folder)
        parts = {"val": (split.val, self.val), "test": (split.test, self.predict(split.test))}
        tables = [
            pd.DataFrame(
                {"id": ids[rows], "part": part, "target": _labels(self.data, rows), "prediction": said}
            )
            for part, (rows, said) in parts.items()
        ]
        write_table(pd.concat(tables), folder / "predictions.csv")


def _places(data: CrystalDataModule, rows: Rows) -> Rows:
    """Return where rows of the table are among those of the split, in ascending order."""
    found: Rows = np.searchsorted(data.used_rows, rows)
    return found


def _labels(data: CrystalDataModule, rows: Rows) -> Values:
    found: Values = data.target_values(rows).numpy()[:, 0].astype(np.float64)
    return found


def _choices(by_source: Mapping[str, Sequence[Candidate]]) -> list[Sequence[Candidate]]:
    """Return among what one is chosen each: layers of a model, a kind of descriptors."""
    found: list[Sequence[Candidate]] = []
    for name, each in by_source.items():
        found += [[one] for one in each] if name in {DESCRIPTORS, COMPOSITION} else [each]
    return found
