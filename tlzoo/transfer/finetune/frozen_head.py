"""A head for small data on features that nobody trains: of the models to start from, and of descriptors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from tlzoo.data.known_elements import symbols
from tlzoo.data.module import CrystalDataModule
from tlzoo.descriptors.stores import open_store
from tlzoo.errors import UserError
from tlzoo.machine.files import write_table
from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.folds import groups_of
from tlzoo.transfer.features.layers import DESCRIPTORS, Network, source
from tlzoo.transfer.features.learning import collect
from tlzoo.transfer.features.nested import few
from tlzoo.transfer.features.saved import Part, SavedFeatures, standardised
from tlzoo.transfer.finetune.verdict import Head

Values = NDArray[np.float64]
Rows = NDArray[np.int64]
Place = tuple[str, str]

# Layers are compared by what is quick; the head is then fitted to those that were chosen.
QUICK: Final = "kernel-ridge"
# Crystals that layers are compared on: the time grows with the cube of their number.
COMPARED: Final = 1000
# Layers whose mean answers at most, and by how much each must lower the error of crystals left out. On five
# properties, 100 crystals in three trials each and 800 in one, the second lowered the test error in 13 of 14
# such cases, the third in 2 of 3.
MOST: Final = 3
WORTH: Final = 0.01
# Crystals beyond which there is no head: minutes per fit, and networks learn from so many what they need.
UP_TO: Final = 3000
# Compositions of which one can be left out and something is left to choose by.
LEAST: Final = 5


@dataclass(frozen=True, eq=False)
class FrozenHead:
    """A regression on one layer, or the mean of those on several.

    Attributes:
        places: Model, or ``descriptors``, and layer of each.
        tried: Mean absolute error of crystals left out, of training and validation part, by model and layer.
        features: Of all crystals of the split, ``(crystals, dim)``, for each of the places.
        fitted: The same regressions, fitted to training and validation part.
        left_out: Errors of both parts with sign, each crystal predicted without its composition.
        val: Predictions of the validation part by regressions that were fitted to the training part alone.
    """

    data: CrystalDataModule
    places: Sequence[Place]
    tried: Mapping[Place, float]
    features: Sequence[Values]
    fitted: Sequence[Pipeline]
    left_out: Values
    val: Values

    @classmethod
    def of(cls, data: CrystalDataModule, starts: Sequence[str], seed: int) -> Self:
        """Choose layers by the error of crystals left out, and fit; the test part is not looked at.

        Polymorphs are left out together.

        Raises:
            UserError: There are too many crystals, or too few compositions; a model cannot be read, or a
                crystal has no graph or descriptors.
        """
        train, val = data.split.train, data.split.val
        if len(train) + len(val) > UP_TO:
            raise UserError(f"there are {len(train) + len(val):,} crystals, it is for {UP_TO:,} at most")
        known, rows = np.concatenate([train, val]), data.used_rows
        sources = {name: source(name) for name in (*starts, DESCRIPTORS)}
        needs = {each for of in sources.values() if isinstance(of, Network) for each in of.needs()}
        # as training asks for them, in the same order: they are made once
        crystals = data.crystals.select(rows)
        made = {each: open_store(crystals, each, cache_dir=data.cache_dir) for each in needs}
        features = collect({name: (of, of.layers) for name, of in sources.items()}, crystals, made)
        target = _labels(data, known)
        groups = groups_of(data.crystals.select(known), "composition")
        if len(np.unique(groups[: len(train)])) < LEAST:
            raise UserError(f"it needs {LEAST} different compositions in the training part")
        places = np.searchsorted(rows, known)
        tried = _tried({place: x[places] for place, x in features.items()}, target, groups, seed)
        chosen = _greedy(tried)
        kind = estimators.find(estimators.SMALL_DATA)
        whole, part = [], []
        for place in chosen:
            x = features[place][places]
            whole.append(kind.fit(x, target, {}, seed, groups))
            alone = kind.fit(x[: len(train)], target[: len(train)], {}, seed, groups[: len(train)])
            part.append(alone.predict(x[len(train) :]))
        return cls(
            data,
            chosen,
            {place: float(np.abs(errors).mean()) for place, errors in tried.items()},
            [features[place] for place in chosen],
            whole,
            np.mean([model[-1].left_out_ for model in whole], axis=0) - target,
            np.mean(part, axis=0),
        )

    @property
    def name(self) -> str:
        """What it reads, for people."""
        return " and ".join(f"{model} ({layer})" for model, layer in self.places)

    @property
    def networks(self) -> list[str]:
        """The models among what it reads; none if these are descriptors alone."""
        return list(dict.fromkeys(model for model, _ in self.places if model != DESCRIPTORS))

    @property
    def error(self) -> float:
        """Mean absolute error of the crystals of training and validation part, left out in turn."""
        return float(np.abs(self.left_out).mean())

    @property
    def told(self) -> Head:
        """The same for a verdict."""
        tried = {f"{model}, {layer}": error for (model, layer), error in self.tried.items()}
        return Head(name=self.name, networks=self.networks, left_out=self.error, tried=tried)

    def predict(self, rows: Rows) -> Values:
        """Predict crystals of the split, ``(rows,)``, from training and validation part."""
        places = np.searchsorted(self.data.used_rows, rows)
        pairs = zip(self.fitted, self.features, strict=True)
        found: Values = np.mean([model.predict(x[places]) for model, x in pairs], axis=0)
        return found

    @cached_property
    def saved(self) -> SavedFeatures:
        """The same as a model that can be kept."""
        data, split = self.data, self.data.split
        known = np.concatenate([split.train, split.val])
        crystals = data.crystals.select(known)
        parts = [
            Part(model, layer, source(model), fitted)
            for (model, layer), fitted in zip(self.places, self.fitted, strict=True)
        ]
        table = {"source": data.source, "target": data.targets[0], "crystals": list(crystals.ids)}
        card = {
            "source": data.source,
            "target": data.targets[0],
            "unit": data.units[0],
            "log": False,
            "data_sha256": crystals.content_hash,
            "tables": [table],
            "estimator": estimators.SMALL_DATA,
            "elements": symbols(crystals),
        }
        places = np.searchsorted(data.used_rows, known)
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


def _labels(data: CrystalDataModule, rows: Rows) -> Values:
    found: Values = data.target_values(rows).numpy()[:, 0].astype(np.float64)
    return found


def _tried(features: Mapping[Place, Values], target: Values, groups: Rows, seed: int) -> dict[Place, Values]:
    """Return the errors of crystals left out with each layer, ``(crystals,)``; of many a thousand."""
    kind = estimators.find(QUICK)
    some = few(np.arange(len(target)), groups, COMPARED, np.random.default_rng(seed))
    found = {}
    for place, x in features.items():
        model = kind.fit(x[some], target[some], {}, seed, groups[some])
        found[place] = model[-1].left_out_ - target[some]
    return found


def _greedy(errors: Mapping[Place, Values]) -> list[Place]:
    """Return the layer with the least error, then what lowers the error of the mean most, if it is worth it.

    References:
        Caruana et al., ICML 2004: forward selection of an ensemble.
    """

    def error(places: Sequence[Place]) -> float:
        return float(np.abs(np.mean([errors[place] for place in places], axis=0)).mean())

    chosen: list[Place] = []
    while len(chosen) < MOST and (others := [place for place in errors if place not in chosen]):
        best = min(others, key=lambda place: error([*chosen, place]))
        if chosen and error([*chosen, best]) > (1 - WORTH) * error(chosen):
            break
        chosen.append(best)
    return chosen
