"""Everything that is wrong or strange with a data set, at once, by file and row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import SYMBOLS, Crystals, with_unit
from tlzoo.data.duplicates import MANY, candidates, duplicate_groups, exact_copies
from tlzoo.data.known_elements import uncovered_rows, uncovered_text
from tlzoo.data.labelled_table import LabelledTable
from tlzoo.data.sources import Place, Problem, read_all
from tlzoo.data.sources.labels import unlearnable, with_classes
from tlzoo.data.sources.records import strange_structures
from tlzoo.data.sources.repeats import SameId
from tlzoo.descriptors.descriptor_options import DescriptorOptions
from tlzoo.descriptors.suitability import Options, unusable
from tlzoo.errors import UserError, no_such
from tlzoo.graphs.formula_options import FormulaOptions
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.machine.plural import counted

Numbers = Mapping[str, NDArray[np.float64]]
Rows = NDArray[np.int64]

# A value this many robust standard deviations from the median is worth a look.
OUTLIER = 8.0

# If more than this part of the values is that far, they are not odd: most are zero, or the tail is heavy.
HEAVY_TAIL = 0.05

# Standard deviation of a normal distribution over its median absolute deviation.
MAD_TO_SD = 1.4826

# Warnings and notes of one kind that are listed; errors are all listed.
SHOWN = 20


@dataclass(frozen=True)
class Report:
    """What a check found: sizes and ranges, one line each; problems; whether there is anything to learn."""

    source: str
    summary: Sequence[str]
    problems: Sequence[Problem]
    labelled: bool = True

    @property
    def errors(self) -> list[Problem]:
        """What stops training: unreadable rows, targets that are no numbers, atoms without neighbours."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """What is worth a look: duplicate structures, missing targets, outliers."""
        return [problem for problem in self.problems if problem.severity == "warning"]

    @property
    def notes(self) -> list[Problem]:
        """What the parsers remarked."""
        return [problem for problem in self.problems if problem.severity == "note"]

    @property
    def exit_code(self) -> int:
        """0, or 2 if there are errors."""
        return 2 if self.errors else 0

    def text(self) -> str:
        """Return the report as people read it: sizes, problems by severity and kind, the verdict."""
        lines = [self.source, *(f"  {line}" for line in self.summary)]
        for name, problems in (("errors", self.errors), ("warnings", self.warnings), ("notes", self.notes)):
            for kind, same in groupby(sorted(problems, key=lambda p: p.kind), key=lambda p: p.kind):
                found = list(same)
                lines.append(f"{name}: {kind} ({len(found)})")
                shown = found if name == "errors" else found[:SHOWN]
                lines += [f"  {problem}" for problem in shown]
                lines += [f"  … and {len(found) - len(shown)} more"] if len(shown) < len(found) else []
        ready = "ready to train on" if self.labelled else "ready to predict, without labels to train on"
        verdict = counted(len(self.errors), "error") if self.errors else ready
        less = f"{counted(len(self.warnings), 'warning')}, {counted(len(self.notes), 'note')}"
        return "\n".join([*lines, f"{verdict}, {less}"])


def check(
    source: str | Path | Crystals,
    *,
    targets: Sequence[str] | None = None,
    id_column: str | None = None,
    structure_column: str | None = None,
    units: Mapping[str, str] | None = None,
    same_id: SameId | None = None,
    options: GraphOptions | None = None,
    progress: bool = True,
) -> Report:
    """Read everything and report all problems at once.

    Errors: what cannot be read (see `tlzoo.data.sources.read_all`), targets that are no numbers, duplicate
    ids, atoms without neighbours or in one place, no solid (:mod:`tlzoo.data.plausibility`), elements without
    features, a target without any value, and labels that `tlzoo fit` refuses: too few, or too large for
    float32. Warnings: duplicate structures, hardly a solid, missing targets, and outliers (more than 8
    robust standard deviations from the median).

    Args:
        source: A path, or crystals that are read already.
        targets: Columns that must be numbers; None: every column that mostly is.
        id_column: See `tlzoo.data.sources.read`, as for ``structure_column`` and ``units``.
        structure_column: See there.
        units: See there.
        same_id: See there.
        options: The neighbours a model will ask for.
        progress: Whether to show bars on a terminal.
    """
    problems: list[Problem] = []
    if isinstance(source, Crystals):
        name = counted(len(source), "crystal")
        crystals, problems = with_classes(source, targets, Place(name))
        problems += strange_structures(crystals).values()
    else:
        name = str(source)
        try:
            crystals, problems = read_all(
                source,
                targets=targets,
                id_column=id_column,
                structure_column=structure_column,
                units=units,
                same_id=same_id,
            )
        except UserError as error:
            text = str(error).removeprefix(f"{name}: ")
            return Report(name, [], [Problem(Place(name), "unreadable", text)])
    if len(crystals) == 0:
        nothing = Problem(Place(name), "empty", "there is not a single crystal that can be read")
        return Report(name, [], [*problems, nothing])
    numbers = {column: values for column, values in crystals.columns.items() if values.dtype != object}
    for target in numbers if targets is None else targets:
        if target in crystals.columns or isinstance(source, Crystals):
            problems += _target_problems(crystals, target, name, each=targets is not None)
    if targets is not None:
        numbers = {column: numbers[column] for column in targets if column in numbers}
    problems += element_problems(crystals)
    # with these every target is refused
    said = any(problem.kind in {"elements", "out of range"} for problem in problems)
    wanted = options or GraphOptions() if crystals.structured.any() else FormulaOptions()
    problems += graph_problems(crystals, wanted, progress=progress)
    groups = (
        None if sum(map(len, candidates(crystals))) > MANY else duplicate_groups(crystals, progress=progress)
    )
    problems += _duplicates(crystals, numbers, name, groups)
    if not said:
        together = [list(targets)] if targets is not None else [[column] for column in numbers]
        problems += _refused(crystals, together, name, groups)
    return Report(name, _summary(crystals, numbers), problems, labelled=bool(numbers))


def _target_problems(crystals: Crystals, name: str, source: str, *, each: bool) -> list[Problem]:
    if name not in crystals.columns:
        return [Problem(Place(source), "missing column", no_such("column", name, crystals.columns))]
    values = crystals.columns[name]
    if values.dtype == object:
        return [Problem(Place(source), "not a number", f"column {name!r} is text; a target must be numbers")]
    unknown = np.flatnonzero(np.isnan(values)).tolist()
    if len(unknown) == len(values):
        return [Problem(Place(source), "missing target", f"column {name!r} has no value in any row")]
    text = f"column {name!r} has no value"
    problems = [_warning(crystals, row, "missing target", text) for row in unknown] if each else []
    problems += unlearnable(crystals, name) if each else []
    unit = crystals.units.get(name, "")
    distance, median = _robust_distance(values)
    far = sorted(np.flatnonzero(distance > OUTLIER).tolist(), key=lambda row: -distance[row])
    if len(far) > max(1, HEAVY_TAIL * len(values)):
        text = (
            f"{name}: {len(far):,} of {len(values):,} values are far from the median, "
            f"{_quantity(median, unit)}: most are equal or the tail is heavy; judge by MAE, R² misleads"
        )
        return [*problems, Problem(Place(source), "heavy tail", text, "note")]
    for row in far:
        text = (
            f"{name} is {_quantity(values[row], unit)}, {_count(distance[row])} robust standard deviations "
            f"from the median, {_quantity(median, unit)}"
        )
        problems.append(_warning(crystals, row, "outlier", text))
    return problems


def _warning(crystals: Crystals, row: int, kind: str, text: str) -> Problem:
    return Problem(Place(crystals.origin(row)), kind, text, "warning")


def _robust_distance(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Distance from the median in standard deviations, by the median absolute deviation; and the median."""
    median = float(np.nanmedian(values))
    spread = MAD_TO_SD * float(np.nanmedian(np.abs(values - median)))
    if spread == 0:  # more than half of the values are equal: no scale to call anything far
        return np.zeros(len(values)), median
    return np.nan_to_num(np.abs(values - median) / spread), median


