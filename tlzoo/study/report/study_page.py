"""The page itself: one HTML file that asks nothing of the net, and its figures as files beside it."""

from html import escape
from importlib import resources
from math import isnan
from pathlib import Path
from string import Template

import pandas as pd

import tlzoo
from tlzoo.errors import UserError
from tlzoo.evaluation.gain import LEVEL
from tlzoo.machine.files import whole, write_text
from tlzoo.study.axes import Condition, Labels, text
from tlzoo.study.grid import Study
from tlzoo.study.progress import Progress, duration
from tlzoo.study.report.charts import drawings
from tlzoo.study.report.drawing import Drawing, percent
from tlzoo.study.report.measures import RESAMPLES, Measures, Row, measure, rows
from tlzoo.study.report.page_tables import Cell, all_numbers, sortable
from tlzoo.study.study_folder import Folder


def write(study: Study, folder: Folder, page: Path, only: Condition, command: str) -> list[Path]:
    """Write a study's page, and its figures beside it.

    Args:
        study: The study.
        folder: Where its results are.
        page: The HTML file; figures are ``<stem>-figure-1.png`` and ``.svg``.
        only: The runs to show.
        command: What makes the page, as it is told on it.

    Returns:
        The files, the page first.

    Raises:
        UserError: There is no result yet, the reference is wrong, or a file cannot be written.
    """
    progress = Progress.of(study, folder.rows(), only)
    if not progress.done + progress.failed:
        raise UserError(f"there are no results yet in {folder.path}; begin: tlzoo study run {study.path}")
    numbers = measure(study, folder, only)
    table = numbers.meant(only)
    drawn = list(drawings(numbers, only))
    html = _page(numbers, table, progress, drawn, command)
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


def _page(
    numbers: Measures, table: pd.DataFrame, progress: Progress, drawn: list[Drawing], command: str
) -> str:
    sections = [
        ("figures", "Figures", "\n".join(map(_figure, drawn))),
        ("transfer", _title_of_gains(numbers), _transfer(numbers, table)),
        ("numbers", "All numbers", all_numbers(numbers, table)),
        ("missing", "What is missing", _missing(progress)),
        ("failed", "What failed", _failed(progress)),
        ("method", "How the numbers were made", _method(numbers)),
    ]
    shown = [section for section in sections if section[2]]
    title = numbers.study.report.title or numbers.study.name
    return Template(
        resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    ).substitute(
        version=escape(tlzoo.__version__),
        title=escape(title),
        contents=" ".join(f'<a href="#{name}">{escape(head)}</a>' for name, head, _ in shown),
        facts="\n".join(
            f"<dt>{escape(name)}</dt><dd>{content}</dd>"
            for name, content in _facts(numbers, progress, command).items()
        ),
        sections="\n".join(
            f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(head)}</h2>\n{content}\n</section>'
            for name, head, content in shown
        ),
    )


def _facts(numbers: Measures, progress: Progress, command: str) -> dict[str, str]:
    study = numbers.study
    parts = [f"{progress.done} of {progress.total} done"]
    parts += [f'<a class="bad" href="#failed">{progress.failed} failed</a>'] if progress.failed else []
    if missing := len(progress.missing) + len(progress.undecided):
        parts.append(f'<a class="bad" href="#missing">{missing} missing</a>')
    axes = [
        f"{escape(name)} ({', '.join(escape(str(v)) for v in axis.values)})"
        for name, axis in study.axes.items()
    ]
    facts = {"Runs": ", ".join(parts), "Differ in": "; ".join(axes)}
    if study.tune:
        place = text({name: "|".join(map(str, values)) for name, values in study.tune.where.items()})
        facts["Chosen"] = (
            f"{escape(', '.join(study.tune.axes))}: the value with the least validation MAE"
            f"{f' at {escape(place)}' if place else ''}; only runs with it count. Test errors chose nothing."
        )
    if study.average:
        facts["Averaged over"] = escape(", ".join(study.average))
    if study.ensemble:
        facts["Ensembles"] = f"predictions are averaged over {escape(', '.join(study.ensemble))}"
    if study.report.baseline:
        facts["Baseline"] = escape(text(study.report.baseline))
    if (reference := study.report.reference) is not None:
        found = (
            "beside the study's own" if numbers.published else f"not at hand: there is no {reference.file}"
        )
        facts["Published numbers"] = escape(f"{reference.name}, {found}")
    finished = numbers.every["finished"].dropna()
    seconds = float(numbers.every["seconds"].sum())
    facts["Last result"] = (
        f"{escape(str(finished.max())[:16].replace('T', ' '))} UTC; {duration(seconds)} of computing"
    )
    facts["Made with"] = f"tlzoo {escape(tlzoo.__version__)}: <code>{escape(command)}</code>"
    return facts


