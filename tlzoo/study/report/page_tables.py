"""The tables of a study's page, to sort and to take along."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from math import isnan

import pandas as pd

from tlzoo.evaluation.gain import LEVEL
from tlzoo.evaluation.results import error_text
from tlzoo.study.report.drawing import percent, powers
from tlzoo.study.report.measures import BASELINE, Measures, Row, rows


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what it shows, what it is sorted by (empty goes last), and its class."""

    shown: str
    value: str = ""
    look: str = ""


def all_numbers(numbers: Measures, table: pd.DataFrame) -> str:
    """Return the table of a row per combination, and links to it and to the single runs as CSV."""
    if table.empty:
        return ""
    published = "published_mae" in table and table["published_mae"].notna().any()
    gains = bool(numbers.study.report.baseline)
    tuned = numbers.study.tuned
    heads = [*numbers.kept, *tuned, "runs", "unit", "validation MAE", "test MAE"]
    heads += ["gain", f"{LEVEL:.0%} interval", "better in", "note"] if gains else []
    heads += ["published MAE"] if published else []
    lines = []
    for row in rows(table):
        cells = [Cell(escape(_plain(row[name])), str(row[name])) for name in (*numbers.kept, *tuned)]
        cells.append(
            Cell(f"{row['runs']}/{row['of']}", str(row["runs"]), "" if row["runs"] == row["of"] else "bad")
        )
        cells.append(Cell(escape(powers(row["unit"])), row["unit"]))
        cells += [_error(row, "val_mae", "val_mae_sd"), _error(row, "test_mae", "test_mae_sd")]
        cells += _gain_cells(numbers, row) if gains else []
        cells += [_error(row, "published_mae", "published_sd")] if published else []
        lines.append(cells)
    downloads = (
        f'<p class="download"><a download="{escape(numbers.study.name)}.csv" href="{_data(table)}">'
        "This table as CSV</a>, "
        f'<a download="{escape(numbers.study.name)}-runs.csv" href="{_data(numbers.every)}">'
        "every single run as CSV</a></p>"
    )
    return downloads + sortable("Mean ± standard deviation of the runs", heads, lines)


def _gain_cells(numbers: Measures, row: Row) -> list[Cell]:
    if isnan(row["gain"]):
        note = "" if row["note"] == BASELINE else "bad"
        return [Cell("–"), Cell("–"), Cell("–"), Cell(escape(row["note"]), row["note"], note)]
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
        Cell(escape(note), note, "bad" if high < 0 else ""),
    ]


def _error(row: Row, mean: str, spread: str) -> Cell:
    if isnan(row[mean]):
        return Cell("–", look="number")
    return Cell(error_text(row[mean], row[spread]), str(row[mean]), "number")


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def sortable(caption: str, heads: Iterable[str], lines: Iterable[Iterable[Cell]]) -> str:
    """Return a table of which a click on a head sorts the lines."""
    top = "".join(f'<th scope="col"><button type="button">{escape(head)}</button></th>' for head in heads)
    body = "\n".join("<tr>" + "".join(map(_cell, cells)) + "</tr>" for cells in lines)
    return (
        f'<div class="scroll"><table><caption class="soft">{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    look = f' class="{cell.look}"' if cell.look else ""
    return f'<td{look} data-value="{escape(cell.value)}">{cell.shown}</td>'


def _data(table: pd.DataFrame) -> str:
    """Return a table as a link that holds it."""
    content = table.to_csv(index=False).encode()
    return f"data:text/csv;base64,{base64.b64encode(content).decode()}"
