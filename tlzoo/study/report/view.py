"""What one figure of a study's page shows."""

from dataclasses import dataclass

import pandas as pd

from tlzoo.errors import UserError
from tlzoo.study.axes import Label
from tlzoo.study.report.measures import Measures, Row
from tlzoo.study.report.outline import OF_GAINS, Plan


@dataclass(frozen=True)
class View:
    """What a figure shows: some rows of the numbers, by a plan of which axis has which role."""

    numbers: Measures
    plan: Plan
    part: pd.DataFrame

    def name(self, role: str) -> str | None:
        """Return the axis in a role, if there is one."""
        return self.plan.roles.get(role)

    def values(self, role: str) -> list[Label]:
        """Return the values in a role that the rows have, in the study's order."""
        name = self.plan.roles[role]
        there = set(self.part[name])
        return [value for value in self.numbers.values(name) if value in there]

    def split(self, role: str, part: pd.DataFrame) -> list[tuple[str, int, pd.DataFrame]]:
        """Return rows by the values of a role, each with its place among all; all of them without a role."""
        name = self.name(role)
        if name is None:
            return [("", 0, part)]
        return [
            (str(value), place, several)
            for place, value in enumerate(self.numbers.values(name))
            if len(several := part[part[name] == value])
        ]

    def runs(self, row: Row) -> pd.DataFrame:
        """Return the single runs of a row."""
        runs = self.numbers.runs
        for name, value in zip(self.numbers.kept, self.numbers.key(row), strict=True):
            runs = runs[runs[name] == value]
        return runs

    @property
    def against(self) -> str:
        """What the baseline is called."""
        return ", ".join(map(str, self.numbers.study.report.baseline.values()))

    @property
    def publisher(self) -> str:
        """What the published numbers are called; empty if there are none for these rows."""
        published = self.numbers.published
        column = "published_gain" if self.plan.kind in OF_GAINS else "published_mae"
        return published.reference.name if published and self.part[column].notna().any() else ""

    def unit(self, part: pd.DataFrame) -> str:
        """Return the unit of rows in one panel.

        Raises:
            UserError: There are several.
        """
        units = sorted(set(part["unit"]))
        if len(units) > 1:
            raise UserError(
                f"{self.numbers.study.path}: report: a panel of {self.plan.kind} would have errors in "
                f"{' and in '.join(units)}; give the axis with the properties the role panels"
            )
        return str(units[0])
