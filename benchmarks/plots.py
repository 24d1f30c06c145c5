"""Plots of the measurements, small enough to be kept."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.scaling import Curve, exponent

Found = dict[str, Any]

OURS, THEIRS = "#1b6ca8", "#b8b8b8"
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#edae49", "#6b4c9a")
DPI = 80


def draw(folder: Path, everything: Found) -> dict[str, str]:
    """Draw what there is; return file names by part."""
    mpl.use("Agg")
    pictures = {}
    comparisons = [
        comparison
        for part, found in everything.items()
        if part != "store"
        for comparison in found.get("comparisons", [])
        if comparison["unit"] == "crystals/s"
    ]
    if comparisons:
        pictures["speed"] = _save(folder, "speed", *_speeds(comparisons))
    if "roofline" in everything:
        pictures["roofline"] = _save(folder, "roofline", *_roofline(everything["roofline"]["roofline"]))
    if "scaling" in everything:
        pictures["scaling"] = _save(folder, "scaling", *_scaling(everything["scaling"]["scaling"]))
    return pictures


def _save(folder: Path, name: str, figure: Figure, _: object) -> str:
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)
    return path.name


def _speeds(comparisons: list[Found]) -> tuple[Figure, Any]:
    columns = 2
    rows = -(-len(comparisons) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(13, 2.1 * rows), layout="constrained", squeeze=False)
    for ax in axes.flat[len(comparisons) :]:
        ax.remove()
    for ax, comparison in zip(axes.flat, comparisons, strict=False):
        shown = [row for row in comparison["rows"] if "error" not in row][::-1]
        values = [row["crystals"] / median(row["seconds"]) for row in shown]
        bars = ax.barh(
            [row["who"] for row in shown], values, color=[OURS if row["ours"] else THEIRS for row in shown]
        )
        ax.bar_label(
            bars, [f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value in values], padding=3
        )
        ax.set_title(comparison["title"], loc="left", fontsize="medium")
        ax.margins(x=0.15)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xticks([])
    figure.supxlabel("crystals per second")
    return figure, axes


def _roofline(found: Found) -> tuple[Figure, Axes]:
    figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
    ceilings = found["ceilings"]
    intensity = np.geomspace(0.5, 500, 200)
    for name, style in (("fp32", "-"), ("bf16", "--")):
        height = np.minimum(ceilings[name], intensity * ceilings["bandwidth"])
        ax.plot(intensity, height, f"k{style}", lw=1, label=f"ceiling, {name}")
    for i, point in enumerate(found["points"]):
        floor, time = point["floor"], median(point["seconds"])
        ax.plot(
            floor["flops"] / floor["bytes"],
            floor["flops"] / time / 1e9,
            "D" if point["low"] else "o",
            color=COLOURS[i // 2 % len(COLOURS)],
            label=point["who"],
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="operations of matrix products per byte that must move",
        ylabel="GFLOP/s",
        title="One training step below the ceilings of this machine",
    )
    ax.legend(fontsize="small")
    return figure, ax


def _scaling(found: Found) -> tuple[Figure, Any]:
    figure, axes = plt.subplots(2, 2, figsize=(12, 8.5), layout="constrained")
    for ax, (against, curves) in zip(axes.flat, found.items(), strict=True):
        for curve, colour in zip((Curve(**one) for one in curves), COLOURS, strict=False):
            label = f"{curve.name} (x to the {exponent(curve):.2f})"
            ax.plot(curve.x, curve.seconds, "o-", color=colour, label=label, ms=4)
            x = np.array(curve.x)
            ax.plot(x, curve.seconds[-1] * (x / x[-1]) ** curve.expected, ":", color=colour, lw=0.8)
        ax.set(xscale="log", yscale="log", xlabel=against, ylabel="seconds")
        ax.set_xticks(curves[0]["x"], [f"{x:.0f}" for x in curves[0]["x"]])
        ax.minorticks_off()
        ax.legend(fontsize="small")
    figure.suptitle("Time against size; dotted: as expected, through the last point")
    return figure, axes
