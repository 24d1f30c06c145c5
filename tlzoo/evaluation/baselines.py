"""Trivial baselines on the same split: what a network must beat before it has learned anything of structure.

Everything is fitted on the training part alone, exactly the labels the network is fitted to, and measured on
validation and test. Nothing here sees a coordinate: only compositions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.splits import Split
from tlzoo.errors import UserError
from tlzoo.nn.elements import covered, properties

Values = NDArray[np.float64]
Rows = NDArray[np.int64]
Metrics = dict[str, float]
Predictions = dict[str, Values]

# fmt: off
PROPERTIES: Final = (
    "group", "period", "valence_electrons", "electronegativity", "covalent_radius", "ionisation_energy",
    "electron_affinity", "molar_volume",
)
# fmt: on
STATISTICS: Final = ("mean", "std", "min", "max", "range")
TREES: Final = 300
# What was predicted last, by what was asked.
_LAST: Final[dict[str, Mapping[str, Mapping[str, Values]]]] = {}
# from here on fewer trees, each node choosing from a third of the features: minutes instead of half an hour
MANY: Final = 20_000


def composition_features(crystals: Crystals) -> Values:
    """Return what the composition alone says of each crystal, ``(crystals, features)``.

    The fraction of each element, Z = 1 … 103, then for each of the properties in ``PROPERTIES`` the
    mean, standard deviation, minimum, maximum and range over the atoms. A property nobody has measured for an
    element is left out of its statistics; it is NaN if that goes for all elements of a crystal.

    Raises:
        UserError: An element has no row in the table of properties.
    """
    fractions = element_fractions(crystals)
    rows = properties()
    table = np.array([[float(rows[z][name] or "nan") for name in PROPERTIES] for z in covered()])
    return np.concatenate([fractions, *(_statistics(fractions, column) for column in table.T)], axis=1)


def element_fractions(crystals: Crystals) -> Values:
    """Return the fraction of atoms of each element, ``(crystals, elements)``; column Z - 1 is element Z.

    Raises:
        UserError: An element has no row in the table of properties.
    """
    last = max(covered())
    if len(crystals.numbers) and int(crystals.numbers.max()) > last:
        raise UserError(
            f"the table of element properties ends at Z = {last}, but a crystal contains Z = "
            f"{int(crystals.numbers.max())}; leave it out"
        )
    return crystals.element_fractions[:, :last]


def random_forest(features: Values, target: Values, train: Rows, rows: Rows, *, seed: int = 0) -> Values:
    """Predict by a random forest of 300 trees.

    More than 20,000 training crystals: 100 trees, each grown on 20,000 of them and a third of the features.

    Args:
        features: Of each crystal, ``(crystals, features)``; NaN is a value of its own kind for a tree.
        target: Of each crystal, ``(crystals,)``.
        train: Rows to fit.
        rows: Rows to predict.
        seed: Seed of the forest.

    Returns:
        Predictions, ``(rows,)``.
    """
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(**_size(train), random_state=seed, n_jobs=-1)
    forest.fit(features[train], target[train])
    # several threads add up the trees in any order: the last digits would vary
    forest.n_jobs = 1
    prediction: Values = forest.predict(features[rows])
    return prediction


def ridge(features: Values, target: Values, train: Rows, rows: Rows) -> Values:
    """Predict by ridge regression on standardised features, the penalty chosen by leave-one-out on ``train``.

    Missing values are replaced by the mean of the training part. Arguments and result are those of
    :func:`random_forest`.

    Returns:
        Predictions, ``(rows,)``.
    """
    from sklearn.linear_model import RidgeCV

    known = features[train]
    # a feature that is unknown for the whole training part becomes the constant 0
    centre = np.nansum(known, axis=0) / np.maximum((~np.isnan(known)).sum(axis=0), 1)
    centred = np.where(np.isnan(features), 0.0, features - centre)
    spread = centred[train].std(axis=0)
    # a feature that hardly varies in training would explode elsewhere
    scaled = np.where(spread > 1e-6, centred / np.maximum(spread, 1e-6), 0.0)
    model = RidgeCV(alphas=np.logspace(-2, 5, 15)).fit(scaled[train], target[train])
    prediction: Values = model.predict(scaled[rows])
    return prediction


def baselines(
    crystals: Crystals,
    targets: NDArray[np.floating[Any]],
    split: Split,
    *,
    seed: int = 0,
    classification: bool = False,
) -> dict[str, dict[str, Metrics]]:
    """Fit the baselines on the training part and measure them on validation and test.

    Args:
        crystals: The table.
        targets: One target of each crystal in physical units, NaN for unknown, ``(crystals,)``; for
            classification the class, from 0.
        split: Rows of the parts; only ``train`` is fitted, as for the network.
        seed: Seed of the random forest.
        classification: Measure accuracies, F1 and AUROC instead of errors.

    Returns:
        ``result[baseline][part][metric]``: for regression ``mean``, ``median``, ``ridge``, ``random forest``
        with ``mae``, ``rmse`` (units of the target) and ``r2``; for classification ``majority`` and
        ``random forest`` with ``accuracy``, ``balanced_accuracy``, ``f1`` (macro over more than two classes)
        and ``auroc``. A part
        without known targets is absent; a metric that does not exist for a part is NaN.

    Raises:
        UserError: No target of the training part is known, or an element has no known properties.
    """
    target = np.asarray(targets, dtype=np.float64).reshape(-1)
    known = {part: rows[~np.isnan(target[rows])] for part, rows in split.parts.items()}
    if not len(known["train"]):
        raise UserError("no target of the training part is known, so there is nothing to fit a baseline to")
    measured = {part: rows for part, rows in known.items() if part != "train" and len(rows)}
    if not measured:
        return {}
    truths = {part: target[rows] for part, rows in measured.items()}
    measure = _class_metrics if classification else errors
    predicted = predictions(crystals, target, known, seed=seed, classification=classification)
    return {
        name: {part: measure(truth, said[part]) for part, truth in truths.items()}
        for name, said in predicted.items()
    }


def predictions(
    crystals: Crystals,
    target: Values,
    parts: Mapping[str, Rows],
    *,
    seed: int = 0,
    classification: bool = False,
) -> Mapping[str, Mapping[str, Values]]:
    """Fit the baselines on the part ``train`` and predict the others; all their targets must be known.

    What was asked last is not computed again: each training of a comparison asks the same.

    Args:
        crystals: The table.
        target: Of each crystal in physical units, or its class, from 0, ``(crystals,)``.
        parts: Rows of the parts.
        seed: Seed of the random forest.
        classification: Predict classes.

    Returns:
        ``result[baseline][part]``: ``(rows,)``, of classes the probabilities, ``(rows, classes)``.
    """
    others = {part: rows for part, rows in parts.items() if part != "train" and len(rows)}
    rows = np.concatenate([parts["train"], *others.values()])
    facts = [crystals.content_hash.encode(), target[rows].tobytes(), rows.tobytes()]
    sizes = {part: len(some) for part, some in {"train": parts["train"], **others}.items()}
    asked = repr(
        (
            seed,
            classification,
            _size(parts["train"]),
            sizes,
            [hashlib.sha256(each).hexdigest() for each in facts],
        )
    )
    if asked not in _LAST:
        train, rest = np.split(np.arange(len(rows)), [sizes["train"]])
        ends = np.cumsum([len(some) for some in others.values()])[:-1]
        fit = classifications if classification else regressions
        found = fit(composition_features(crystals.select(rows)), target[rows], train, rest, seed)
        _LAST.clear()
        _LAST[asked] = {
            name: dict(zip(others, np.split(said, ends), strict=True)) for name, said in found.items()
        }
    return _LAST[asked]


def regressions(features: Values, target: Values, train: Rows, rows: Rows, seed: int = 0) -> Predictions:
    """Return the predictions of each baseline, ``(rows,)``; arguments as of :func:`random_forest`."""
    return {
        "mean": np.full(len(rows), np.mean(target[train])),
        "median": np.full(len(rows), np.median(target[train])),  # the constant of least absolute error
        "ridge": ridge(features, target, train, rows),
        "random forest": random_forest(features, target, train, rows, seed=seed),
    }


def errors(target: Values, prediction: Values) -> Metrics:
    """Return ``mae``, ``rmse`` and ``r2``; R² is NaN where the targets do not vary.

    >>> errors(np.array([0.0, 2.0]), np.array([1.0, 1.0]))
    {'mae': 1.0, 'rmse': 1.0, 'r2': 0.0}
    """
    error = prediction - target
    spread = float(np.square(target - target.mean()).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "r2": 1 - float(np.square(error).sum()) / spread if spread > 0 else float("nan"),
    }


def classifications(features: Values, target: Values, train: Rows, rows: Rows, seed: int = 0) -> Predictions:
    """Return the probabilities of each baseline, ``(rows, classes)``; see :func:`random_forest`."""
    from sklearn.ensemble import RandomForestClassifier

    classes = np.arange(int(target.max()) + 1)
    counts = np.bincount(target[train].astype(np.int64), minlength=len(classes))
    forest = RandomForestClassifier(**_size(train), random_state=seed, n_jobs=-1)
    forest.fit(features[train], target[train].astype(np.int64))
    forest.n_jobs = 1
    probability = np.zeros((len(rows), len(classes)))
    probability[:, forest.classes_] = forest.predict_proba(features[rows])
    return {
        "majority": np.tile(np.eye(len(classes))[counts.argmax()], (len(rows), 1)),
        "random forest": probability,
    }


def _class_metrics(target: Values, probability: Values) -> Metrics:
    from sklearn.metrics import f1_score, roc_auc_score

    truth, chosen = target.astype(np.int64), probability.argmax(axis=1)
    binary = probability.shape[1] == 2
    complete = len(np.unique(truth)) == probability.shape[1] > 1
    score = probability[:, 1] if binary else probability
    return {
        "accuracy": float((truth == chosen).mean()),
        "balanced_accuracy": float(np.mean([(chosen[truth == i] == i).mean() for i in np.unique(truth)])),
        "f1": float(f1_score(truth, chosen, average="binary" if binary else "macro", zero_division=0)),
        "auroc": float(roc_auc_score(truth, score, multi_class="ovr")) if complete else float("nan"),
    }


def _size(train: Rows) -> dict[str, Any]:
    few = {"n_estimators": TREES // 3, "max_features": 1 / 3, "max_samples": MANY}
    return few if len(train) > MANY else {"n_estimators": TREES}


def _statistics(fractions: Values, values: Values) -> Values:
    """Return the statistics of ``STATISTICS`` over the atoms whose value is known, ``(crystals, 5)``."""
    weights = fractions * ~np.isnan(values)
    total = weights.sum(axis=1)
    there = weights > 0
    value = np.nan_to_num(values)
    with np.errstate(invalid="ignore"):
        mean = weights @ value / total
        variance = (weights * np.square(value - np.nan_to_num(mean)[:, None])).sum(axis=1) / total
    low = np.where(there, value, np.inf).min(axis=1)
    high = np.where(there, value, -np.inf).max(axis=1)
    table = np.stack([mean, np.sqrt(variance), low, high, high - low], axis=1)
    table[total == 0] = np.nan
    return table
