"""Published errors from a reference table, found by what a study says about its axes."""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Final

from tlzoo.errors import UserError
from tlzoo.study.axes import Label, Labels
from tlzoo.study.report.outline import Reference

COLUMNS: Final = ("unit", "mae_mean", "mae_sd")


@dataclass(frozen=True)
class Published:
    """A reference table at hand."""

    reference: Reference
    path: Path
    rows: tuple[Mapping[str, str], ...]

    @classmethod
    def find(cls, reference: Reference, beside: Path) -> "Published | None":
        """Read the table; None if it is nowhere.

        Looked for beside the study, from the working directory, in the folder ``TLZOO_REFERENCE``, then in
        ``reference`` beside the folder ``TLZOO_DATA``.

        Raises:
            UserError: It cannot be read, or columns are missing.
        """
        folders = [beside, Path()]
        if (own := os.environ.get("TLZOO_REFERENCE")) is not None:
            folders.append(Path(own))
        if (data := os.environ.get("TLZOO_DATA")) is not None:
            folders.append(Path(data).resolve().parent / "reference")
        path = next((found for folder in folders if (found := folder / reference.file).is_file()), None)
        if path is None:
            return None
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = tuple(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} cannot be read as CSV: {error}") from error
        named = {*COLUMNS, *reference.where}
        for values in reference.axes.values():
            named |= (
                {values} if isinstance(values, str) else {name for one in values.values() for name in one}
            )
        if lacking := named - set(rows[0] if rows else ()):
            raise UserError(
                f"{path}: wanted the columns {', '.join(sorted(named))}; "
                f"there is no {', '.join(sorted(lacking))}"
            )
        return cls(reference, path, rows)

    def error(self, labels: Labels) -> tuple[float, float, str]:
        """Return mean and standard deviation of the test MAE, and its unit; NaN where nothing is published.

        Raises:
            UserError: Several lines are meant.
        """
        wanted: dict[str, Label] = dict(self.reference.where)
        for name, values in self.reference.axes.items():
            if isinstance(values, str):
                wanted[values] = labels[name]
            elif labels[name] in values:
                wanted |= values[labels[name]]
            else:
                return nan, nan, ""
        found = [row for row in self.rows if all(_same(row[name], value) for name, value in wanted.items())]
        if len(found) > 1:
            told = ", ".join(f"{name}={value}" for name, value in wanted.items())
            raise UserError(
                f"{self.path}: {len(found)} lines have {told}; report.reference must say which one is meant"
            )
        if not found:
            return nan, nan, ""
        mean, spread = (float(found[0][name] or "nan") for name in COLUMNS[1:])
        return mean, spread, found[0]["unit"]


def _same(cell: str, value: Label) -> bool:
    if cell == str(value):
        return True
    try:
        return float(cell) == float(value)
    except ValueError:
        return False
