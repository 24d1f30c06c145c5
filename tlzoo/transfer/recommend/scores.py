"""How much of a property can be read off what is known of crystals without any training of networks."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from statistics import stdev
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS, Crystals
from tlzoo.data.duplicates import duplicate_groups
from tlzoo.data.known_elements import symbols
from tlzoo.errors import UserError
from tlzoo.evaluation.baselines import composition_features, random_forest, ridge
from tlzoo.evaluation.crossval import FOLDS, cross_validate, deal
from tlzoo.evaluation.gain import Gain, gain
from tlzoo.graphs.workers import NoGraphError
from tlzoo.model.activations import EMBEDDING
from tlzoo.model.answering import Stores, answered
from tlzoo.model.trained import Model
from tlzoo.transfer.features import estimators
from tlzoo.transfer.features.estimators import SMALL_DATA
from tlzoo.transfer.features.layers import DESCRIPTORS, Descriptors, Network, Source
from tlzoo.transfer.finetune.experiment import in_unit
from tlzoo.transfer.recommend.logme import logme

Values = NDArray[np.float64]
Rows = NDArray[np.int64]
# Layers of sources, by name and layer; what they say of crystals, (crystals, dim), and the seconds it took.
Wanted: TypeAlias = Mapping[tuple[str, str], Source]
Timed: TypeAlias = tuple[NDArray[np.float32], float]

LINEAR: Final = "ridge on the composition"
FOREST: Final = "random forest on the composition"
BASELINES: Final = (LINEAR, FOREST)

# Regressions on descriptors, which see no network, and kinds of descriptors (tlzoo.transfer.features.layers).
SHALLOW: Final = (SMALL_DATA, "forest")
KINDS: Final = ("both", "composition")


@dataclass(frozen=True)
class Score:
    """A source of features with a regression, or a baseline, on some crystals.

    Attributes:
        name: The model, ``descriptors``, or one of ``BASELINES``.
        errors: Absolute error of each crystal when it was left out, in the unit of the target,
            ``(repeats, crystals)``.
        logme: Log evidence per crystal; None for descriptors and forests.
        unseen: Crystals with an element that the model never learned from; None for descriptors, baselines
            and for models that do not say.
        answers: Mean absolute error of what the model itself predicts, by its targets in the same unit.
        estimator: The regression; empty for baselines.
        layer: What of the source it reads; empty for baselines.
        pace: Seconds to make the features of a crystal.
        fit: Seconds to fit the regression to all crystals, its choices included.
    """

    name: str
    errors: Values
    logme: float | None
    unseen: int | None
    answers: Mapping[str, float] = field(default_factory=dict)
    estimator: str = ""
    layer: str = ""
    pace: float = 0.0
    fit: float = 0.0

    @property
    def shown(self) -> str:
        """What it is called in a table."""
        return f"{self.layer} descriptors".removeprefix("both ") if self.name == DESCRIPTORS else self.name

    @property
    def mae(self) -> float:
        """Mean absolute error over crystals and repeats."""
        return float(self.errors.mean())

    @property
    def sd(self) -> float | None:
        """Standard deviation of the mean absolute error over the repeats; None if there is one."""
        return stdev(self.errors.mean(axis=1).tolist()) if len(self.errors) > 1 else None

    @property
    def nearest(self) -> float:
        """The least error of what the model itself predicts; infinite if it predicts nothing like it."""
        return min(self.answers.values(), default=inf)

    @property
    def answer(self) -> str | None:
        """The model's target that comes nearest, if as it is it is nearer than the regression; else None.

        Then the trained head is worth keeping (docs/results/devi2024.md).
        """
        if self.nearest >= self.mae:
            return None
        return min(self.answers, key=self.answers.__getitem__)

    def behind(self, first: "Score") -> Gain:
        """How much lower the error of another is, with its interval over the crystals."""
        return gain(first.errors.mean(axis=0), self.errors.mean(axis=0))


def rank(
    crystals: Crystals,
    target: Values,
    models: Mapping[str, Model],
    *,
    unit: str = "",
    groups: Rows | None = None,
    repeats: int = 1,
    seed: int = 0,
    shallow: bool = True,
    left: Callable[[str, UserError], None] | None = None,
) -> list[Score]:
    """Score models by the regression that learns most from few crystals on what their layers say.

    Its settings are chosen by the crystals that are left out, too, which flatters all alike.

    Args:
        crystals: The crystals.
        target: What is to be learned of each, ``(crystals,)``.
        models: By the name that is to be shown.
        unit: Of the target: what a model predicts in the same unit is compared with it; empty if unknown.
        groups: Label of each crystal, ``(crystals,)``; equal labels are in one fold. None: duplicates are.
        repeats: Number of cross-validations.
        seed: Seed of the folds.
        shallow: Score regressions on descriptors, too.
        left: Told of what is left out, as it cannot be had for a crystal, and why; by default that is an
            error.

    Returns:
        The best first.

    Raises:
        UserError: A model cannot read a crystal, or there are too few crystals.
        ValueError: All labels are equal.
    """
    groups = duplicate_groups(crystals) if groups is None else groups
    deal(groups, FOLDS, np.random.default_rng(seed))  # too few are refused before they are embedded
    networks = {name: Network(model) for name, model in models.items()}
    # the embedding is what the head reads
    wanted: dict[tuple[str, str], Source] = {
        (name, layer): of for name, of in networks.items() for layer in (of.default, EMBEDDING)
    }
    if shallow:
        wanted |= {(DESCRIPTORS, kind): Descriptors() for kind in KINDS}
    scores = []
    found = _readable(wanted, crystals, left)
    for (name, layer), (values, seconds) in found.items():
        if name in networks and layer != networks[name].default:
            continue
        x, model = values.astype(np.float64), models.get(name)
        for estimator in SHALLOW if model is None else (SMALL_DATA,):
            begun = time.perf_counter()
            errors = left_out(estimator, x, target, groups, repeats=repeats, seed=seed)
            score = Score(
                name,
                errors,
                None if model is None else logme(x, target),
                None if model is None else _unseen(crystals, model.card),
                {} if model is None else _answers(model, found[name, EMBEDDING][0], target, unit),
                estimator,
                layer,
                seconds / len(crystals),
                (time.perf_counter() - begun) / len(errors),
            )
            scores.append(score)
    return sorted(scores, key=lambda score: score.mae)


def left_out(
    name: str, x: Values, target: Values, groups: Rows, *, repeats: int = 1, seed: int = 0
) -> Values:
    """Return the absolute error of each crystal when a regression was fitted without it.

    A kernel leaves crystals out itself, ten times a tenth of the groups; another regression is fitted to five
    parts, once.

    Returns:
        ``(repeats, crystals)``.
    """
    estimator = estimators.find(name)
    fit = partial(estimator.fit, settings=estimator.grid[0], seed=seed)
    if not estimator.kernel:

        def regressor(x: Values, y: Values, train: Rows, rows: Rows) -> Values:
            return estimators.predict(fit(x[train], y[train]), x[rows])[0]

        return cross_validate(regressor, x, target, groups, repeats=1, seed=seed)
    labels, index = np.unique(groups, return_inverse=True)
    generator, found = np.random.default_rng(seed), []
    for _ in range(repeats):
        drawn = generator.permutation(len(labels))[index.reshape(-1)]
        predictions = fit(x, target, groups=drawn).left_out
        assert predictions is not None
        found.append(np.abs(predictions - target))
    return np.stack(found)


def baselines(
    crystals: Crystals, target: Values, *, groups: Rows | None = None, repeats: int = 5, seed: int = 0
) -> list[Score]:
    """Score what can be read off the composition alone.

    The forest is fitted to one draw of folds: it takes longer than all the rest.
    """
    groups = duplicate_groups(crystals) if groups is None else groups
    features = composition_features(crystals)
    forest = cross_validate(random_forest, features, target, groups, repeats=1, seed=seed)
    linear = cross_validate(ridge, features, target, groups, repeats=repeats, seed=seed)
    known = features[:, ~np.isnan(features).any(axis=0)]
    return [Score(LINEAR, linear, logme(known, target), None), Score(FOREST, forest, None, None)]


def _readable(
    wanted: Wanted, crystals: Crystals, left: Callable[[str, UserError], None] | None
) -> dict[tuple[str, str], Timed]:
    """Return the features of all sources, or if one cannot read a crystal, of those that can."""
    try:
        return features(wanted, crystals)
    except NoGraphError as error:
        if left is None:
            raise
        reason = error
    found: dict[tuple[str, str], Timed] = {}
    for of, keys in _of_each(wanted).items():
        try:
            found |= features(dict.fromkeys(keys, of), crystals)
        except NoGraphError as error:
            left(keys[0][0], error)
            reason = error
    if not found:
        raise reason
    return found


def features(wanted: Wanted, crystals: Crystals) -> dict[tuple[str, str], Timed]:
    """Return layers of sources, by name and layer, ``(crystals, dim)`` each, and the seconds that each takes.

    What several read is made once for all, and the layers of a source are read at once; that time is that of
    each.
    """
    each = {of: [layer for _, layer in keys] for of, keys in _of_each(wanted).items()}
    needed = {of: of.needs(layers) for of, layers in each.items()}
    needs = list(dict.fromkeys(options for some in needed.values() for options in some))
    took = dict.fromkeys(each, 0.0)

    def read(stores: Stores) -> dict[tuple[str, str], NDArray[np.float32]]:
        found = {}
        for of, layers in each.items():
            begun = time.perf_counter()
            found[of] = of.read(stores, layers)
            took[of] += time.perf_counter() - begun
        return {key: found[of][key[1]] for key, of in wanted.items()}

    begun = time.perf_counter()
    parts = answered(crystals, needs, read)
    making = (time.perf_counter() - begun - sum(took.values())) / max(1, len(needs))
    return {
        key: (np.concatenate([part[key] for part in parts]), took[of] + making * len(needed[of]))
        for key, of in wanted.items()
    }


def _of_each(wanted: Wanted) -> dict[Source, list[tuple[str, str]]]:
    """Return what is wanted of each source."""
    found: dict[Source, list[tuple[str, str]]] = {}
    for key, of in wanted.items():
        found.setdefault(of, []).append(key)
    return found


def _answers(model: Model, embedding: NDArray[np.float32], target: Values, unit: str) -> dict[str, float]:
    """Return the error of what the head says of the embeddings, by its targets in a unit."""
    kin = in_unit(model.card, unit)
    if not kin:
        return {}
    with torch.inference_mode():
        said = model.head.predict(model.head(torch.from_numpy(embedding)))
    columns = model.head.columns(model.card["targets"])
    return {
        name: float(np.abs(said[:, columns.index(name)].numpy() - target).mean())
        for name in kin
        if name in columns
    }


def _unseen(crystals: Crystals, card: Mapping[str, object]) -> int | None:
    elements = card.get("elements")
    if not isinstance(elements, list):
        return None
    strange = set(symbols(crystals)) - set(elements)
    if not strange:
        return 0
    numbers = [SYMBOLS.index(symbol) for symbol in strange]
    return int(np.logical_or.reduceat(np.isin(crystals.numbers, numbers), crystals.offsets[:-1]).sum())