def element_problems(crystals: Crystals) -> list[Problem]:
    """Return an error for each crystal with an element that has no features."""
    rows = uncovered_rows(crystals)
    return [Problem(Place(crystals.origin(row)), "elements", uncovered_text(crystals, row)) for row in rows]


def graph_problems(crystals: Crystals, options: Options, *, progress: bool = False) -> list[Problem]:
    """Return an error for each crystal without a graph: isolated atoms, atoms in one place, a flat cell.

    With the options of a network on descriptors: for each crystal without descriptors.
    """
    kind = "descriptors" if isinstance(options, DescriptorOptions) else "neighbours"
    found = unusable(crystals, options, progress=progress)
    return [Problem(Place(crystals.origin(row)), kind, text) for row, text in found]


def _refused(
    crystals: Crystals, together: Sequence[Sequence[str]], source: str, groups: Rows | None
) -> list[Problem]:
    """Return why `tlzoo fit` would not learn these targets, each list of them together.

    Warnings if it would learn others.
    """
    found = []
    for targets in together:
        columns = [crystals.columns.get(name) for name in targets]
        if any(column is None or column.dtype == object or np.isnan(column).all() for column in columns):
            continue  # said before
        table = LabelledTable(source, targets)
        table.take(crystals)
        if groups is not None:
            table.groups = groups
        try:
            table.check_learnable()
        except UserError as error:
            found.append(f"tlzoo fit refuses {', '.join(targets)}: {error}")
    severity: Literal["error", "warning"] = "error" if len(found) == len(together) else "warning"
    return [Problem(Place(source), "training", text, severity) for text in found]