def _figure(drawing: Drawing) -> str:
    head = f"<h3>{escape(drawing.title)}</h3>"
    if drawing.figure is None:
        return f'<figure id="{drawing.name}">{head}<p class="soft">Nothing to draw yet.</p></figure>'
    return (
        f'<figure id="{drawing.name}">{head}\n{drawing.inline()}\n'
        f"<figcaption>{escape(drawing.caption)}</figcaption></figure>"
    )


def _title_of_gains(numbers: Measures) -> str:
    baseline = numbers.study.report.baseline
    if "scratch" in baseline.values():
        return "Where transfer helps, where it harms"
    return f"What is better than {text(baseline)}, what is worse"


def _transfer(numbers: Measures, table: pd.DataFrame) -> str:
    """Return the gains in words: certain, negative, undecided."""
    known = table[table["gain"].notna()] if "gain" in table else table.iloc[:0]
    if known.empty:
        return ""
    better = known[known["gain_low"] > 0]
    worse = known[known["gain_high"] < 0]
    unsure = known[(known["gain_low"] <= 0) & (known["gain_high"] >= 0)]
    counts = (
        f"Of {len(known)} comparisons with the baseline, {len(better)} are better and {len(worse)} worse "
        f"with an interval that leaves out zero; of {len(unsure)} it contains zero. "
        f"Median gain: {percent(known['gain'].median())}."
    )
    told = [f"<p>{counts}</p>"]
    for head, several in (
        (numbers.harm.capitalize(), worse),
        ("Negative, but the interval contains zero", unsure[unsure["gain"] < 0]),
        ("Positive, but the interval contains zero", unsure[unsure["gain"] >= 0]),
    ):
        if len(several):
            items = "".join(f"<li>{_labels(numbers, row)}: {_interval(row)}</li>" for row in rows(several))
            told.append(f"<h3>{head}</h3><ul>{items}</ul>")
    return "\n".join(told)


def _labels(numbers: Measures, row: Row) -> str:
    return escape(text({name: row[name] for name in numbers.kept}))


def _interval(row: Row) -> str:
    told = f"{percent(row['gain'])}"
    if not isnan(row["gain_low"]):
        told += f" ({percent(row['gain_low'])} … {percent(row['gain_high'])})".replace(" %", "")
    return f"{told}, better in {row['better']:.0f} of {row['pairs']:.0f}"


def _missing(progress: Progress) -> str:
    """Return the runs without a result, those of a combination together."""
    study = progress.study
    apart = {*study.average, *study.ensemble, *study.tuned}
    groups: dict[str, list[str]] = {}
    missing: list[Labels] = [*(run.labels for run in progress.missing), *progress.undecided]
    for labels in missing:
        kept = text({name: value for name, value in labels.items() if name not in apart})
        groups.setdefault(kept, []).append(text({name: v for name, v in labels.items() if name in apart}))
    if not groups and not progress.hopeless:
        return ""
    items = "".join(
        f"<li>{escape(kept) or 'all'}: {escape('; '.join(several))}</li>" for kept, several in groups.items()
    )
    told = [f"<details><summary>{len(missing)} runs</summary><ul>{items}</ul></details>"] if groups else []
    if progress.undecided:
        told.append(f"<p>{len(progress.undecided)} of them wait until tuning has chosen.</p>")
    if progress.hopeless:
        told.append(
            f"<p>{len(progress.hopeless)} more are left out, as all that was tried in tuning failed.</p>"
        )
    return (
        f"<p>The numbers on this page will change with them.</p>{''.join(told)}" if groups else "".join(told)
    )


def _failed(progress: Progress) -> str:
    failed = [run for run in progress.wanted if progress.status(run) == "failed"]
    if not failed:
        return ""
    lines = [
        [Cell(escape(text(run.labels)), text(run.labels)), Cell(escape(error), error, "long")]
        for run in failed
        for error in [str(progress.rows[run.id]["error"])]
    ]
    return sortable(
        "Failed runs count nowhere; the next run of the study tries them again", ["run", "error"], lines
    )


def _method(numbers: Measures) -> str:
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
    return "".join(f"<p>{escape(one)}</p>" for one in told)
