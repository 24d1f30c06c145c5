"""What cross-validation found, as a table for people, figures for programs and predictions for both."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlzoo.crystals import Crystals, with_unit
from tlzoo.evaluation.baselines import errors
from tlzoo.evaluation.results import aligned, error_text
from tlzoo.model.description import plain
from tlzoo.transfer.features.nested import Outcome
from tlzoo.transfer.features.tables import Table, content, described

Values = NDArray[np.float64]

FORMAT: Final = 1
METRICS: Final = ("mae", "rmse", "r2")


@dataclass(frozen=True)
class Result:
    """One way from crystals to a property.

    Attributes:
        group: What was left out together.
        outcome: Its predictions, in the space it learned in.
        seen: Crystals among these that the features' model learned from; None if nobody can tell.
        most: Crystals it learned from, at most; None for all that were not left out.
    """

    features: str
    estimator: str
    group: str
    outcome: Outcome
    seen: int | None
    most: int | None = None

    @property
    def layers(self) -> dict[str, int]:
        """How often each layer was chosen, over folds and repeats; the most frequent first."""
        counts = Counter(c.layer for repeat in self.outcome.chosen for c in repeat)
        return dict(counts.most_common())


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that was asked and found.

    Attributes:
        unit: Its unit; empty if unknown.
        log: Whether its natural logarithm is learned.
        crystals: Those with a known target.
        truth: Their targets, in the unit, ``(crystals,)``.
        data_sha256: SHA-256 of their structures.
        cv: Outer folds.
        results: What was found, in the order asked for.
    """

    tables: Sequence[Table]
    target: str
    unit: str
    log: bool
    crystals: Crystals
    truth: Values
    data_sha256: str
    cv: str
    repeats: int
    seed: int
    results: Sequence[Result]

    def figures(self, result: Result) -> dict[str, dict[str, Any]]:
        """Return errors over all crystals in the unit and, if the logarithm was learned, in it.

        Each is the mean over the repeats, with ``_sd`` its standard deviation if there are several.
        """
        learned = result.outcome.predictions
        spaces = {"unit": (self.truth, np.exp(learned) if self.log else learned)}
        if self.log:
            spaces["ln"] = (np.log(self.truth), learned)
        return {space: _figures(truth, values) for space, (truth, values) in spaces.items()}

    def predictions(self) -> pd.DataFrame:
        """Return every prediction of a crystal that was left out, one row each, in the unit of the target.

        ``deviation`` is the regression's own standard deviation, of the logarithm if that was learned. Of
        several tables ``source`` says which.
        """
        compositions = self.crystals.formulas
        found = []
        for result in self.results:
            outcome = result.outcome
            for repeat, values in enumerate(outcome.predictions):
                fold = outcome.folds[repeat]
                layer = np.array([c.layer for c in outcome.chosen[repeat]], dtype=object)
                facts = {
                    "features": result.features,
                    "estimator": result.estimator,
                    "group": result.group,
                    "crystals": np.nan if result.most is None else result.most,
                    "repeat": repeat,
                    "fold": fold,
                    "id": self.crystals.ids,
                    "composition": compositions,
                    "layer": layer[fold],
                    "target": self.truth,
                    "prediction": np.exp(values) if self.log else values,
                    "deviation": outcome.deviations[repeat],
                }
                if len(self.tables) > 1:
                    facts["source"] = [table.source for table in self.tables for _ in table.ids]
                found.append(pd.DataFrame(facts))
        return pd.concat(found, ignore_index=True)

    @property
    def facts(self) -> dict[str, Any]:
        """What was asked, as plain data."""
        names = ("source", "target", "unit", "log", "data_sha256", "cv", "repeats", "seed")
        return {name: getattr(self, name) for name in names}

    @property
    def source(self) -> str:
        """What the tables are called together."""
        return " + ".join(table.source for table in self.tables)

    def content(self) -> dict[str, Any]:
        """The figures as plain data."""
        found: dict[str, Any] = plain(
            {
                "format": FORMAT,
                **self.facts,
                "tables": [content(table) for table in self.tables],
                "crystals": len(self.crystals),
                "compositions": len(set(self.crystals.formulas)),
                "results": [self.told(result) for result in self.results],
                "warnings": self.warnings,
            },
            "report",
        )
        return found

    def told(self, result: Result) -> dict[str, Any]:
        """Return the figures of a result as plain data."""
        settings = Counter(
            ", ".join(f"{name}={value}" for name, value in c.settings)
            for repeat in result.outcome.chosen
            for c in repeat
        )
        sources = Counter(c.source for repeat in result.outcome.chosen for c in repeat)
        return {
            "features": result.features,
            "estimator": result.estimator,
            "group": result.group,
            "crystals": result.most,
            "figures": self.figures(result),
            "layers": result.layers,
            "settings": {name: count for name, count in settings.items() if name},
            "sources": dict(sources),
            "weights": dict(result.outcome.weights),
            "seen": result.seen,
        }

    @property
    def warnings(self) -> list[str]:
        """What to be wary of."""
        found = dict.fromkeys(
            f"{result.features} has learned from {result.seen} of these {len(self.crystals)} crystals, this "
            "property or another: its features may know them better than new ones."
            for result in self.results
            if result.seen
        )
        return list(found)

    def text(self) -> str:
        """The figures as a table, for a terminal."""
        heads = [*(with_unit(name, self.unit or self.target, "{} ({})") for name in ("MAE", "RMSE")), "R²"]
        if self.log:
            heads = ["MAE (ln)", "RMSE (ln)", "R² (ln)", *heads[:2]]
        cells = [("features", "estimator", "grouped by", "from", *heads, "layer")]
        cells += [self._cells(result) for result in self.results]
        lines = [line.rstrip() for line in aligned(cells, f"<<<<{'>' * len(heads)}<")]
        learned = f"ln {self.target}" if self.log else self.target
        repeats = f", {self.repeats} times" if self.repeats > 1 else ""
        about = (
            f"{learned} of {self.source}, {len(self.crystals):,} crystals of "
            f"{len(set(self.crystals.formulas)):,} compositions; {self.cv}{repeats}:"
        )
        said = [described(table, log=self.log) for table in self.tables if table.repeats]
        return "\n".join([*said, about, *lines, *(f"WARNING: {text}" for text in self.warnings)])

    def _cells(self, result: Result) -> tuple[str, ...]:
        figures = self.figures(result)
        wanted = [("unit", name) for name in METRICS]
        if self.log:
            wanted = [*(("ln", name) for name in METRICS), *wanted[:2]]
        numbers = [
            error_text(figures[space][name], figures[space].get(f"{name}_sd"), digits=3)
            for space, name in wanted
        ]
        total, weights = sum(result.layers.values()), result.outcome.weights
        # of a mixture the sources
        shares = weights or {name: count / total for name, count in result.layers.items()}
        largest = sorted(shares.items(), key=lambda item: -item[1])[:3]
        shown = [f"{name} {100 * share:.0f} %" for name, share in largest]
        layer = next(iter(shares)) if len(shares) == 1 else ", ".join(shown)
        size = "all" if result.most is None else str(result.most)
        return (result.features, result.estimator, result.group, size, *numbers, layer)


def _figures(truth: Values, predictions: Values) -> dict[str, Any]:
    each = [errors(truth, values) for values in predictions]
    figures: dict[str, Any] = {name: float(np.mean([one[name] for one in each])) for name in METRICS}
    if len(each) > 1:
        figures |= {f"{name}_sd": stdev(one[name] for one in each) for name in METRICS}
    return figures
