"""Figures of gains over the baseline: a heat map of pairs, and intervals."""

from math import isnan
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tlzoo.study.report.drawing import (
    GROUND,
    INK,
    NEGATIVE,
    OURS,
    PUBLISHED,
    QUIET,
    WIDTH,
    grid,
    legend,
    percent,
    ticks,
)
from tlzoo.study.report.measures import Row, rows
from tlzoo.study.report.view import View


def heatmap(view: View) -> Figure:
    """Draw gains of pairs; published ones beside or below."""
    shown = view.part[view.part["gain"].notna() | view.part["published_gain"].notna()]
    view = View(view.numbers, view.plan, shown)
    across, down = view.values("x"), view.values("y")
    maps = [("this study", "gain"), *([(view.publisher, "published_gain")] if view.publisher else [])]
    beside = len(maps) * (len(across) + 1.6) <= WIDTH
    width = min(WIDTH, (len(across) * 1.05 + 1.6) * (len(maps) if beside else 1) + 0.9)
    height = (len(down) * 0.62 + 1.1) * (1 if beside else len(maps))
    made = Figure(figsize=(width, height), layout="constrained")
    panels = made.subplots(*((1, len(maps)) if beside else (len(maps), 1)), squeeze=False).ravel()
    gains = np.concatenate([shown[column].dropna().to_numpy() for _, column in maps])
    most = float(np.clip(100 * np.abs(gains).max(initial=0.0), 5, 50))
    scale = ScalarMappable(Normalize(-most, most), colormaps["RdBu"])
    for axes, (title, column) in zip(panels, maps, strict=True):
        for x in range(len(across)):
            for y in range(len(down)):
                axes.add_patch(_tile(x, y, facecolor="none", edgecolor=QUIET, linewidth=0.5, alpha=0.5))
        for row in rows(shown):
            if not isnan(row[column]):
                place = across.index(row[view.plan.roles["x"]]), down.index(row[view.plan.roles["y"]])
                _cell(axes, scale, *place, row, column)
        axes.set(
            xlim=(-0.5, len(across) - 0.5), ylim=(len(down) - 0.5, -0.5), title=title if len(maps) > 1 else ""
        )
        ticks(axes, range(len(across)), across)
        axes.set_yticks(range(len(down)), list(map(str, down)))
        axes.set(xlabel=view.name("x"), ylabel=view.name("y"))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    bar = made.colorbar(
        scale,
        ax=list(panels),
        shrink=0.9,
        aspect=18,
        pad=0.01,
        extend="both" if np.abs(gains).max(initial=0) * 100 > most else "neither",
    )
    bar.set_label(f"gain over {view.against} (%)")
    bar.outline.set_visible(False)
    return made


def _cell(axes: Axes, scale: ScalarMappable, x: int, y: int, row: Row, column: str) -> None:
    value = float(row[column])
    colour = tuple(scale.to_rgba(np.array([100 * value]))[0])
    # the better contrast, by the relative luminance of WCAG 2
    luminance = np.dot(((np.array(colour[:3]) + 0.055) / 1.055) ** 2.4, (0.2126, 0.7152, 0.0722))
    text = "black" if luminance > 0.18 else "white"
    axes.add_patch(_tile(x, y, facecolor=colour, linewidth=0))
    if value < 0:
        axes.add_patch(_tile(x, y, fill=False, hatch="////", edgecolor=text, alpha=0.35, linewidth=0))
    ours = column == "gain" and not isnan(row["gain_low"])
    plate = {"facecolor": colour, "edgecolor": "none", "pad": 1.2}
    told = f"({percent(value)})" if ours and row["gain_low"] <= 0 <= row["gain_high"] else percent(value)
    axes.text(x, y - (0.13 if ours else 0), told, ha="center", va="center", color=text, bbox=plate)
    if ours:
        ends = f"{percent(row['gain_low'])} … {percent(row['gain_high'])}".replace(" %", "")
        axes.text(x, y + 0.22, ends, ha="center", va="center", color=text, fontsize=8.5, bbox=plate)


def _tile(x: int, y: int, **look: Any) -> Rectangle:  # noqa: ANN401 (of matplotlib)
    return Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, **look)


def intervals(view: View) -> Figure:
    """Draw gains with their intervals."""
    shown = view.part[view.part["gain"].notna()]
    view = View(view.numbers, view.plan, shown)
    panels, names = view.split("panels", shown), view.values("y")
    made, grids = grid(len(panels), 3, height=len(names) * 0.42 + 1.0)
    for (title, _, part), (axes,) in zip(panels, grids, strict=True):
        axes.axvline(0, color=INK, linewidth=0.9)
        for row in rows(part):
            _interval(axes, names.index(row[view.plan.roles["y"]]), row, view)
        axes.set(ylim=(len(names) - 0.4, -0.6), title=title)
        axes.set_yticks(range(len(names)), list(map(str, names)))
        axes.set_xlabel(f"gain over {view.against} (%)")
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=True, axis="x", color=QUIET, alpha=0.25, linewidth=0.7)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.12)
    legend(made, [axes for (axes,) in grids])
    return made


def _interval(axes: Axes, y: int, row: Row, view: View) -> None:
    value, low, high = (100 * float(row[name]) for name in ("gain", "gain_low", "gain_high"))
    if isnan(low):
        marker, colour, face, label = "x", QUIET, QUIET, "no interval"
    elif low <= 0 <= high:
        marker, colour, face, label = "o", QUIET, GROUND, "interval contains zero"
    elif value > 0:
        marker, colour, face, label = "o", OURS, OURS, "gain"
    else:
        marker, colour, face, label = "v", NEGATIVE, NEGATIVE, view.numbers.harm
    spread = None if isnan(low) else [[max(0.0, value - low)], [max(0.0, high - value)]]
    axes.errorbar(
        [value],
        [y],
        xerr=spread,
        fmt=marker,
        color=colour,
        markerfacecolor=face,
        markersize=7,
        capsize=3,
        label=label,
    )
    if not isnan(row["published_gain"]):
        axes.plot(
            [100 * row["published_gain"]],
            [y + 0.3],
            "D",
            color=PUBLISHED,
            markerfacecolor="none",
            markersize=5.5,
            label=view.publisher,
        )
