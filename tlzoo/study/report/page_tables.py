"""The tables of a study's page, to sort and to take along."""

import base64
from math import isnan

import pandas as pd

from tlzoo.crystals import with_unit
from tlzoo.evaluation.gain import LEVEL
from tlzoo.evaluation.page import Cell, Table
from tlzoo.evaluation.results import error_text
from tlzoo.study.grid import Study
from tlzoo.study.report.drawing import percent, powers
from tlzoo.study.report.measures import BASELINE, Measures, Row, rows
from tlzoo.study.summary import trivial_means, value_text


def all_numbers(numbers: Measures, table: pd.DataFrame) -> Table:
    """Return the table of a row per combination."""
    published = "published_mae" in table and table["published_mae"].notna().any()
    gains = bool(numbers.study.report.baseline)
    tuned = numbers.study.tuned
    heads = [*numbers.kept, *tuned, "runs", "unit", "validation MAE", "test MAE"]
    heads += ["gain", f"{LEVEL:.0%} interval", "better in", "note"] if gains else []
    heads += ["published MAE"] if published else []
    lines = []
    for row in rows(table):
        cells = [Cell(value_text(row[name]), str(row[name])) for name in (*numbers.kept, *tuned)]
        cells.append(
            Cell(f"{row['runs']}/{row['of']}", str(row["runs"]), "" if row["runs"] == row["of"] else "bad")
        )
        cells.append(Cell(with_unit("", powers(row["unit"]), "{1}"), row["unit"]))
        cells += [_error(row, "val_mae", "val_mae_sd"), _error(row, "test_mae", "test_mae_sd")]
        cells += _gain_cells(numbers, row) if gains else []
        cells += [_error(row, "published_mae", "published_sd")] if published else []
        lines.append(cells)
    return Table(heads, lines, "Mean ± standard deviation of the runs")


def trivial_baselines(study: Study, baselines: pd.DataFrame) -> Table:
    """Return the table of what needs no network, on the same splits."""
    table = trivial_means(study, baselines)
    kept = [name for name in table.columns if name in study.axes]
    lines = []
    for row in rows(table):
        cells = [Cell(value_text(row[name]), str(row[name])) for name in (*kept, "baseline")]
        cells += [Cell(str(row["splits"]), str(row["splits"])), Cell(powers(row["unit"]), row["unit"])]
        lines.append([*cells, _error(row, "val_mae", "val_mae_sd"), _error(row, "test_mae", "test_mae_sd")])
    heads = [*kept, "baseline", "splits", "unit", "validation MAE", "test MAE"]
    return Table(heads, lines, "Mean ± standard deviation of the splits")


def downloads(numbers: Measures, table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return what can be had as CSV: what it is, a name for the file, and a link that holds it."""
    name = numbers.study.name
    return [
        ("This table as CSV", f"{name}.csv", _data(table)),
        ("every single run as CSV", f"{name}-runs.csv", _data(numbers.every)),
    ]


def _gain_cells(numbers: Measures, row: Row) -> list[Cell]:
    if isnan(row["gain"]):
        note = "" if row["note"] == BASELINE else "bad"
        return [Cell("–"), Cell("–"), Cell("–"), Cell(row["note"], row["note"], note)]
    low, high = row["gain_low"], row["gain_high"]
    look, note = "number", row["note"]
    if high < 0:
        look, note = "number bad", f"▼ {numbers.harm}"
    elif low <= 0 <= high:
        note = "≈ contains zero"
    ends = "–" if isnan(low) else f"{percent(low).removesuffix(' %')} … {percent(high)}"
    return [
        Cell(percent(row["gain"]), str(row["gain"]), look),
        Cell(ends, "" if isnan(low) else str(low)),
        Cell(f"{row['better']:.0f}/{row['pairs']:.0f}", str(row["better"] / row["pairs"])),
        Cell(note, note, "bad" if high < 0 else ""),
    ]


def _error(row: Row, mean: str, spread: str) -> Cell:
    if isnan(row[mean]):
        return Cell("–", look="number")
    return Cell(error_text(row[mean], row[spread]), str(row[mean]), "number")


def _data(table: pd.DataFrame) -> str:
    """Return a table as a link that holds it."""
    content = table.to_csv(index=False).encode()
    return f"data:text/csv;base64,{base64.b64encode(content).decode()}"
