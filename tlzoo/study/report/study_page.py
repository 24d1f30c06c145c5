"""The page itself: one HTML file that asks nothing of the net, and its figures as files beside it."""

from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from tlzoo.cards.card import duration
from tlzoo.errors import UserError
from tlzoo.evaluation.gain import LEVEL
from tlzoo.evaluation.page import Cell, Table, render
from tlzoo.machine.files import whole, write_text
from tlzoo.study.axes import Condition, Labels, text
from tlzoo.study.gathering import baselines, column
from tlzoo.study.grid import Study
from tlzoo.study.progress import Progress
from tlzoo.study.report.charts import drawings
from tlzoo.study.report.drawing import percent
from tlzoo.study.report.measures import RESAMPLES, Measures, Row, measure, rows
from tlzoo.study.report.page_tables import all_numbers, downloads, trivial_baselines
from tlzoo.study.study_folder import Folder


def write(study: Study, folder: Folder, page: Path, only: Condition, command: str) -> list[Path]:
    """Write a study's page, and its figures beside it: ``<stem>-figure-1.png`` and ``.svg``.

    The command is told on it as what makes it. Returns the files, the page first.

    Raises:
        UserError: There is no result yet, the reference is wrong, or a file cannot be written.
    """
    progress = Progress.of(study, folder.rows(), only)
    if not progress.done + progress.failed:
        raise UserError(f"there are no results yet in {folder.path}; begin: tlzoo study run {study.path}")
    numbers = measure(study, folder, only)
    table = numbers.meant(only)
    drawn = list(drawings(numbers, only))
    html = render(
        "study/report/study.html",
        title=study.report.title or study.name,
        command=command,
        progress=progress,
        facts=_facts(numbers),
        drawn=drawn,
        title_of_gains=_title_of_gains(numbers),
        gains=_gains(numbers, table),
        table=None if table.empty else all_numbers(numbers, table),
        downloads=downloads(numbers, table),
        trivial=_trivial(study, folder, only),
        missing=_missing(progress),
        failed=_failed(progress),
        method=_method(numbers),
    )
    written = [page]
    for drawing in drawn:
        if drawing.figure is not None:
            image, vector = (page.with_name(f"{page.stem}-{drawing.name}.{end}") for end in ("png", "svg"))
            with whole(image) as partial:
                partial.write_bytes(drawing.png())
            write_text(vector, drawing.svg())
            written += [image, vector]
    write_text(page, html)
    return written


def _facts(numbers: Measures) -> dict[str, str]:
    study = numbers.study
    axes = [f"{name} ({', '.join(map(str, axis.values))})" for name, axis in study.axes.items()]
    facts = {"Differ in": "; ".join(axes)}
    if study.tune:
        place = text({name: "|".join(map(str, values)) for name, values in study.tune.where.items()})
        facts["Chosen"] = (
            f"{', '.join(study.tune.axes)}: the value with the least validation MAE"
            f"{f' at {place}' if place else ''}; only runs with it count. Test errors chose nothing."
        )
    if study.average:
        facts["Averaged over"] = ", ".join(study.average)
    if study.ensemble:
        facts["Ensembles"] = f"predictions are averaged over {', '.join(study.ensemble)}"
    if study.report.baseline:
        facts["Baseline"] = text(study.report.baseline)
    if (reference := study.report.reference) is not None:
        found = (
            "beside the study's own" if numbers.published else f"not at hand: there is no {reference.file}"
        )
        facts["Published numbers"] = f"{reference.name}, {found}"
    finished = str(numbers.every["finished"].dropna().max())[:16].replace("T", " ")
    seconds = float(numbers.every["seconds"].sum())
    facts["Last result"] = f"{finished} UTC; {duration(seconds)} of computing"
    return facts


def _title_of_gains(numbers: Measures) -> str:
    baseline = numbers.study.report.baseline
    if "scratch" in baseline.values():
        return "Where transfer helps, where it harms"
    return f"What is better than {text(baseline)}, what is worse"


