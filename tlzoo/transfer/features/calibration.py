r"""How wide an interval must be to hold as many crystals as it says: measured on crystals left out.

With the deviation :math:`\sigma_i` that a regression states of a crystal that it has not seen, the widths are
quantiles of

.. math::
    s_i = |y_i - \hat y_i| / \sigma_i,

the :math:`\lceil (n + 1) p \rceil`-th smallest of n (cross-conformal prediction: Vovk, Ann. Math. Artif.
Intell. 74, 9, 2015). Crystals of a group are left out together, so the widths hold for new groups, as far as
these are like those known.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.evaluation.crossval import deal
from tlzoo.machine.progress import bar
from tlzoo.transfer.features.estimators import Estimator
from tlzoo.transfer.features.nested import AllBases, AllSizes, Candidate, Learner, Outcome, nested

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

STACK: Final = "stack of these"
# What intervals hold, and how many deviations of a normal distribution that is.
LEVELS: Final[Mapping[str, float]] = {"0.68": 1.0, "0.9": 1.6448536269514722, "0.95": 1.959963984540054}
# Parts of the crystals that are left out in turn to see what the intervals hold.
FOLDS: Final = 10


def widths(outcome: Outcome, truth: Values) -> dict[str, float]:
    """Return half widths of intervals by their level, in deviations that the regression states.

    Too few crystals for a level (fewer than 19 for 0.95) give the largest of their deviations.

    ``truth`` is what was learned, ``(crystals,)``; of several repeats all count.
    """
    scores = np.sort((np.abs(outcome.predictions - truth) / outcome.deviations).reshape(-1))
    each = len(scores) / len(truth)
    ranks = {level: np.ceil(each * (len(truth) + 1) * float(level) - 1e-9) for level in LEVELS}
    return {level: float(scores[min(len(scores), int(rank)) - 1]) for level, rank in ranks.items()}


def coverage(
    features: Mapping[tuple[str, str], Values],
    truth: Values,
    groups: Rows,
    estimator: Estimator,
    choices: Mapping[str, Sequence[Candidate]],
    *,
    cv: str,
    repeats: int,
    seed: int,
    bases: AllBases | None = None,
    sizes: AllSizes | None = None,
) -> dict[str, Any]:
    """Return the part of the crystals that intervals hold if nothing of it was known to anything.

    Each of ten parts is left out; on the rest all is done as for a regression that is kept: cross-validation,
    widths, choice of a layer, fit, and of several sources the weights.

    Arguments as of :func:`~tlzoo.transfer.features.nested.nested`; ``choices`` are those of each source.

    Returns:
        By level, with and without calibration: ``{"calibrated": {"0.9": …}, "as stated": {"0.9": …}}``.
    """
    folds = deal(groups, min(FOLDS, len(np.unique(groups))), np.random.default_rng(seed))
    held: dict[str, Any] = {"calibrated": dict.fromkeys(LEVELS, 0), "as stated": dict.fromkeys(LEVELS, 0)}
    numbers = range(int(folds.max()) + 1)
    for fold in bar(len(numbers), "coverage", "fold", iterable=numbers):
        train, left = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        some = {name: values[train] for name, values in features.items()}
        found = nested(
            some,
            truth[train],
            groups[train],
            estimator,
            choices,
            cv=cv,
            repeats=repeats,
            seed=seed,
            progress=False,
            bases={
                place: {name: values[train] for name, values in each.items()}
                for place, each in (bases or {}).items()
            },
            sizes=sizes,
            stack=STACK if len(choices) > 1 else "",
        )
        needed = widths([*found.values()][-1], truth[train])
        learner = Learner(features, truth, groups, estimator, seed, train, bases, sizes)
        models = [learner.best(each) for each in choices.values()]
        value, deviation = learner.mixture(models, learner.weights(models), left)
        scores = np.abs(value - truth[left]) / deviation
        for name, stated in LEVELS.items():
            held["calibrated"][name] += int((scores <= needed[name]).sum())
            held["as stated"][name] += int((scores <= stated).sum())
    return {kind: {name: n / len(truth) for name, n in counts.items()} for kind, counts in held.items()}
