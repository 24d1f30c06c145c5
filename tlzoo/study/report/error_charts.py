"""Figures of test errors: learning curves, and bars."""

from math import isnan
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from tlzoo.study.axes import Label
from tlzoo.study.report.drawing import (
    COLOURS,
    GROUND,
    INK,
    MARKERS,
    OURS,
    PUBLISHED,
    QUIET,
    grid,
    legend,
    percent,
    quantity,
    ticks,
)
from tlzoo.study.report.measures import Row, rows
from tlzoo.study.report.view import View

# Bars in a panel above which gains are not written on them.
LABELLED: Final = 5


def curve(view: View) -> Figure:
    """Draw mean and spread of the test error against an axis, a line for each value of another."""
    panels = view.split("panels", view.part)
    sides = [("", "test_mae", "test_mae_sd")]
    if view.publisher:
        sides.append((view.publisher, "published_mae", "published_sd"))
    made, grids = grid(len(panels), 3 - (len(sides) - 1), height=3.0, sides=len(sides))
    for (title, _, part), panel in zip(panels, grids, strict=True):
        for axes, (who, mean, spread) in zip(panel, sides, strict=True):
            _lines(view, axes, part, mean, spread)
            axes.set_title(": ".join(filter(None, (title, who))))
            _logarithmic(axes)
        panel[0].set_ylabel(quantity("test MAE", view.unit(part)))
        for axes in panel[1:]:
            axes.sharey(panel[0])
            axes.autoscale()
    legend(made, [axes for panel in grids for axes in panel])
    return made


def _lines(view: View, axes: Axes, part: pd.DataFrame, mean: str, spread: str) -> None:
    name = view.plan.roles["x"]
    values = view.values("x")
    places, log = positions(values)
    drawn: set[tuple[float, ...]] = set()
    for label, place, several in view.split("lines", part):
        others = [(places[values.index(row[name])], view.numbers.baseline(row)) for row in rows(several)]
        known = sorted(
            (x, row[mean], row[spread]) for x, row in others if row is not None and not isnan(row[mean])
        )
        if known and (line := tuple(y for _, y, _ in known)) not in drawn:
            drawn.add(line)
            _line(axes, known, color=INK, linestyle="--", marker="", label=view.against)
        own = several[[not view.numbers.is_baseline(row) for row in rows(several)]].dropna(subset=mean)
        points = sorted((places[values.index(row[name])], row[mean], row[spread]) for row in rows(own))
        if points:
            look = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
            _line(axes, points, label=label or "mean of the trials", **look)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    ticks(axes, places, values)
    axes.set_xlabel(name)


def _line(axes: Axes, points: list[tuple[float, float, float]], **look: Any) -> None:  # noqa: ANN401
    x, mean, spread = np.array(points, dtype=np.float64).T
    spread = np.nan_to_num(spread)
    axes.plot(x, mean, markersize=5, linewidth=1.6, **look)
    # a band that would reach zero ends above it: the axis is logarithmic
    low = np.maximum(mean - spread, 0.05 * mean)
    axes.fill_between(x, low, mean + spread, color=look["color"], alpha=0.16, linewidth=0)


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    steps = (1, 2, 5) if high > 8 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(visible=True, color=QUIET, alpha=0.25, linewidth=0.7)


def bars(view: View) -> Figure:
    """Draw mean, spread and single test errors."""
    panels = view.split("panels", view.part)
    values = view.values("x")
    groups = len(view.values("lines")) if view.name("lines") else 1
    wide = len(values) * groups > 4 * LABELLED
    made, grids = grid(len(panels), 1 if wide else 3, height=3.1)
    for (title, _, part), (axes,) in zip(panels, grids, strict=True):
        for place, (label, colour, several) in enumerate(view.split("lines", part)):
            for row in rows(several):
                middle = values.index(row[view.plan.roles["x"]]) + 0.8 * ((place + 0.5) / groups - 0.5)
                plain = QUIET if view.numbers.is_baseline(row) else OURS
                fill = COLOURS[colour % len(COLOURS)] if view.name("lines") and plain == OURS else plain
                _bar(view, axes, row, middle, 0.8 / groups, fill, label)
                if len(values) * groups <= LABELLED:
                    _write_gain(axes, row, middle)
        axes.set(title=title, ylabel=quantity("test MAE", view.unit(part)), xlabel=view.name("x"))
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.55, len(values) - 0.45)
        ticks(axes, range(len(values)), values)
        axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.08)
        axes.grid(visible=True, axis="y", color=QUIET, alpha=0.25, linewidth=0.7)
    legend(made, [axes for (axes,) in grids])
    return made


def _bar(view: View, axes: Axes, row: Row, middle: float, width: float, colour: str, label: str) -> None:
    mean, worse = float(row["test_mae"]), row["gain"] < 0
    axes.bar(middle, mean, 0.92 * width, facecolor=colour, label=label or "_")
    if worse:
        axes.bar(middle, mean, 0.92 * width, fill=False, hatch="////", edgecolor=GROUND, linewidth=0)
    if not isnan(row["test_mae_sd"]):
        axes.errorbar(
            [middle], [mean], yerr=[row["test_mae_sd"]], fmt="none", ecolor=INK, capsize=3, linewidth=1.2
        )
    trials = view.runs(row)["test_mae"].to_numpy()
    spots = middle + np.linspace(-0.25, 0.25, len(trials)) * width if len(trials) > 1 else [middle]
    axes.plot(
        spots,
        trials,
        "o",
        markersize=3.6,
        color=INK,
        markerfacecolor=GROUND,
        markeredgewidth=0.8,
        zorder=3,
        label="single trial",
    )
    if (other := view.numbers.baseline(row)) is not None and not view.numbers.is_baseline(row):
        ends = [middle - width / 2, middle + width / 2]
        axes.plot(
            ends, [other["test_mae"]] * 2, color=INK, linestyle=(0, (3, 2)), linewidth=1.2, label=view.against
        )
    if not isnan(row["published_mae"]):
        axes.errorbar(
            [middle + 0.36 * width],
            [row["published_mae"]],
            yerr=[np.nan_to_num(row["published_sd"])],
            fmt="D",
            color=PUBLISHED,
            markerfacecolor=GROUND,
            markersize=5.5,
            capsize=2,
            linewidth=1.1,
            label=view.publisher,
        )


def _write_gain(axes: Axes, row: Row, middle: float) -> None:
    if isnan(row["gain"]):
        return
    told = percent(row["gain"])
    unsure = row["gain_low"] <= 0 <= row["gain_high"]
    axes.annotate(
        f"({told})" if unsure else told,
        (middle, 0),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=INK,
        bbox={"facecolor": GROUND, "edgecolor": "none", "pad": 1.0, "alpha": 0.9},
    )


def positions(values: list[Label]) -> tuple[list[float], bool]:
    """Return where the values of an axis are drawn, and whether on a logarithmic scale.

    >>> positions([10, 100]), positions(["941", "1K", "5K"]), positions(["1K", "all"])
    (([10.0, 100.0], True), ([941.0, 1000.0, 5000.0], True), ([0.0, 1.0], False))
    """
    found = []
    for value in values:
        text = str(value).upper()
        factor = {"K": 1e3, "M": 1e6}.get(text[-1:], 1.0)
        try:
            found.append(factor * float(text.rstrip("KM")))
        except ValueError:
            return [float(place) for place in range(len(values))], False
    if min(found, default=0.0) <= 0:
        return [float(place) for place in range(len(values))], False
    return found, True
