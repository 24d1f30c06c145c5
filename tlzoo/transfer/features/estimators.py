"""Regressions for a few crystals with many features, and the settings to choose among."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV

from tlzoo.errors import UserError, no_such
from tlzoo.transfer.features import blocks
from tlzoo.transfer.features.base import ITSELF, Bases, Beside, Way, best, ways
from tlzoo.transfer.features.bayes import BayesianRidge
from tlzoo.transfer.features.kernels import (
    TINY,
    Doubt,
    GaussianProcess,
    KernelMean,
    KernelRidge,
    Kernels,
    SupportVectors,
    parts,
)

Values = NDArray[np.float64]
Rows = NDArray[np.int64]
Settings = Mapping[str, Any]

# What varies less than this part of its size has no variance but rounding.
CONSTANT: Final = 1e-6
# What is farther than so many standard deviations is set to that many: it was not there to learn from.
FARTHEST: Final = 5.0
# What learns most from several hundred crystals and what a network says of them.
SMALL_DATA: Final = "kernel"
# Trees of the forest; from 2,000 crystals on boosting works on binned features.
TREES: Final = 300
MANY: Final = 2000


class Scale(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Standardise features; one that did not vary when fitted is 0, and nothing is beyond 5 deviations."""

    def fit(self, x: Values, y: object = None) -> Self:  # noqa: ARG002 (scikit-learn's signature)
        """Take mean and standard deviation of each feature, ``(crystals, features)``."""
        self.mean_ = x.mean(axis=0)
        deviation = x.std(axis=0)
        varies = deviation > CONSTANT * np.maximum(np.abs(self.mean_), CONSTANT)
        self.scale_ = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
        return self

    def transform(self, x: Values) -> Values:
        """Standardise."""
        return self.first(x)

    def first(self, x: Values) -> Values:
        """Standardise the features that come first."""
        count = x.shape[1]
        scaled: Values = np.clip((x - self.mean_[:count]) * self.scale_[:count], -FARTHEST, FARTHEST)
        return scaled


@dataclass(frozen=True)
class Fitted:
    """A regression that has learned.

    Attributes:
        scale: What the features go through.
        parts: What was learned instead of the property, and the regressor that did; the mean of what these
            say of the property is predicted.
        doubt: Deviations from crystals left out; None for the regressor's own.
        left_out: Predictions of the crystals learned from, each made without its group, ``(crystals,)``; None
            if nothing had to be chosen so.
        beside: Bases that are features, too.
    """

    scale: Scale
    parts: Sequence[tuple[Way, Any]]
    doubt: Doubt | None = None
    left_out: Values | None = None
    beside: Sequence[Beside] = ()

    @property
    def bases(self) -> list[str]:
        """Names of what must be known to predict, beside the features."""
        named = [way.base for way, _ in self.parts if way.base] + [one.name for one in self.beside]
        return list(dict.fromkeys(named))

    def scaled(self, x: Values, bases: Bases | None = None) -> Values:
        """Return what it reads of features, ``(crystals, features)``, and bases, standardised."""
        return self.scale.transform(_with(x, self.beside, bases or {}))

    def predict(self, x: Values, bases: Bases | None = None) -> Values:
        """Return predictions, ``(crystals,)``, from features, ``(crystals, features)``, and bases."""
        return self.told(x, bases)[0]

    def told(self, x: Values, bases: Bases | None = None) -> tuple[Values, Values]:
        """Return predictions and their standard deviations, ``(crystals,)``; NaN where there are none."""
        scaled = self.scaled(x, bases)
        found = []
        for way, regressor in self.parts:
            mean, deviation = _told(regressor, scaled)
            value = way.property(mean, bases or {})
            found.append((value, way.deviation(deviation, value)))
        values, own = (np.stack(each) for each in zip(*found, strict=True))
        if self.doubt:
            return values.mean(axis=0), self.doubt.deviations(scaled)
        return mixture(values, own)


