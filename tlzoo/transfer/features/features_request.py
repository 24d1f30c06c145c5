"""What `tlzoo features` is asked: light to import, for the command line is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to learn from what, and how it is judged.

    Attributes:
        sources: Folders, archives, tables or named data sets, as ``data.source`` of `tlzoo fit`; several are
            learned from together, and of a structure that several hold the first says what is learned.
        targets: Column to learn; of several tables one for all, or one each, with commas between them. Not
            needed if a table has only one.
        unit: Its unit, where the data do not say.
        features: Models, or descriptors; with several, a result for each, one for which the model is chosen
            within the folds, one for the mean, and one for the mixture that errs least. A+B puts the features
            of A and B side by side.
        layer: A layer that all of them have, or auto: chosen within the folds. A wrong name lists those there
            are.
        estimators: Regressions: bayesian-ridge, ridge, kernel-ridge, svr, kernel (the mean of these two), gp,
            forest, boosting.
        cv: Which cross-validation: leave-one-out, or 5-fold with any number.
        repeats: Draw the folds so many times.
        groups: What is left out together: composition, so that polymorphs never straddle, or none.
        base: Column of the tables that is nearly the target, of a cheap calculation, say: whether its error,
            the ratio to it or the target itself is learned is chosen within the folds. Needed to predict,
            too.
        log: Learn the natural logarithm; errors are given in it and in the unit.
        curve: Learn from so many crystals, too: a learning curve, each with the same crystals left out.
        seed: Seed of folds and regressions.
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
