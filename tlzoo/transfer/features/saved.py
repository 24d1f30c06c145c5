"""Regressions on frozen features that were fitted to all known crystals, kept in a folder and loaded again.

``features.json`` says what was learned from what, ``features.safetensors`` holds the numbers of scalers and
regressions, ``networks/`` the networks that the features come from: the folder needs nothing else.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pandas as pd
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError
from sklearn.linear_model import Ridge

from tlzoo.cards.library import locate
from tlzoo.crystals import Crystals, with_unit
from tlzoo.data.intake import Data, as_table
from tlzoo.descriptors.stores import Options
from tlzoo.errors import UserError
from tlzoo.machine.files import whole, write_text
from tlzoo.model import checkpoint, trust
from tlzoo.model.answering import Columns, Stores, answered, answered_beside, joined
from tlzoo.model.description import plain
from tlzoo.model.domain import Domain
from tlzoo.model.predictor import About, Predictor, listed
from tlzoo.transfer.features import CARD, is_saved
from tlzoo.transfer.features.base import Bases, Beside, Way
from tlzoo.transfer.features.bayes import BayesianRidge
from tlzoo.transfer.features.estimators import SMALL_DATA, Fitted, Scale, mixture
from tlzoo.transfer.features.kernels import (
    Doubt,
    GaussianProcess,
    KernelMean,
    KernelRegressor,
    KernelRidge,
    SupportVectors,
)
from tlzoo.transfer.features.layers import Network, Source, is_computed, parts_of, sources, version_of
from tlzoo.transfer.features.tables import base_of

Values = NDArray[np.float64]

FORMAT: Final = 3  # 1: one table, intervals as stated; 2: ridges only, the mean of the parts
READ: Final = (2, 3)
ARRAYS, NETWORKS = "features.safetensors", "networks"
# What each kind of regression has learned. Trees would have to be pickled.
SCALE: Final = ("mean_", "scale_")
EXPANSION: Final = ("dual_", "length_", "intercept_", "weight_")  # and the features of the known crystals
DOUBT: Final = ("known", "errors", "length", "weight")
LEARNED: Final[Mapping[str, tuple[type, Sequence[str]]]] = {
    "bayesian-ridge": (
        BayesianRidge,
        ("centre_", "intercept_", "axes_", "coef_", "variances_", "alpha_", "lambda_"),
    ),
    "ridge": (Ridge, ("coef_", "intercept_", "best_score_")),
    "kernel-ridge": (KernelRidge, EXPANSION),
    "svr": (SupportVectors, EXPANSION),
    SMALL_DATA: (KernelMean, EXPANSION),
    "gp": (GaussianProcess, EXPANSION),
}
LATER: Final = ("best_score_",)  # not in format 2


@dataclass(frozen=True)
class Part:
    """A source of features, the regression on one of its layers, and what it counts among others."""

    name: str
    layer: str
    source: Source
    model: Fitted
    weight: float = 1.0


@dataclass(frozen=True, repr=False)
class SavedFeatures(Predictor):
    """A property of crystals from frozen features; with several parts, a mixture of what they say.

    Attributes:
        known: Standardised features of the crystals it learned from, ``(crystals, dim)``.
        folder: Where it was read from, if it was.
    """

    parts: Sequence[Part]
    card: dict[str, Any]
    known: NDArray[np.float32]
    folder: Path | None = None

    def about(self) -> About:
        """Say what it is and what it is worth."""
        stored = self.card.get("parts") or [{"networks": [{"name": part.name}]} for part in self.parts]
        names = ["+".join(one["name"] for one in part["networks"]) for part in stored]
        told = [f"{name} ({part.layer})" for name, part in zip(names, self.parts, strict=True)]
        figures = (self.card.get("judged") or {}).get("figures") or {}
        mae = (figures.get("unit") or {}).get("mae")
        error = f"MAE {with_unit(f'{mae:.3g}', self.card['unit'])} of crystals left out" if mae else ""
        return About(
            str(self.folder or "a regression on frozen features"),
            f"{self.card['estimator']} on frozen {listed(told)}",
            f"{len(self.known):,} crystals of {self.card['source']}",
            error,
        )

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a prediction."""
        target = self.card["target"]
        probable = "calibration" in self.card
        return [target, *([f"{target}_std", f"{target}_q5", f"{target}_q95"] if probable else [])]

    @property
    def options(self) -> list[Options]:
        """What must be made of crystals for :meth:`answers`: graphs, descriptors, or both."""
        return list(dict.fromkeys(options for part in self.parts for options in part.source.needs()))

    @property
    def units(self) -> dict[str, str]:
        """Unit of the target."""
        return {self.card["target"]: self.card["unit"]}

    def to(self, device: str) -> Self:
        """Move the networks that features come from to a device; return the model itself."""
        for part in self.parts:
            if isinstance(part.source, Network):
                part.source.model.to(device)
        return self

    def predict(self, crystals: Data) -> pd.DataFrame:
        """Predict in the unit of the target.

        Where the logarithm was learned the prediction is the median, and the deviation is of first order,
        that of the logarithm times the prediction.

        Returns:
            One row per crystal: ``id``, the target; if intervals are calibrated also ``…_std``, half of the
            interval that holds 68 % of crystals left out, and the ends of the one that holds 90 %, ``…_q5``
            and ``…_q95``, each in the unit of the target.

        Raises:
            UserError: A crystal has an unknown element, nothing can be made of its structure, or its base is
                not known.
        """
        some = as_table(crystals)
        found = answered_beside(
            some, self.options, lambda here, stores: self._answers(*self.learned(stores, here)[:2])
        )
        return pd.DataFrame({"id": some.ids, **joined(found, self.columns)})

    def embed(self, crystals: Data) -> NDArray[np.float32]:
        """Return the standardised features of all parts side by side, ``(crystals, dim)``."""
        empty = np.empty((0, self.known.shape[1]), dtype=np.float32)
        found = answered(
            as_table(crystals), self.options, lambda stores: standardised(self.parts, self._read(stores))
        )
        return np.concatenate([empty, *found])

    def trust(self, crystals: Data) -> pd.DataFrame:
        """Say what is known of how far predictions can be trusted: ``id`` and :func:`trust.columns`."""
        some = as_table(crystals)
        found = answered_beside(some, self.options, lambda here, stores: self.learned(stores, here)[2])
        features = np.concatenate([np.empty((0, self.known.shape[1]), np.float32), *found])
        known = trust.columns(self.domain, self.card["elements"], some, features)
        return pd.DataFrame({"id": some.ids, **known})

    def answers(self, stores: Stores) -> dict[str, Values]:
        """Predict for what was made of crystals; return the columns by name, ``(crystals,)`` each.

        Args:
            stores: What was made of the crystals, for each of :attr:`options`.

        Raises:
            UserError: It needs a column of the crystals' table.
        """
        return self._answers(*self.learned(stores)[:2])

    def judged(self, crystals: Crystals, stores: Stores) -> Columns:
        """Predict, and say of each prediction what is known of it; see :func:`tlzoo.model.trust.columns`.

        Raises:
            UserError: The base of a crystal is not known.
        """
        mean, deviation, features = self.learned(stores, crystals)
        known = trust.columns(self.domain, self.card["elements"], crystals, features)
        return trust.beside(self._answers(mean, deviation), known)

    @cached_property
    def domain(self) -> Domain:
        """What it has learned from."""
        return Domain.of(self.known, points=len(self.known))

    @property
    def least(self) -> float:
        """The smallest value that is possible, -inf for no limit."""
        minimum = self.card.get("minimum")
        return -inf if minimum is None else float(minimum)

    def _answers(self, mean: Values, deviation: Values) -> dict[str, Values]:
        half = self.half_width(deviation, "0.9")
        deviation = self.half_width(deviation, "0.68")
        lines = [mean, deviation, mean - half, mean + half]
        if self.card["log"]:
            lines = [np.exp(mean), np.exp(mean) * deviation, *(np.exp(line) for line in lines[2:])]
        return dict(zip(self.columns, lines, strict=False))

    def half_width(self, deviation: Values, level: str) -> Values:
        """Return half widths of intervals that hold as many crystals as the level says, ``(crystals,)``."""
        if "calibration" not in self.card:
            return deviation  # a ridge of format 2 states none, and all are NaN
        wide: Values = deviation * self.card["calibration"]["widths"][level]
        return wide

    def learned(
        self, stores: Stores, crystals: Crystals | None = None
    ) -> tuple[Values, Values, NDArray[np.float32]]:
        """Return predictions as they were learned, of logarithms perhaps, their deviations, and features.

        Args:
            stores: What was made of the crystals.
            crystals: They, if a column of their table is the base.

        Raises:
            UserError: That is not known.

        Returns:
            Means and standard deviations, ``(crystals,)``, as the regressions state them, NaN if they do not;
            standardised features of all parts side by side, ``(crystals, dim)``.
        """
        features = self._read(stores)
        all_bases = self._bases(features, crystals)
        told = [
            part.model.told(values, bases)
            for part, values, bases in zip(self.parts, features, all_bases, strict=True)
        ]
        weights = np.array([part.weight for part in self.parts])
        means, deviations = (np.stack(each) for each in zip(*told, strict=True))
        mean, deviation = mixture(means, deviations, weights)
        return np.maximum(mean, self.least), deviation, standardised(self.parts, features)

    def _bases(self, features: Sequence[Values], crystals: Crystals | None) -> list[Bases]:
        """Return what predictions start from, for each part."""
        beside, found = self._beside(crystals), list[Bases]()
        for part, values in zip(self.parts, features, strict=True):
            there = {name: i for i, name in enumerate(part.source.columns(part.layer))}
            bases = {name: values[:, there[name]] for name in part.model.bases if name not in beside}
            found.append({**bases, **beside})
        return found

    @property
    def base(self) -> str | None:
        """Column of the crystals' table that predictions start from."""
        base = self.card.get("base")
        return base if any(base in part.model.bases for part in self.parts) else None

    def _beside(self, crystals: Crystals | None) -> dict[str, Values]:
        if self.base is None:
            return {}
        if crystals is None:
            raise UserError(f"predictions start from the column {self.base} of a table of crystals")
        return {self.base: base_of(crystals, self.base, self.card["unit"], log=self.card["log"])}

    def _read(self, stores: Stores) -> list[Values]:
        """Return the features of each part, ``(crystals, dim)``."""
        read = [part.source.read(stores, [part.layer])[part.layer] for part in self.parts]
        return [values.astype(np.float64) for values in read]

    def save(self, folder: Path) -> None:
        """Write the folder; ``features.json`` comes last: without it there is no model.

        Raises:
            UserError: It cannot be written.
        """
        try:
            (folder / NETWORKS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}; choose another folder") from error
        (folder / CARD).unlink(missing_ok=True)
        arrays = {"known": self.known}
        parts, copies = [], dict[str, str]()
        for i, part in enumerate(self.parts):
            model, learned = part.model, LEARNED[self.card["estimator"]][1]
            steps = [(_prefix(i, j), step, learned) for j, (_, step) in enumerate(model.parts)]
            steps.append((_prefix(i), model.scale, SCALE))
            steps += [(_prefix(i), model.doubt, DOUBT)] if model.doubt else []
            for prefix, step, names in steps:
                arrays |= {prefix + name: np.asarray(getattr(step, name), dtype=np.float64) for name in names}
            for name in parts_of(part.name):
                if not is_computed(name) and name not in copies:
                    weights = locate(name)
                    checkpoint.copy(weights, folder / NETWORKS / str(len(copies)))
                    copies[name] = _sha256(weights)
            networks = [
                {"name": name, "sha256": copies.get(name, ""), "version": version_of(name)}
                for name in parts_of(part.name)
            ]
            ways = [vars(way) for way, _ in model.parts]
            facts = {"layer": part.layer, "networks": networks, "weight": part.weight, "ways": ways}
            parts.append({**facts, "beside": [vars(one) for one in model.beside]})
        content = safetensors.numpy.save({name: np.asarray(a, order="C") for name, a in arrays.items()})
        with whole(folder / ARRAYS) as partial:
            partial.write_bytes(content)
        files = {name: f"{NETWORKS}/{i}.safetensors" for i, name in enumerate(copies)}
        facts = {**self.card, "format": FORMAT, "sha256": hashlib.sha256(content).hexdigest()}
        card = plain({**facts, "parts": parts, "files": files}, "card")
        write_text(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load(folder: str | Path) -> SavedFeatures:
    """Load a model written by `tlzoo features --save FOLDER`; all hashes are checked.

    Raises:
        UserError: The folder holds no such model, it is damaged, or its format is newer than this version of
            tlzoo.
    """
    folder = Path(folder)
    if not is_saved(folder):
        raise UserError(f"{folder} holds no {CARD}: name a folder that `tlzoo features … --save` wrote")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if card["format"] not in READ:
            remedy = "upgrade tlzoo" if card["format"] > FORMAT else "save it again"
            reads = " and ".join(map(str, READ))
            raise UserError(f"{folder} has format {card['format']}, this tlzoo reads {reads}: {remedy}")
        content = (folder / ARRAYS).read_bytes()
        if hashlib.sha256(content).hexdigest() != card["sha256"]:
            raise UserError(f"{folder / ARRAYS} is damaged or was changed: save it again")
        arrays = safetensors.numpy.load(content)
        _check(card)
        known = arrays["known"]
        parts = [_part(folder, card, i, arrays) for i in range(len(card["parts"]))]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder} is damaged ({error}): save it again") from error
    return SavedFeatures(parts, card, known, folder)


