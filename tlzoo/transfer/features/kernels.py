r"""Regressions with a Gaussian kernel, for some dozen to a thousand crystals; they choose their settings.

All predict

.. math::
    f(x) = c + \sum_j a_j \exp\left(-\frac{\lVert x - x_j \rVert^2}{2 \ell^2}\right)

from the crystals :math:`x_j` that they learned from. A length scale is chosen as a multiple of the spread
:math:`\sqrt{\sum_k \mathrm{var}(x_k)}` of the features, the root of their number where they are standardised.

Choices are made by the mean absolute error of crystals left out within what is fitted to, whole groups;
distances and decompositions are computed once.
"""

from collections.abc import Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.svm import SVR

from tlzoo.evaluation.crossval import deal

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

# Length scales; two standardised crystals are about √2 apart.
LENGTHS: Final = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)
# Penalties, in parts of the kernel's diagonal.
PENALTIES: Final = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# Of support vectors, in deviations of the label: the largest coefficient, and errors that cost nothing.
LARGEST: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
FREE: Final = (0.01, 0.05, 0.1, 0.2)
# Folds of the choices.
FOLDS: Final = 10
# Eigenvalues below are rounding.
ROUNDING: Final = 1e-10


class Kernels:
    """What regressions on the same crystals share: distances, decompositions, folds.

    Args:
        x: Features, ``(crystals, features)``.
        groups: Label of each crystal, ``(crystals,)``; equal ones are left out together. All differ by
            default.

    Attributes:
        spread: Root of the summed variances of the features.
        parts: Crystals that are left out together to choose by.
    """

    def __init__(self, x: Values, groups: Rows | None = None) -> None:
        self.x, self.squares = x, _squares(x, x)
        self.spread = float(np.sqrt(x.var(axis=0).sum())) or 1.0
        groups = np.arange(len(x)) if groups is None else groups
        count = min(FOLDS, len(np.unique(groups)))
        fold = deal(groups, count, np.random.default_rng(0))
        self.parts: Sequence[Rows] = [np.flatnonzero(fold == part) for part in range(count)]
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
        return -float((len(y) - 1) * np.log(y @ dual) + size) / 2

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
    """What chooses its settings by crystals that are left out.

    Attributes:
        left_out_: Predictions of what it was fitted to, each made without its group, with the settings that
            were chosen, ``(crystals,)``.
    """

    left_out_: Values


class Expansion(KernelRegressor):
    """A sum over known crystals.

    Attributes:
        known_: Features of the crystals with a coefficient, ``(crystals, features)``.
        dual_: Their coefficients, ``(crystals,)``.
        intercept_: What is said far from all.
        length_: Length scale, in the units of the features.
    """

    LEARNED: Final = ("known_", "dual_", "intercept_", "length_")

    def predict(self, x: Values) -> Values:
        """Return predictions, ``(crystals,)``."""
        found: Values = _kernel(_squares(x, self.known_), self.length_) @ self.dual_ + self.intercept_
        return found


class KernelRidge(Expansion):
    """Kernel ridge regression with an intercept; length scale and penalty are chosen in closed form.

    Attributes:
        penalty_: In parts of the kernel's diagonal.
    """

    def fit(self, x: Values, y: Values, groups: Rows | None = None, kernels: Kernels | None = None) -> Self:
        """Fit to features, ``(crystals, features)``, and labels, ``(crystals,)``."""
        kernels = kernels or Kernels(x, groups)
        best = np.inf
        for length in LENGTHS:
            for penalty in PENALTIES:
                left_out = kernels.left_out(length, penalty, y)
                error = float(np.abs(left_out - y).mean())
                if error < best:
                    best, self.length_, self.penalty_ = error, length, penalty
                    self.left_out_ = left_out
        self.known_ = x
        self.dual_, self.intercept_ = kernels.solved(self.length_, self.penalty_, y)
        self.length_ *= kernels.spread
        return self


