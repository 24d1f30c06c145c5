r"""Regressions with a Gaussian kernel, for some dozen to a thousand crystals; they choose their settings.

All predict

.. math::
    f(x) = c + \sum_{tj} a_{tj} \exp\left(-\frac{\lVert x - x_j \rVert^2}{2 \ell_t^2}\right)

from the crystals :math:`x_j` that they learned from. Length scales are chosen as multiples of the spread
:math:`\sqrt{\sum_k \mathrm{var}(x_k)}` of the features, the root of their number where they are standardised.

Choices are made by the mean absolute error of crystals left out within what is fitted to, whole groups;
distances and decompositions are computed once.
"""

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.svm import SVR

from tlzoo.errors import UserError
from tlzoo.evaluation.crossval import deal

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

# Length scales; two standardised crystals are about √2 apart.
LENGTHS: Final = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)
# Penalties, in parts of the kernel's diagonal.
PENALTIES: Final = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Of support vectors, in deviations of the label: the largest coefficient, and errors that cost nothing.
LARGEST: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
FREE: Final = (0.01, 0.05, 0.1, 0.2)
# Folds of the choices.
FOLDS: Final = 10
# Eigenvalues below are rounding.
ROUNDING: Final = 1e-10
# Instead of a variance of 0.
TINY: Final = float(np.finfo(np.float64).tiny)
# Crystals at most: the decompositions of 4,000 take 1 GB, and minutes.
MOST: Final = 4000
# How far, in spreads, the errors of known crystals say something of a new one, and how many crystals the mean
# error counts for: of lengths from 0.35 to 1 and weights of 1 and 3 these gave the narrowest intervals.
NEAR: Final = 0.5
ANYWHERE: Final = 1.0


class Kernels:
    """What regressions on the same crystals share: distances, decompositions, folds.

    Args:
        x: Features, ``(crystals, features)``.
        groups: Label of each crystal, ``(crystals,)``; equal ones are left out together. All differ by
            default.
        weight: What features are multiplied by, ``(features,)``.

    Attributes:
        spread: Root of the summed variances of the features.
        parts: Crystals that are left out together to choose by.

    Raises:
        UserError: There are too many crystals.
    """

    def __init__(self, x: Values, groups: Rows | None = None, weight: Values | None = None) -> None:
        if len(x) > MOST:
            raise UserError(
                f"regressions with a kernel learn from {MOST:,} crystals at most, got {len(x):,}; take "
                "bayesian-ridge or boosting"
            )
        self.x: Values = x
        self.weight = np.ones(x.shape[1]) if weight is None else weight
        weighted = x * self.weight
        self.squares = _squares(weighted, weighted)
        self.spread = float(np.sqrt(weighted.var(axis=0).sum())) or 1.0
        self.parts = parts(np.arange(len(x)) if groups is None else groups)
        self._spectra: dict[float, tuple[Values, Values]] = {}

    def matrix(self, length: float) -> Values:
        """Return the kernel, ``(crystals, crystals)``, of a length scale in units of the spread."""
        return _kernel(self.squares, length * self.spread)

    def spectrum(self, length: float) -> tuple[Values, Values]:
        """Return its eigenvalues, ``(crystals,)``, and its eigenvectors as columns."""
        if length not in self._spectra:
            values, vectors = np.linalg.eigh(self.matrix(length))
            self._spectra[length] = np.maximum(values, ROUNDING), vectors
        return self._spectra[length]

    def solved(self, length: float, penalty: float, y: Values) -> tuple[Values, float]:
        """Return dual coefficients, ``(crystals,)``, and intercept; the intercept is not penalised."""
        values, vectors = self.spectrum(length)
        inverse = 1 / (values + penalty)
        ones, labels = vectors.sum(axis=0), vectors.T @ y
        constant = float(ones @ (inverse * labels) / (ones @ (inverse * ones)))
        return vectors @ (inverse * (labels - constant * ones)), constant

    def evidence(self, length: float, noise: float, y: Values) -> float:
        """Return the log-likelihood of the labels' contrasts, for the best variance, up to a constant."""
        values, vectors = self.spectrum(length)
        dual, _ = self.solved(length, noise, y)
        ones = vectors.sum(axis=0)
        size = np.log(values + noise).sum() + np.log(ones @ (ones / (values + noise)))
        square = max(float(y @ dual), TINY)
        return -float((len(y) - 1) * np.log(square) + size) / 2

    def left_out(self, length: float, penalty: float, y: Values) -> Values:
        r"""Return predictions of each crystal by a ridge fitted without its part, ``(crystals,)``.

        With the inverse G of the penalised kernel, its projection
        :math:`H = G - G 1 1^T G / 1^T G 1` and the crystals B of a part, the errors are
        :math:`H_{BB}^{-1} (H y)_B`.
        """
        values, vectors = self.spectrum(length)
        inverse = 1 / (values + penalty)
        dual, _ = self.solved(length, penalty, y)
        ones = vectors.sum(axis=0)
        row = vectors @ (inverse * ones)
        total = float(ones @ (inverse * ones))
        found = np.empty_like(y)
        for part in self.parts:
            some = vectors[part]
            block = (some * inverse) @ some.T - np.outer(row[part], row[part]) / total
            found[part] = y[part] - np.linalg.solve(block, dual[part])
        return found


class KernelRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A sum over known crystals, with settings that it has chosen.

    Attributes:
        known_: Features of the crystals that it learned from, ``(crystals, features)``.
        weight_: What these are multiplied by, ``(features,)``.
        dual_: Their coefficients, ``(terms, crystals)``.
        length_: Length scales, in the units of the features, ``(terms,)``.
        intercept_: What is said far from all.
        left_out_: Predictions of what it was fitted to, each made without its group, with the settings that
            were chosen, ``(crystals,)``.
    """

    known_: Values
    weight_: Values
    dual_: Values
    length_: Values
    intercept_: float
    left_out_: Values

    def fit(self, x: Values, y: Values, groups: Rows | None = None, kernels: Kernels | None = None) -> Self:
        """Fit to features, ``(crystals, features)``, and labels, ``(crystals,)``.

        ``kernels`` are those of the features and groups, if they are there.
        """
        kernels = kernels or Kernels(x, groups)
        self.known_, self.weight_ = x, kernels.weight
        self.choose(kernels, y)
        return self

    @abstractmethod
    def choose(self, kernels: Kernels, y: Values) -> None:
        """Choose settings and coefficients."""

    def predict(self, x: Values) -> Values:
        """Return predictions, ``(crystals,)``."""
        far = _squares(x * self.weight_, self.known_ * self.weight_)
        found = np.full(len(x), self.intercept_)
        for dual, length in zip(self.dual_, self.length_, strict=True):
            found += _kernel(far, length) @ dual
        return found

    def _penalised(self, kernels: Kernels, y: Values, length: float, penalty: float) -> None:
        dual, self.intercept_ = kernels.solved(length, penalty, y)
        self.dual_, self.length_ = dual[None], np.array([length * kernels.spread])
        self.left_out_ = kernels.left_out(length, penalty, y)


class KernelRidge(KernelRegressor):
    """Kernel ridge regression with an intercept; all settings are tried, in closed form."""

    def choose(self, kernels: Kernels, y: Values) -> None:
        """Choose length scale and penalty."""

        def error(settings: tuple[float, float]) -> float:
            return float(np.abs(kernels.left_out(*settings, y) - y).mean())

        self._penalised(kernels, y, *min(product(LENGTHS, PENALTIES), key=error))


class GaussianProcess(KernelRegressor):
    """A Gaussian process with a constant mean; length scale and noise maximise the restricted evidence."""

    def choose(self, kernels: Kernels, y: Values) -> None:
        """Choose length scale and noise."""

        def evidence(settings: tuple[float, float]) -> float:
            return kernels.evidence(*settings, y)

        self._penalised(kernels, y, *max(product(LENGTHS, PENALTIES), key=evidence))


class SupportVectors(KernelRegressor):
    """Support vector regression; its settings are chosen one after the other."""

    def choose(self, kernels: Kernels, y: Values) -> None:
        """Choose length scale, largest coefficient and errors that cost nothing."""
        middle, scale = float(y.mean()), float(y.std()) or 1.0
        z = (y - middle) / scale
        tried: dict[tuple[float, ...], Values] = {}

        def error(settings: tuple[float, ...]) -> float:
            if settings not in tried:
                length, largest, free = settings
                tried[settings] = _left_out(kernels.matrix(length), kernels.parts, z, largest, free)
            return float(np.abs(tried[settings] - z).mean())

        best: tuple[float, ...] = (1.0, 2.0, 0.05)
        for place, values in enumerate((LENGTHS, LARGEST, FREE)):
            best = min(((*best[:place], value, *best[place + 1 :]) for value in values), key=error)
        length, largest, free = best
        model = _support(kernels.matrix(length), z, largest, free)
        self.dual_ = np.zeros((1, len(y)))
        self.dual_[0, model.support_] = model.dual_coef_[0] * scale
        self.intercept_ = float(model.intercept_[0]) * scale + middle
        self.length_ = np.array([length * kernels.spread])
        self.left_out_ = tried[best] * scale + middle


class KernelMean(KernelRegressor):
    """The mean of kernel ridge and support vector regression."""

    def choose(self, kernels: Kernels, y: Values) -> None:
        """Choose for each."""
        both = [kind().fit(kernels.x, y, kernels=kernels) for kind in (KernelRidge, SupportVectors)]
        self.dual_ = np.concatenate([one.dual_ for one in both]) / 2
        self.length_ = np.concatenate([one.length_ for one in both])
        self.intercept_ = sum(one.intercept_ for one in both) / 2
        self.left_out_ = np.mean([one.left_out_ for one in both], axis=0)


@dataclass(frozen=True)
class Doubt:
    """How far predictions are off near a crystal: the mean error of known ones, the near ones first.

    Attributes:
        known: Features of the known crystals, ``(crystals, features)``.
        weight: What these are multiplied by, ``(features,)``.
        errors: Their absolute errors when they were left out, ``(crystals,)``.
        length: How far they count, in the units of the features.
    """

    known: Values
    errors: Values
    length: float
    weight: Values

    @classmethod
    def of(cls, kernels: Kernels, errors: Values) -> Self:
        """Return that of crystals and their errors, ``(crystals,)``."""
        return cls(kernels.x, errors, NEAR * kernels.spread, kernels.weight)

    def deviations(self, x: Values) -> Values:
        """Return deviations, those of a normal distribution with such errors, ``(crystals,)``."""
        weights = _kernel(_squares(x * self.weight, self.known * self.weight), self.length)
        mean = max(float(self.errors.mean()), TINY)
        found = (weights @ self.errors + ANYWHERE * mean) / (weights.sum(axis=1) + ANYWHERE)
        scaled: Values = found * np.sqrt(np.pi / 2)
        return scaled


def parts(groups: Rows) -> Sequence[Rows]:
    """Return which crystals are left out together to choose by; whole groups, if there are several."""
    groups = groups if len(np.unique(groups)) > 1 else np.arange(len(groups))
    count = min(FOLDS, len(np.unique(groups)))
    fold = deal(groups, count, np.random.default_rng(0))
    return [np.flatnonzero(fold == part) for part in range(count)]


def _squares(one: Values, other: Values) -> Values:
    """Return squared distances, ``(one, other)``."""
    sums = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    found: Values = np.maximum(sums - 2 * one @ other.T, 0)
    return found


def _kernel(squares: Values, length: float) -> Values:
    found: Values = np.exp(squares / (-2 * length**2))
    return found


def _support(kernel: Values, y: Values, largest: float, free: float) -> SVR:
    # looking at four numbers of ours takes longer than fitting a few crystals, and the kernel is finite
    with config_context(skip_parameter_validation=True, assume_finite=True):
        return SVR(kernel="precomputed", C=largest, epsilon=free).fit(kernel, y)


def _said(model: SVR, kernel: Values) -> Values:
    with config_context(assume_finite=True):
        said: Values = model.predict(kernel)
    return said


def _left_out(kernel: Values, parts: Sequence[Rows], y: Values, largest: float, free: float) -> Values:
    """Return predictions of each crystal by support vectors fitted without its part, ``(crystals,)``."""
    found = np.empty_like(y)

    def leave_out(part: Rows) -> None:
        train = np.delete(np.arange(len(y)), part)
        rows = kernel.take(train, axis=1)
        model = _support(rows.take(train, axis=0), y[train], largest, free)
        found[part] = _said(model, rows.take(part, axis=0))

    # libsvm works without Python's lock
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(leave_out, parts))
    return found
