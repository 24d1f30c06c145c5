"""From data and sources of features to a report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.module import CrystalDataModule
from tlzoo.errors import UserError
from tlzoo.features import estimators
from tlzoo.features.folds import groups_of
from tlzoo.features.frozen import AUTO, values_of
from tlzoo.features.nested import candidates, mean, nested
from tlzoo.features.report import Report, Result
from tlzoo.features.sources import DESCRIPTORS, seen, source

Values = NDArray[np.float64]

CHOSEN = "any of these"
MEAN = "mean of these"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to learn from what, and how it is judged.

    Attributes:
        source: Path or name of the data.
        target: Column to learn; the data set's own if it has only one.
        unit: Its unit, where the source does not know it.
        features: Where features come from, as of :func:`~tlzoo.features.sources.source`.
        layer: A layer that all of them have, or ``auto``: chosen within each fold.
        estimators: Kinds of regression, as of :data:`~tlzoo.features.estimators.ESTIMATORS`.
        cv: ``leave-one-out``, or ``5-fold`` with any number.
        repeats: How often the folds are drawn.
        groups: What is left out together: ``composition``, ``none``, or one after the other.
        log: Learn the natural logarithm.
        seed: Seed of all draws.
    """

    source: str
    target: str | None = None
    unit: str | None = None
    features: Sequence[str] = (DESCRIPTORS,)
    layer: str = AUTO
    estimators: Sequence[str] = ("bayesian-ridge",)
    cv: str = "leave-one-out"
    repeats: int = 1
    groups: Sequence[str] = ("composition",)
    log: bool = False
    seed: int = 0


def transfer(request: Request) -> Report:
    """Cross-validate regressions on frozen features, one result per source, regression and grouping.

    With several sources there are two more: for ``any of these`` the source is chosen within each fold too,
    ``mean of these`` is the mean of the predictions with each.

    Raises:
        UserError: The data or a model cannot be read, there is no such layer or regression, or too little is
            known of the target.
    """
    if request.repeats < 1:
        raise UserError(f"repeats must be at least 1, got {request.repeats}")
    if not request.features:
        raise UserError("name at least one source of features: descriptors, or a model")
    kinds = [estimators.find(name) for name in request.estimators]
    data = CrystalDataModule(
        request.source,
        targets=[request.target] if request.target else None,
        units={request.target: request.unit} if request.target and request.unit else None,
    )
    rows, truth = known(data, log=request.log)
    crystals = data.crystals.select(rows)
    features = collect(request, crystals)
    learned = {name: seen(name, data.crystals, rows) for name in dict.fromkeys(request.features)}
    results = []
    for kind in kinds:
        choices = candidates(features, kind)
        if len(choices) > 1:
            choices[CHOSEN] = [candidate for each in choices.values() for candidate in each]
        for group in request.groups:
            outcomes = nested(
                features,
                np.log(truth) if request.log else truth,
                groups_of(crystals, group),
                kind,
                choices,
                cv=request.cv,
                repeats=request.repeats,
                seed=request.seed,
            )
            if CHOSEN in outcomes:
                outcomes[MEAN] = mean([outcomes[name] for name in learned])
            results += [
                Result(name, kind.name, group, outcome, learned.get(name))
                for name, outcome in outcomes.items()
            ]
    return Report(
        source=request.source,
        target=data.targets[0],
        unit=data.units[0],
        log=request.log,
        crystals=crystals,
        truth=truth,
        data_sha256=crystals.content_hash,
        cv=request.cv,
        repeats=request.repeats,
        seed=request.seed,
        results=results,
    )


def known(data: CrystalDataModule, *, log: bool) -> tuple[NDArray[np.int64], Values]:
    """Return the rows with a known target and their targets.

    Raises:
        UserError: There are several targets, hardly any known label, or one that has no logarithm.
    """
    if len(data.targets) != 1:
        raise UserError(f"wanted one number per crystal to learn, got {', '.join(data.targets)}")
    name = data.targets[0]
    labels = data.target_values(np.arange(len(data.crystals))).numpy()[:, 0].astype(np.float64)
    rows = np.flatnonzero(~np.isnan(labels))
    labels = labels[rows]
    if len(rows) < 3 or np.ptp(labels) == 0:
        raise UserError(
            f"{name} has {len(rows)} known value(s) in {data.source}, {len(np.unique(labels))} of them "
            "different: there is nothing to learn"
        )
    if log and (wrong := np.flatnonzero(labels <= 0)).size:
        row = int(rows[wrong[0]])
        raise UserError(
            f"{name} of {data.crystals.origin(row)} is {labels[wrong[0]]:g}, which has no logarithm "
            f"({wrong.size} of {len(rows)} are not positive); leave out --log, or these crystals"
        )
    return rows, labels


def collect(request: Request, crystals: Crystals) -> dict[tuple[str, str], Values]:
    """Return the features asked for, by source and layer, ``(crystals, dim)`` each."""
    found: dict[tuple[str, str], Values] = {}
    for name in dict.fromkeys(request.features):
        here = source(name)
        layers = here.layers if request.layer == AUTO else [request.layer]
        try:
            here.check(layers[0])
        except UserError as error:
            raise UserError(f"{name}: {error}; or leave the choice to --layer auto") from error
        found |= {(name, layer): values for layer, values in values_of(here, crystals, layers).items()}
    return found
