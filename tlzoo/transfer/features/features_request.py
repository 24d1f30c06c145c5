"""What `tlzoo features` is asked: light to import, for the command line is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to learn, from which features, and how to judge it.

    Attributes:
        sources: Labelled crystals: folders, archives, tables or named data sets, as ``data.source`` of `tlzoo
            fit`. Several are combined; for a structure that is in more than one, the label of the first
            counts.
        targets: Column to learn. For several tables: one name for all of them, or one for each, separated by
            commas. Not needed if a table has only one column of labels.
        unit: Unit of the target, if the data do not state it.
        features: Where the features come from: models, or `descriptors`. With several, there is a result for
            each of them, for the one chosen within the folds, for their mean, and for the mixture with the
            smallest error. A+B puts the features of A and B side by side.
        layer: Layer to read, which all models must have; auto chooses it within the folds. If the name is
            wrong, the error lists the layers.
        estimators: Regressions to fit: bayesian-ridge, ridge, kernel-ridge, svr, kernel (the mean of
            kernel-ridge and svr), gp (Gaussian process), forest, boosting.
        cv: Kind of cross-validation: leave-one-out, or 5-fold (with any number instead of 5).
        repeats: How often to draw the folds.
        groups: What to leave out together: composition (all crystals of a formula, so that no polymorph is in
            both the training and the test fold) or none.
        base: Column with an approximate value of the target, for example from a cheaper calculation. Whether
            to learn the difference from it, the ratio to it or the target itself is chosen within the folds.
            Predictions need the column, too.
        log: Learn the natural logarithm of the target. Errors are given for the logarithm and in the unit of
            the target.
        curve: Also learn from this many crystals, with the same crystals left out: a learning curve.
        seed: Seed of the folds and the regressions.
    """

    sources: Sequence[str]
    targets: Sequence[str] | None = None
    unit: str | None = None
    features: Sequence[str] = ("descriptors",)
    layer: str = "auto"
    estimators: Sequence[str] = ("bayesian-ridge",)
    cv: str = "leave-one-out"
    repeats: int = 1
    groups: Sequence[str] = ("composition",)
    base: str | None = None
    log: bool = False
    curve: Sequence[int] = ()
    seed: int = 0
