"""Regressions for a few crystals with many features, and the settings to choose among."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline

from tlzoo.errors import UserError, no_such
from tlzoo.transfer.features.bayes import BayesianRidge
from tlzoo.transfer.features.kernels import (
    GaussianProcess,
    KernelMean,
    KernelRegressor,
    KernelRidge,
    SupportVectors,
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
        scaled: Values = np.clip((x - self.mean_) * self.scale_, -FARTHEST, FARTHEST)
        return scaled


@dataclass(frozen=True)
class Estimator:
    """A kind of regression.

    Attributes:
        name: Its name on the command line.
        make: From the number of crystals, the number of features, a seed and settings to a fresh regressor.
        grid: Settings to choose among, on the training part.
    """

    name: str
    make: Callable[..., Any]
    grid: Sequence[Settings] = ({},)

    def fit(
        self, x: Values, y: Values, settings: Settings, seed: int, groups: Rows | None = None
    ) -> Pipeline:
        """Fit scaler and regressor to features, ``(crystals, features)``, and labels, ``(crystals,)``.

        Of what a regressor chooses itself, by crystals left out, equal ``groups`` are left out together.
        """
        fresh = make_pipeline(Scale(), self.make(*x.shape, seed, **settings))
        name, regressor = fresh.steps[-1]
        grouped = isinstance(regressor, KernelRegressor)
        return fresh.fit(x, y, **{f"{name}__groups": groups} if grouped else {})


def predict(model: Pipeline, x: Values) -> tuple[Values, Values]:
    """Return predictions and their standard deviations, ``(crystals,)``; NaN where the regressor has none."""
    if isinstance(model[-1], BayesianRidge | GaussianProcess):
        mean, deviation = model.predict(x, return_std=True)
        return mean, deviation
    mean = model.predict(x)
    return mean, np.full_like(mean, np.nan)


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
        Estimator("kernel-ridge", lambda *_: KernelRidge()),
        Estimator("svr", lambda *_: SupportVectors()),
        Estimator("kernel", lambda *_: KernelMean()),
        Estimator("gp", lambda *_: GaussianProcess()),
        Estimator(
            "forest",
            lambda _, __, seed, **more: RandomForestRegressor(TREES, random_state=seed, **more),
            [{"max_features": 1 / 3}, {"max_features": 1.0}],
        ),
        Estimator("boosting", _boosting, [{"max_depth": 2}, {"max_depth": 4}]),
    )
}