def _check(card: Mapping[str, Any]) -> None:
    """Refuse a card that says something else than :meth:`SavedFeatures.save` writes.

    Raises:
        ValueError: Names the field.
    """
    kinds = {"source": str, "target": str, "unit": str, "log": bool, "parts": list, "files": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(card[name], kind)]
    wrong += [] if card["parts"] else ["parts"]
    elements = card["elements"]
    if elements is not None and not (
        isinstance(elements, list) and all(isinstance(e, str) for e in elements)
    ):
        wrong.append("elements")
    if not isinstance(card.get("minimum"), int | float | None):
        wrong.append("minimum")
    if "calibration" in card and not all(
        isinstance(card["calibration"]["widths"][level], int | float) for level in ("0.68", "0.9")
    ):
        wrong.append("calibration")
    if wrong:
        raise ValueError(f"{wrong[0]} is {str(card[wrong[0]])[:60]}")


def _part(folder: Path, card: Mapping[str, Any], i: int, arrays: Mapping[str, NDArray[Any]]) -> Part:
    networks, layer = card["parts"][i]["networks"], card["parts"][i]["layer"]
    paths = {
        one["name"]: str(folder / card["files"][one["name"]]) if one["sha256"] else one["name"]
        for one in networks
    }
    for one in networks:
        if one["sha256"] and _sha256(Path(paths[one["name"]])) != one["sha256"]:
            raise UserError(f"{paths[one['name']]} is not the network of {one['name']}: save it again")
        if (learned := one.get("version")) and learned != (here := version_of(one["name"])):
            raise UserError(
                f"{folder} learned from {one['name']} of version {learned}, this tlzoo has {here}, whose "
                "numbers differ: save it again"
            )
    part = card["parts"][i]
    kind, names = LEARNED[card["estimator"]]
    scale = _restored(Scale(), arrays, _prefix(i), SCALE)
    doubt = None
    if issubclass(kind, KernelRegressor):
        known, errors, length, weight = (arrays[_prefix(i) + name] for name in DOUBT)
        doubt = Doubt(known, errors, length.item(), weight)
    learned = []
    for j, way in enumerate(part.get("ways", [{"name": "itself"}])):
        regressor = _restored(kind(), arrays, _prefix(i, j), names)
        if doubt:
            regressor.known_ = doubt.known
        learned.append((Way(**way), regressor))
    weight = part.get("weight", 1 / len(card["parts"]))
    beside = [Beside(**one) for one in part.get("beside", [])]
    return Part("+".join(paths), layer, sources(paths), Fitted(scale, learned, doubt, beside=beside), weight)


def _prefix(part: int, way: int = 0) -> str:
    """Return how the names of the arrays of a part begin, and of what it has learned but for the first."""
    return f"{part}.{way}." if way else f"{part}."


def _restored(step: Any, arrays: Mapping[str, NDArray[Any]], prefix: str, names: Sequence[str]) -> Any:  # noqa: ANN401
    """Give a scaler or regressor what it has learned."""
    for name in names:
        if name in LATER and prefix + name not in arrays:
            continue
        value = arrays[prefix + name]
        setattr(step, name, value if value.ndim else float(value))
    return step


def standardised(parts: Sequence[Part], features: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Return the features that each part learned from or reads, side by side, ``(crystals, dim)``."""
    scaled = [part.model.scale.first(np.asarray(x)) for part, x in zip(parts, features, strict=True)]
    return np.concatenate(scaled, axis=1).astype(np.float32)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
