"""From data and sources of features to a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import Crystals
from tlzoo.data.known_elements import symbols
from tlzoo.errors import UserError
from tlzoo.model.answering import Stores
from tlzoo.transfer.features import estimators, tables
from tlzoo.transfer.features.base import Bases
from tlzoo.transfer.features.calibration import STACK, coverage, widths
from tlzoo.transfer.features.features_request import Request
from tlzoo.transfer.features.findings import Report, Result
from tlzoo.transfer.features.folds import check_folds, folds_of, groups_of
from tlzoo.transfer.features.frozen import AUTO
from tlzoo.transfer.features.layers import Source, activations, source
from tlzoo.transfer.features.nested import Learner, candidates, mean, nested
from tlzoo.transfer.features.saved import LEARNED, Part, SavedFeatures, standardised
from tlzoo.transfer.features.tables import Labels

Values = NDArray[np.float64]

# Fewer crystals give no choice of a layer.
LEAST = 5
CHOSEN = "any of these"
MEAN = "mean of these"


@dataclass(frozen=True)
class Problem:
    """What was asked, with everything that was read for it.

    Attributes:
        labels: The crystals with a known target, and their targets.
        features: By source and layer, ``(crystals, dim)`` each.
        bases: What is nearly the target, by source and layer, then by name.
        sizes: How many features each of several sources side by side has, by source and layer.
    """

    request: Request
    labels: Labels
    features: Mapping[tuple[str, str], Values]
    bases: Mapping[tuple[str, str], Bases] = field(default_factory=dict)
    sizes: Mapping[tuple[str, str], Sequence[int]] = field(default_factory=dict)

    @property
    def crystals(self) -> Crystals:
        """The crystals with a known target."""
        return self.labels.crystals

    @property
    def learned(self) -> Values:
        """What is learned: the targets or their natural logarithms, ``(crystals,)``."""
        return np.log(self.labels.truth) if self.request.log else self.labels.truth

    @property
    def draws(self) -> dict[str, Any]:
        """How the folds are drawn, as arguments of :func:`~tlzoo.transfer.features.nested.nested`."""
        return {"cv": self.request.cv, "repeats": self.request.repeats, "seed": self.request.seed}


def read(request: Request) -> Problem:
    """Read the data and compute the features.

    Raises:
        UserError: A table or a model cannot be read, there is no such layer, too little is known of the
            target, or the tables hold different quantities.
    """
    check(request)
    wanted = layers(request)
    labels = tables.read(request.sources, request.targets, request.unit, log=request.log, base=request.base)
    sizes(request, len(labels.crystals))
    for group in request.groups:
        folds_of(groups_of(labels.crystals, group), request.cv, np.random.default_rng(request.seed))
    features = collect(wanted, labels.crystals)
    # a logarithm has no unit
    unit = "" if request.log else labels.unit
    bases = {
        (name, layer): near(wanted[name][0], layer, values, unit)
        for (name, layer), values in features.items()
    }
    if request.base is not None and labels.base is not None:
        bases = {place: {**each, request.base: labels.base} for place, each in bases.items()}
    sizes_of = {(name, layer): wanted[name][0].sizes(layer) for name, layer in features}
    known = {place: each for place, each in bases.items() if each}
    return Problem(request, labels, features, known, sizes_of)


def check(request: Request) -> None:
    """Refuse what can be refused before anything is read.

    Raises:
        UserError: There is such a thing.
    """
    if not request.features:
        raise UserError("name at least one source of features: descriptors, or a model")
    if request.repeats < 1:
        raise UserError(f"repeats must be at least 1, got {request.repeats}")
    for name in request.estimators:
        estimators.find(name)
    check_folds(request.groups, request.cv)
    tables.columns(request.sources, request.targets)


def transfer(request: Request, problem: Problem | None = None) -> Report:
    """Cross-validate regressions on frozen features, one result per source, regression and grouping.

    With several sources there are three more: for ``any of these`` the source is chosen within each fold
    too, ``mean of these`` is the mean of the predictions with each, and ``stack of these`` the mixture that
    errs least within the fold.

    Raises:
        UserError: As of :func:`read`, or there is no such regression.
    """
    check(request)
    kinds = [estimators.find(name) for name in request.estimators]
    problem = problem or read(request)
    labels, crystals = problem.labels, problem.crystals
    learned = {name: labels.seen(name) for name in dict.fromkeys(request.features)}
    results = []
    for kind, group, most in product(kinds, request.groups, sizes(request, len(crystals))):
        choices = candidates(problem.features, kind)
        if len(choices) > 1:
            choices[CHOSEN] = [candidate for each in choices.values() for candidate in each]
        groups = groups_of(crystals, group)
        stack = STACK if CHOSEN in choices else ""
        outcomes = nested(
            problem.features,
            problem.learned,
            groups,
            kind,
            choices,
            most=most,
            bases=problem.bases,
            sizes=problem.sizes,
            stack=stack,
            **problem.draws,
        )
        if stack:
            outcomes[MEAN] = mean([outcomes[name] for name in learned])
            outcomes[stack] = outcomes.pop(stack)  # last
        results += [
            Result(name, kind.name, group, outcome, learned.get(name), most)
            for name, outcome in outcomes.items()
        ]
    return Report(
        tables=labels.tables,
        target=labels.target,
        unit=labels.unit,
        log=request.log,
        crystals=crystals,
        truth=labels.truth,
        data_sha256=crystals.content_hash,
        results=results,
        **problem.draws,
    )


def fit(problem: Problem, report: Report, *, cover: bool = False) -> SavedFeatures:
    """Fit the regression to all crystals with a known target, of several sources the mixture of theirs.

    Layer, settings and weights are chosen as within a fold; intervals are calibrated on what was left out.

    With ``cover`` it is seen what the intervals hold, too, which takes ten times as long as the report.

    Raises:
        UserError: There are several regressions, or one that cannot be kept without pickling it.
    """
    request = problem.request
    name = check_saved(request.estimators)
    kind, crystals = estimators.find(name), problem.crystals
    everything = np.arange(len(crystals))
    groups = groups_of(crystals, request.groups[0])
    choices = candidates(problem.features, kind)
    learner = Learner(
        problem.features,
        problem.learned,
        groups,
        kind,
        request.seed,
        everything,
        problem.bases,
        problem.sizes,
    )
    models = [learner.best(each) for each in choices.values()]
    weights = learner.weights(models)
    # what counts nothing need not be computed
    parts = [
        Part(best.source, best.layer, source(best.source), learner.fitted(best), float(weight))
        for best, weight in zip(models, weights, strict=True)
        if weight
    ]
    features = [problem.features[part.name, part.layer] for part in parts]
    # one result, or the mixture, which comes last
    judged = [one for one in report.results if one.group == request.groups[0] and one.most is None][-1]
    card = {
        **report.facts,
        "tables": [
            {"source": table.source, "target": table.target, "crystals": list(table.ids)}
            for table in report.tables
        ],
        "estimator": name,
        "base": request.base,
        "elements": symbols(crystals),
        "judged": report.told(judged),
    }
    if np.isfinite(judged.outcome.deviations).all():
        card["calibration"] = {
            "crystals": len(crystals),
            "widths": widths(judged.outcome, problem.learned),
            "coverage": coverage(
                problem.features,
                problem.learned,
                groups,
                kind,
                choices,
                bases=problem.bases,
                sizes=problem.sizes,
                **problem.draws,
            )
            if cover
            else None,
        }
    return SavedFeatures(parts, card, standardised(parts, features))


def check_saved(names: Sequence[str]) -> str:
    """Return the only regression asked for, if it can be kept.

    Raises:
        UserError: There are several, or it cannot.
    """
    if len(names) != 1 or names[0] not in LEARNED:
        raise UserError(f"one estimator can be saved, of {', '.join(LEARNED)}; got {', '.join(names)}")
    return names[0]


def sizes(request: Request, crystals: int) -> list[int | None]:
    """Return from how many crystals to learn, one after the other; None for all that are not left out.

    Raises:
        UserError: They are too few, or more than there are.
    """
    if wrong := [size for size in request.curve if not LEAST <= size < crystals]:
        raise UserError(
            f"a learning curve over {crystals} crystals goes from {LEAST} to {crystals - 1}, got {wrong[0]}"
        )
    return [*sorted(set(request.curve)), None]


def layers(request: Request) -> dict[str, tuple[Source, Sequence[str]]]:
    """Return the sources asked for, and their layers.

    Raises:
        UserError: A model cannot be read, or has no such layer.
    """
    wanted: dict[str, tuple[Source, Sequence[str]]] = {}
    for name in dict.fromkeys(request.features):
        here = source(name)
        named = here.layers if request.layer == AUTO else [request.layer]
        try:
            here.check(named[0])
        except UserError as error:
            raise UserError(f"{name}: {error}; or leave the choice to --layer auto") from error
        wanted[name] = here, named
    return wanted


def near(of: Source, layer: str, values: Values, unit: str) -> Bases:
    """Return the columns of a layer that have the target's unit, ``(crystals,)`` each, by name."""
    if unit in ("", "1"):  # numbers without a unit have nothing in common
        return {}
    there = {name: i for i, name in enumerate(of.columns(layer))}
    return {name: values[:, there[name]] for name, here in of.units(layer).items() if here == unit}


def collect(
    wanted: Mapping[str, tuple[Source, Sequence[str]]], crystals: Crystals, made: Stores | None = None
) -> dict[tuple[str, str], Values]:
    """Return layers of sources, by both, ``(crystals, dim)`` each; as of :func:`activations`."""
    found: dict[tuple[str, str], Values] = {}
    for name, activated in activations(wanted, crystals, made).items():
        different: dict[str, Values] = {}
        for layer, values in activated.items():
            # the last layer of a network on descriptors is the embedding: it need not be tried twice
            if not any(np.array_equal(values, other) for other in different.values()):
                different[layer] = values.astype(np.float64)
        found |= {(name, layer): values for layer, values in different.items()}
    return found