def _duplicates(crystals: Crystals, targets: Numbers, source: str, groups: Rows | None) -> list[Problem]:
    problems = []
    if groups is None:
        alike = sum(map(len, candidates(crystals)))
        text = f"{alike:,} crystals share formula and volume with another, too many to compare; only exact"
        problems.append(Problem(Place(source), "duplicate structure", f"{text} copies are named", "note"))
        groups = exact_copies(crystals)
    for row in np.flatnonzero(groups != np.arange(len(groups))).tolist():
        first = int(groups[row])
        text = f"has the formula of {crystals.origin(first)}"
        if crystals.structured[row]:
            formula = crystals.structure(row).reduced_formula
            text = f"is the same structure as {crystals.origin(first)} ({formula})"
        for name, values in targets.items():
            one, other = values[first], values[row]
            if not np.isnan(one) and not np.isnan(other) and not np.isclose(one, other):
                text += f"; its {name} is {_quantity(other, crystals.units.get(name, ''))}, not {one:.6g}"
        problems.append(_warning(crystals, row, "duplicate structure", text))
    return problems


def _summary(crystals: Crystals, targets: Numbers) -> list[str]:
    sizes = crystals.num_atoms
    elements = [SYMBOLS[z] for z in np.unique(crystals.numbers) if z < len(SYMBOLS)]
    found = {"crystal": len(crystals), "composition": len(set(crystals.formulas)), "atom": sizes.sum()}
    lines = [
        ", ".join(counted(number, noun) for noun, number in found.items()),
        f"atoms per crystal: {sizes.min()} to {sizes.max()}, median {np.median(sizes):g}",
        f"{counted(len(elements), 'element')}: {' '.join(elements)}",
    ]
    if bare := int((~crystals.structured).sum()):
        lines.insert(1, f"{bare:,} of these are formulas without a structure, for models that read formulas")
    for name, values in targets.items():
        unit = crystals.units.get(name, "")
        known = values[~np.isnan(values)]
        if not len(known):
            continue
        facts = [
            f"{known.min():.6g} to {_quantity(known.max(), unit)}{'' if unit else ' (no unit given)'}",
            f"median {np.median(known):.6g}, mean {known.mean():.6g}, s.d. {known.std():.6g}",
        ]
        if len(known) < len(values):
            facts.append(f"{len(values) - len(known):,} missing")
        lines.append(f"{name}: {', '.join(facts)}")
    return lines


def _count(value: float) -> str:
    return f"{value:.0f}" if value < 1e9 else f"{value:.1e}"


def _quantity(value: float, unit: str) -> str:
    return with_unit(f"{value:.6g}", unit)