def _gains(numbers: Measures, table: pd.DataFrame) -> dict[str, Any]:
    """Return the gains in words: their counts, and lists of those certain, negative, undecided."""
    known = table[table["gain"].notna()] if "gain" in table else table.iloc[:0]
    if known.empty:
        return {}
    better = known[known["gain_low"] > 0]
    worse = known[known["gain_high"] < 0]
    unsure = known[(known["gain_low"] <= 0) & (known["gain_high"] >= 0)]
    lists = {
        numbers.harm.capitalize(): worse,
        "Negative, but the interval contains zero": unsure[unsure["gain"] < 0],
        "Positive, but the interval contains zero": unsure[unsure["gain"] >= 0],
    }
    return {
        "counts": (
            f"Of {len(known)} comparisons with the baseline, {len(better)} are better and {len(worse)} worse "
            f"with an interval that leaves out zero; of {len(unsure)} it contains zero. "
            f"Median gain: {percent(known['gain'].median())}."
        ),
        "lists": [
            (head, [_gain(numbers, row) for row in rows(several)])
            for head, several in lists.items()
            if len(several)
        ],
    }


def _gain(numbers: Measures, row: Row) -> str:
    told = f"{text({name: row[name] for name in numbers.kept})}: {percent(row['gain'])}"
    if not isnan(row["gain_low"]):
        told += f" ({percent(row['gain_low'])} … {percent(row['gain_high'])})".replace(" %", "")
    return f"{told}, better in {row['better']:.0f} of {row['pairs']:.0f}"


def _trivial(study: Study, folder: Folder, only: Condition) -> Table | None:
    """Return the trivial baselines if the study asks for them; a table without lines if none is there yet."""
    if not study.baselines:
        return None
    found = baselines(study, folder)
    for name, values in only.items():
        # a split that runs of several values share has none of its own
        wanted = [column(study.axes[name], value) for value in values]
        found = found[found[name].isin(wanted) | found[name].isna()]
    return trivial_baselines(study, found)


def _missing(progress: Progress) -> dict[str, list[str]]:
    """Return the runs without a result, those of a combination together."""
    study = progress.study
    apart = {*study.average, *study.ensemble, *study.tuned}
    groups: dict[str, list[str]] = {}
    missing: list[Labels] = [*(run.labels for run in progress.missing), *progress.undecided]
    for labels in missing:
        kept = text({name: value for name, value in labels.items() if name not in apart})
        groups.setdefault(kept, []).append(text({name: v for name, v in labels.items() if name in apart}))
    return groups


def _failed(progress: Progress) -> Table:
    failed = [run for run in progress.wanted if progress.status(run) == "failed"]
    told = [(text(run.labels), str(progress.rows[run.id]["error"])) for run in failed]
    return Table(
        ["run", "error"],
        [[Cell(labels, labels), Cell(error, error, "long")] for labels, error in told],
        "Failed runs count nowhere; the next run of the study tries them again",
    )


def _method(numbers: Measures) -> list[str]:
    errors = (
        "Errors are mean absolute errors (MAE) on the test part, in the unit of the property; "
        "± is the sample standard deviation over the runs averaged."
    )
    told = [errors]
    if numbers.study.report.baseline:
        told.append(
            "A gain is the part by which the test MAE is lower than the baseline's. Runs are compared with "
            "the baseline of the same trial on the same test crystals, and the errors of all trials added. "
            f"The {LEVEL:.0%} interval is a paired percentile bootstrap of {RESAMPLES:,} draws over test "
            "crystals: it says how much the gain depends on these crystals, not on another training; for "
            "that, see in how many trials the run was better. Of many intervals one in twenty misses the "
            "true gain."
        )
    if numbers.published is not None:
        told.append(
            f"Published numbers: {numbers.published.reference.name}. Their models and trainings are others; "
            "an error in another unit is left out."
        )
    return told
