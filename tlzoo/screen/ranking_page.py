"""The ranking as a page for people: figures, and the first hundred in a table. One file, nothing to load."""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tlzoo.crystals import with_unit
from tlzoo.evaluation.page import Cell, Table, render
from tlzoo.evaluation.plots import COLOURS, OTHERS
from tlzoo.machine.files import write_text
from tlzoo.machine.plural import counted
from tlzoo.screen.ranking import Ranking, ends
from tlzoo.screen.screening import Screening
from tlzoo.screen.structure_types import StructureType

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN: Final = 100
MOST: Final = 20_000  # points of a figure
DECADES: Final = 100.0  # largest over smallest prediction from which axes are logarithmic


def write(
    path: Path, ranking: Ranking, types: Sequence[StructureType], screening: Screening, *, ascending: bool
) -> None:
    """Write the page, with the structure types of the first hundred."""
    names = ", ".join(model.name for model in screening.predictors)
    content = render(
        "screen/ranking.html",
        title=f"{screening.target} of {screening.pool.name} by {names}",
        summary=_summary(ranking, screening, ascending=ascending),
        figures=_figures(ranking, screening),
        table=_table(ranking, types, screening),
    )
    write_text(path, content)


def _summary(ranking: Ranking, screening: Screening, *, ascending: bool) -> Iterator[str]:
    yield (
        f"{counted(ranking.read, 'crystal')}: {len(ranking.values):,} predicted, "
        f"{ranking.left_out:,} filtered out, {len(ranking.problems):,} could not be predicted. "
        f"The {'smallest' if ascending else 'largest'} first."
    )
    if screening.where:
        yield f"Condition: {screening.where.text}"
    yield from _uncertainty(screening)
    for model, domain in zip(screening.predictors, screening.domains, strict=True):
        if domain.measures:
            yield (
                f"{model.name}: distances are to the five nearest of {len(domain.points):,} training "
                "crystals, in units of what is usual among those; marked rows are beyond "
                f"{domain.limit:.2f}, where one training crystal in a hundred is, or hold elements that no "
                "model has learned from."
            )
        if domain.keys:
            yield f"{model.name}: in training are formulas that it has seen with this density, to 12 %."
        if domain.reason:
            yield f"{model.name}: its training crystals are not to be had: {domain.reason}"


def _uncertainty(screening: Screening) -> Iterator[str]:
    first, *others = screening.predictors
    if others:
        yield (
            f"Spread is the standard deviation of what {len(screening.predictors)} models predict: where "
            "they disagree one of them is wrong. It is no interval: they may agree and all be wrong."
        )
    if screening.calibrated:
        yield (
            f"Intervals are for 95 %, {first.calibration}. That holds for crystals like those, and says "
            "nothing of what is out of the domain."
        )
    elif screening.uncertain:
        yield (
            "The lower and upper ends are where models see 95 %"
            f"{', widened by the spread' if others else ''}. Nobody has calibrated them."
        )


def _figures(ranking: Ranking, screening: Screening) -> Iterator[str]:
    if not len(ranking.values):
        return
    name = with_unit(screening.target, screening.unit, "{} ({})")
    shown = ranking.table.slice(0, SHOWN)[screening.target].to_numpy()

    least, most = ranking.values.min(), ranking.values.max()
    log = bool(least > 0 and most > DECADES * least)
    scale = "log" if log else "linear"

    def distribution(axes: "Axes") -> None:
        edges = np.histogram_bin_edges(np.log10(ranking.values) if log else ranking.values, 80)
        bins = (10**edges if log else edges).tolist()
        axes.hist(ranking.values, bins, color=COLOURS["train"], label="predicted")
        axes.hist(shown, bins, color=COLOURS["test"], label=f"the first {len(shown)}")
        axes.set(xlabel=name, ylabel="crystals", yscale="log", xscale=scale)
        axes.set_ylim(bottom=0.7)  # a single crystal is seen
        axes.legend(frameon=False)

    yield _figure(distribution)
    table = ranking.table.slice(0, MOST)
    values = table[screening.target].to_numpy()
    if screening.uncertain:
        lower, upper = (table[end].to_numpy() for end in ends(screening.target))
        # of logarithms the interval is a factor, which may be a thousand
        factor = bool(log and (lower > 0).all())
        wide = np.sqrt(upper / lower) if factor else (upper - lower) / 2
        between = "interval" if screening.calibrated else "lower to upper end"
        what = f"{between}: divided or multiplied by" if factor else f"{between}: half width"
        heights = "log" if factor else "linear"
        yield _figure(lambda axes: _cloud(axes, values, wide, name, what, scale, heights))
    elif len(screening.predictors) > 1:
        spread = table[f"{screening.target}_spread"].to_numpy()
        told = f"spread of {len(screening.predictors)} models"
        yield _figure(lambda axes: _cloud(axes, values, spread, name, told, scale))
    if "distance" in table.column_names:
        distance = table["distance"].to_numpy()
        yield _figure(
            lambda axes: _cloud(axes, values, distance, name, "distance to training crystals", scale)
        )


def _cloud(
    axes: "Axes",
    x: NDArray[Any],
    y: NDArray[Any],
    x_name: str,
    y_name: str,
    scale: str,
    heights: str = "linear",
) -> None:
    axes.scatter(x, y, s=3, color=COLOURS["train"], linewidths=0, label=f"the first {len(x):,}")
    axes.scatter(
        x[:SHOWN], y[:SHOWN], s=8, color=OTHERS[1], linewidths=0, label=f"the first {len(x[:SHOWN])}"
    )
    axes.set(xlabel=x_name, ylabel=y_name, xscale=scale, yscale=heights)
    axes.legend(frameon=False)


def _figure(draw: Any) -> str:  # noqa: ANN401 (a function of axes)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), layout="constrained", dpi=110)
    draw(figure.subplots())
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _table(ranking: Ranking, types: Sequence[StructureType], screening: Screening) -> Table:
    rows = ranking.table.slice(0, SHOWN).to_pylist()
    several = len(screening.predictors)
    spread = f"{screening.target}_spread"
    told_of = [spread] if several > 1 else []
    told_of += ends(screening.target) if screening.uncertain else []
    numbers = [screening.target, *told_of, *(["distance"] if rows and "distance" in rows[0] else [])]
    texts = ["unseen_elements", *(["in_training"] if rows and "in_training" in rows[0] else [])]
    heads = {spread: f"spread of {several} models"}
    named = [
        with_unit(heads.get(name, name), screening.unit, "{} ({})")
        if name.startswith(screening.target)
        else name
        for name in numbers
    ]
    told = [text.replace("_", " ") for text in texts]
    lines = []
    for row, kind in zip(rows, types, strict=True):
        look = "bad" if row["out_of_domain"] else ""
        label = kind.name or kind.prototype
        cells = [
            _number(row["rank"], look),
            _text(row["formula"], look),
            Cell(label, label, look, kind.prototype),
        ]
        cells += [_text(kind.group, look), _text(row["id"], look)]
        cells += [_number(row[name], look) for name in numbers]
        cells += [_text(row[name], look) for name in texts]
        lines.append(cells)
    return Table(["rank", "formula", "structure type", "space group", "id", *named, *told], lines)


def _number(value: float, look: str) -> Cell:
    # 2.8e+05 is hard to compare with 41,000
    text = f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.4g}"
    return Cell(text, str(value), f"number {look}".strip())


def _text(value: str | bool, look: str) -> Cell:
    shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
    return Cell(shown, shown, look)