class SupportVectors(Expansion):
    """Support vector regression; its settings are chosen one after the other."""

    def fit(self, x: Values, y: Values, groups: Rows | None = None, kernels: Kernels | None = None) -> Self:
        """Fit to features, ``(crystals, features)``, and labels, ``(crystals,)``."""
        kernels = kernels or Kernels(x, groups)
        scale = float(y.std()) or 1.0
        z = (y - y.mean()) / scale
        tried: dict[tuple[float, float, float], Values] = {}

        def error(settings: tuple[float, float, float]) -> float:
            if settings not in tried:
                tried[settings] = _left_out(kernels.matrix(settings[0]), kernels.parts, z, *settings[1:])
            return float(np.abs(tried[settings] - z).mean())

        best = (1.0, 2.0, 0.05)
        for place, values in enumerate((LENGTHS, LARGEST, FREE)):
            best = min(((*best[:place], value, *best[place + 1 :]) for value in values), key=error)
        self.settings_ = best
        self.left_out_ = tried[best] * scale + y.mean()
        model = _support(kernels.matrix(best[0]), z, *best[1:])
        self.known_ = x[model.support_]
        self.dual_ = model.dual_coef_[0] * scale
        self.intercept_ = float(model.intercept_[0]) * scale + float(y.mean())
        self.length_ = best[0] * kernels.spread
        return self


class GaussianProcess(Expansion):
    r"""A Gaussian process with a constant mean; length scale and noise maximise the (restricted) evidence.

    Attributes:
        variance_: Of the function.
        noise_: Of the labels, in parts of it.
        root_: What maps covariances with the known crystals to those of independent normal numbers,
            ``(crystals, crystals)``.
    """

    LEARNED: Final = (*Expansion.LEARNED, "variance_", "noise_", "root_")

    def fit(self, x: Values, y: Values, groups: Rows | None = None, kernels: Kernels | None = None) -> Self:
        """Fit to features, ``(crystals, features)``, and labels, ``(crystals,)``."""
        kernels = kernels or Kernels(x, groups)
        settings = [(length, noise) for length in LENGTHS for noise in PENALTIES]
        length, self.noise_ = max(settings, key=lambda some: kernels.evidence(*some, y))
        self.known_, self.length_ = x, length * kernels.spread
        self.dual_, self.intercept_ = kernels.solved(length, self.noise_, y)
        self.left_out_ = kernels.left_out(length, self.noise_, y)
        self.variance_ = float(y @ self.dual_) / (len(y) - 1)
        values, vectors = kernels.spectrum(length)
        self.root_ = vectors.T / np.sqrt(values + self.noise_)[:, None]
        return self

    def predict(self, x: Values, *, return_std: bool = False) -> Values | tuple[Values, Values]:
        """Return predictions, and their standard deviations if asked for, noise included, ``(crystals,)``."""
        mean = super().predict(x)
        if not return_std:
            return mean
        along = _kernel(_squares(x, self.known_), self.length_) @ self.root_.T
        ones = self.root_.sum(axis=1)
        doubt = np.square(1 - along @ ones) / float(ones @ ones)
        rest = 1 + self.noise_ - np.square(along).sum(axis=1) + doubt
        return mean, np.sqrt(self.variance_ * np.maximum(rest, self.noise_))


class KernelMean(KernelRegressor):
    """The mean of kernel ridge and support vector regression.

    Attributes:
        ridge_: The former.
        vectors_: The latter.
    """

    def fit(self, x: Values, y: Values, groups: Rows | None = None) -> Self:
        """Fit to features, ``(crystals, features)``, and labels, ``(crystals,)``."""
        kernels = Kernels(x, groups)
        self.ridge_ = KernelRidge().fit(x, y, kernels=kernels)
        self.vectors_ = SupportVectors().fit(x, y, kernels=kernels)
        self.left_out_ = (self.ridge_.left_out_ + self.vectors_.left_out_) / 2
        return self

    def predict(self, x: Values) -> Values:
        """Return predictions, ``(crystals,)``."""
        return (self.ridge_.predict(x) + self.vectors_.predict(x)) / 2


def _squares(one: Values, other: Values) -> Values:
    """Return squared distances, ``(one, other)``."""
    sums = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    found: Values = np.maximum(sums - 2 * one @ other.T, 0)
    return found


def _kernel(squares: Values, length: float) -> Values:
    found: Values = np.exp(squares / (-2 * length**2))
    return found


def _support(kernel: Values, y: Values, largest: float, free: float) -> SVR:
    return SVR(kernel="precomputed", C=largest, epsilon=free).fit(kernel, y)


def _left_out(kernel: Values, parts: Sequence[Rows], y: Values, largest: float, free: float) -> Values:
    """Return predictions of each crystal by support vectors fitted without its part, ``(crystals,)``."""
    found = np.empty_like(y)
    for part in parts:
        train = np.setdiff1d(np.arange(len(y)), part)
        model = _support(kernel[np.ix_(train, train)], y[train], largest, free)
        found[part] = model.predict(kernel[np.ix_(part, train)])
    return found
