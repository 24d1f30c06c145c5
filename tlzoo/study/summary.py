"""Mean and spread of the errors of a study. Whatever is chosen is chosen by validation errors."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pandas as pd

from tlzoo.crystals import with_unit
from tlzoo.errors import UserError
from tlzoo.evaluation.results import aligned, error_text
from tlzoo.study.axes import Label
from tlzoo.study.gathering import column, finished
from tlzoo.study.grid import Study

Format = Literal["text", "markdown", "csv"]
MEASURES = ("val_mae", "test_mae")

Cells = list[list[str]]


def summary(study: Study, results: pd.DataFrame, choose: Sequence[str] = ()) -> pd.DataFrame:
    """Return mean and sample standard deviation over the averaged axes, a row per remaining combination.

    Args:
        study: The study.
        results: A row per run, of :func:`tlzoo.study.results`, or per ensemble.
        choose: Axes of which the value with the least mean validation MAE is taken. Only combinations with
            all their runs take part where there are such.

    Returns:
        A column per axis (the tuned ones too, with what was chosen), ``unit``, ``runs`` and ``of`` (how many
        there are, and will be), then ``val_mae``, ``val_mae_sd``, ``test_mae`` and ``test_mae_sd``.
    """
    kept, tuned = list(study.kept), study.tuned
    there = finished(results)
    groups: dict[tuple[Any, ...], pd.DataFrame] = {(): there}
    if kept:
        groups = {tuple(key): runs for key, runs in there.groupby(kept, sort=False)}
    planned: dict[tuple[Label, ...], set[tuple[Label, ...]]] = {}
    for run in study.runs():
        key = tuple(column(study.axes[name], run.labels[name]) for name in kept)
        planned.setdefault(key, set()).add(tuple(run.labels[name] for name in study.average))
    rows = [
        _row(dict(zip(kept, key, strict=True)), groups[key], tuned, len(repeats))
        for key, repeats in planned.items()
        if key in groups and len(groups[key])
    ]
    names = [*kept, *tuned, "unit", "runs", "of"]
    names += [column for measure in MEASURES for column in (measure, f"{measure}_sd")]
    table = pd.DataFrame(rows, columns=names)
    return best(table, [name for name in kept if name not in choose]) if choose else table


def _row(
    labels: dict[str, Label], runs: pd.DataFrame, tuned: Iterable[str], planned: int
) -> dict[str, object]:
    found: dict[str, object] = dict(labels)
    for name in tuned:
        values = list(dict.fromkeys(runs[name]))
        found[name] = values[0] if len(values) == 1 else ", ".join(map(str, values))
    found |= {"unit": str(runs["unit"].iloc[0]), "runs": len(runs), "of": planned}
    for measure in MEASURES:
        found |= {measure: runs[measure].mean(), f"{measure}_sd": runs[measure].std(ddof=1)}
    return found


def best(table: pd.DataFrame, fixed: list[str]) -> pd.DataFrame:
    """Return of each combination of the fixed axes the row with the least validation error."""
    chosen = []
    for _, rows in table.groupby(fixed, sort=False) if fixed else [((), table)]:
        complete = rows[rows["runs"] == rows["of"]]
        candidates = (complete if len(complete) else rows).dropna(subset="val_mae")
        if len(candidates):
            chosen.append(candidates["val_mae"].idxmin())
    return table.loc[chosen].reset_index(drop=True)


def render(study: Study, table: pd.DataFrame, by: Sequence[str], choose: Sequence[str], form: Format) -> str:
    """Return a summary for people or for programs.

    ``by`` are the axes down the side, in this order, and the others go across; without any, all go down the
    side. The values that were chosen are told beside the error. CSV has numbers alone, all axes down the
    side.

    Raises:
        UserError: An axis of ``by`` was averaged over, or tuned.
    """
    check_by(study, by)
    axes = [name for name in study.axes if name in table.columns]
    if form == "csv":
        rest = [name for name in table.columns if name not in by]
        return table[[*by, *rest]].to_csv(index=False).rstrip("\n")
    if not by:
        cells = _long(table, axes)
    else:
        across = [name for name in axes if name not in {*by, *choose, *study.tuned}]
        cells = _across(table, by, across, choose)
    return _written(cells, form)


def check_by(study: Study, by: Sequence[str]) -> None:
    """Refuse axes that the table has no line for.

    Raises:
        UserError: One was averaged over.
    """
    if gone := [name for name in by if name not in {*study.kept, *study.tuned}]:
        raise UserError(f"--by {gone[0]}: the table has one line over all its values, it is averaged over")


def trivial_means(study: Study, baselines: pd.DataFrame) -> pd.DataFrame:
    """Return mean and sample standard deviation of the trivial baselines over the averaged axes.

    Returns:
        A column for each axis that their splits differ in, ``baseline``, ``unit``, ``splits`` (how many),
        then the columns of :func:`summary` for the errors.
    """
    kept = [axis for axis in study.axes if axis not in study.average and baselines[axis].notna().any()]
    groups = baselines.groupby([*kept, "baseline", "unit"], sort=False, dropna=False)
    return groups.agg(
        splits=("id", "size"),
        **{
            f"{measure}{end}": (measure, how)
            for measure in MEASURES
            for end, how in (("", "mean"), ("_sd", "std"))
        },
    ).reset_index()


def trivial(study: Study, baselines: pd.DataFrame, form: Format) -> str:
    """Return the trivial baselines for people or for programs."""
    table = trivial_means(study, baselines)
    if form == "csv":
        return table.to_csv(index=False).rstrip("\n")
    kept = [name for name in table.columns if name in study.axes]
    lines = [[*kept, "baseline", "splits", "validation MAE", "test MAE", "unit"]]
    for _, row in table.iterrows():
        names = [value_text(row[name]) for name in (*kept, "baseline", "splits")]
        lines.append([*names, *(_error(row, measure) for measure in MEASURES), _unit(row)])
    return _written(lines, form)


def _long(table: pd.DataFrame, axes: Sequence[str]) -> Cells:
    lines = [[*axes, "runs", "validation MAE", "test MAE", "unit"]]
    for _, row in table.iterrows():
        errors = [_error(row, measure) for measure in MEASURES]
        runs = str(row["runs"]) if row["runs"] == row["of"] else f"{row['runs']}/{row['of']}"
        lines.append([*(value_text(row[name]) for name in axes), runs, *errors, _unit(row)])
    return lines


def _across(table: pd.DataFrame, by: Sequence[str], across: Sequence[str], choose: Sequence[str]) -> Cells:
    side: dict[tuple[str, ...], dict[str, str]] = {}
    heads: dict[str, None] = {}
    for _, row in table.iterrows():
        head = " ".join(value_text(row[name]) for name in across) or "test MAE"
        heads[head] = None
        cell = _error(row, "test_mae")
        if row["runs"] < row["of"]:
            cell += f" ({row['runs']}/{row['of']})"
        if choose:
            cell += f" ({', '.join(value_text(row[name]) for name in choose)})"
        key = (*(value_text(row[name]) for name in by), _unit(row))
        side.setdefault(key, {})[head] = cell
    lines = [[*by, *heads, "unit"]]
    lines += [[*key[:-1], *(found.get(head, "–") for head in heads), key[-1]] for key, found in side.items()]
    return lines


def _unit(row: pd.Series) -> str:
    return with_unit("", str(row["unit"]), "{1}")


def value_text(value: Label) -> str:
    """Return the value of an axis as tables show it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _error(row: "pd.Series[float]", measure: str) -> str:
    return error_text(row[measure], row[f"{measure}_sd"])


def _written(cells: Cells, form: Format) -> str:
    if form == "text":
        return "\n".join(line.rstrip() for line in aligned(cells, "<" * len(cells[0])))
    head, *body = (f"| {' | '.join(line)} |" for line in cells)
    return "\n".join([head, "|" + "---|" * len(cells[0]), *body])