@dataclass(frozen=True)
class Estimator:
    """A kind of regression.

    Attributes:
        name: Its name on the command line.
        make: From the number of crystals, the number of features, a seed and settings to a fresh regressor.
        grid: Settings to choose among, on the training part.
        chooser: Name of a faster one that chooses between layers for it.
        kernel: Whether it makes a kernel regressor: these choose their settings themselves, and between a
            property and its logarithm.
    """

    name: str
    make: Callable[..., Any]
    grid: Sequence[Settings] = ({},)
    chooser: str = ""
    kernel: bool = False

    def fit(
        self,
        x: Values,
        y: Values,
        settings: Settings,
        seed: int,
        groups: Rows | None = None,
        bases: Bases | None = None,
        sizes: Sequence[int] = (),
    ) -> Fitted:
        """Fit scaler and regressor to features, ``(crystals, features)``, and labels, ``(crystals,)``.

        If there are ``bases``, ``(crystals,)`` by name, or a kernel, several things are learned instead of
        the property, and by crystals left out, those of equal ``groups`` together, one or two are chosen; see
        :mod:`tlzoo.transfer.features.base`. Where features of several sources stand side by side, so many of
        each as ``sizes`` says, a kernel weighs the sources; see :mod:`tlzoo.transfer.features.blocks`.
        """
        bases = bases or {}
        beside = [Beside.of(name, values) for name, values in bases.items()] if self.kernel else []
        x = _with(x, beside, bases)
        scale = Scale().fit(x)
        scaled = scale.transform(x)
        choices = ways(y, bases, logarithm=self.kernel)

        def made() -> Any:  # noqa: ANN401
            return self.make(*x.shape, seed, **settings)

        if not self.kernel and len(choices) == 1:
            return Fitted(scale, [(ITSELF, made().fit(scaled, y))])
        sizes = [*(sizes or [x.shape[1] - len(beside)]), *([1] * len(beside))]
        folds = parts(np.arange(len(y)) if groups is None else groups)
        regressors, left_out = {}, {}
        kernels: dict[Way, Kernels] = {}
        for way in choices:
            z = way.learned(y, bases)
            if self.kernel:
                weight = blocks.weights(scaled, sizes, z)
                # of one source it is the same for all: distances and decompositions are, too
                same = (each for each in kernels.values() if np.array_equal(each.weight, weight))
                kernels[way] = next(same, None) or Kernels(scaled, groups, weight)
                regressors[way] = made().fit(scaled, z, kernels=kernels[way])
                values = regressors[way].left_out_
            else:
                regressors[way] = made().fit(scaled, z)
                values = _left_out(made, scaled, z, folds)
            left_out[way] = way.property(values, bases)
        chosen = best(y, left_out)
        values = np.mean([left_out[way] for way in chosen], axis=0)
        doubt = Doubt.of(kernels[chosen[0]], np.abs(values - y)) if self.kernel else None
        return Fitted(scale, [(way, regressors[way]) for way in chosen], doubt, values, beside)


def predict(model: Fitted, x: Values, bases: Bases | None = None) -> tuple[Values, Values]:
    """Return predictions and their standard deviations, ``(crystals,)``; NaN where there are none."""
    return model.told(x, bases)


def mixture(means: Values, deviations: Values, weights: Values | None = None) -> tuple[Values, Values]:
    """Return mean and standard deviation of a mixture of models, which come first; equal by default."""
    weights = np.full(len(means), 1 / len(means)) if weights is None else weights
    mean = np.tensordot(weights, means, 1)
    squares = np.square(deviations) + np.square(means - mean)
    return mean, np.sqrt(np.tensordot(weights, squares, 1))


def _with(x: Values, beside: Sequence[Beside], bases: Bases) -> Values:
    """Return features with those that are made of bases, side by side."""
    return np.column_stack([x, *(one.feature(bases) for one in beside)]) if beside else x


def _told(regressor: Any, x: Values) -> tuple[Values, Values]:  # noqa: ANN401
    """Return predictions and the regressor's own standard deviations, ``(crystals,)``; NaN if it has none."""
    if isinstance(regressor, BayesianRidge):
        mean, deviation = regressor.predict(x, return_std=True)
        return mean, deviation
    mean = regressor.predict(x)
    # a ridge: minus the mean square of the errors of crystals left out
    score = getattr(regressor, "best_score_", np.nan)
    return mean, np.full_like(mean, np.sqrt(max(-score, TINY)))


def _left_out(made: Callable[[], Any], x: Values, y: Values, folds: Sequence[Rows]) -> Values:
    """Return predictions of each crystal by a regressor fitted without its fold, ``(crystals,)``."""
    found = np.empty_like(y)
    for fold in folds:
        train = np.setdiff1d(np.arange(len(y)), fold)
        found[fold] = made().fit(x[train], y[train]).predict(x[fold])
    return found


def find(name: str) -> Estimator:
    """Return a kind of regression.

    Raises:
        UserError: There is none of this name; the message lists those there are.
    """
    if name not in ESTIMATORS:
        raise UserError(no_such("estimator", name, ESTIMATORS))
    return ESTIMATORS[name]


def _boosting(crystals: int, _: int, seed: int, max_depth: int) -> Any:  # noqa: ANN401
    if crystals >= MANY:
        return HistGradientBoostingRegressor(max_iter=TREES, max_depth=max_depth, random_state=seed)
    return GradientBoostingRegressor(
        n_estimators=TREES,
        learning_rate=0.05,
        max_depth=max_depth,
        subsample=0.8,
        max_features=1 / 3,
        random_state=seed,
    )


ESTIMATORS: Final = {
    estimator.name: estimator
    for estimator in (
        Estimator("bayesian-ridge", lambda *_: BayesianRidge()),
        # penalties of standardised features; chosen by leave-one-out in closed form
        Estimator("ridge", lambda *_: RidgeCV(alphas=np.logspace(-2, 5, 29))),
        Estimator("kernel-ridge", lambda *_: KernelRidge(), kernel=True),
        Estimator("svr", lambda *_: SupportVectors(), chooser="kernel-ridge", kernel=True),
        Estimator(SMALL_DATA, lambda *_: KernelMean(), chooser="kernel-ridge", kernel=True),
        Estimator("gp", lambda *_: GaussianProcess(), kernel=True),
        Estimator(
            "forest",
            lambda _, __, seed, **more: RandomForestRegressor(TREES, random_state=seed, **more),
            [{"max_features": 1 / 3}, {"max_features": 1.0}],
        ),
        Estimator("boosting", _boosting, [{"max_depth": 2}, {"max_depth": 4}]),
    )
}
