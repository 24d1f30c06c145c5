"""Draw the pictures of docs/explanation: the layers of the package, and the life of a crystal."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from tlzoo.machine.files import whole

ROOT: Final = Path(__file__).parents[1]
FIGURES: Final = ROOT / "docs" / "figures"
# What the parts do; which there are, and in which layer, stands in CONTRIBUTING.md.
DOES: Final = {
    "testing": "contract tests, also for networks of other packages",
    "__main__": "the command tlzoo",
    "commands": "command lines, made from signatures",
    "server": "the page in the browser and its HTTP API",
    "estimators": "fit and fine-tune from Python and scikit-learn",
    "screen": "rank a pool",
    "study": "compare many trainings",
    "transfer": "fine-tune and compare, recommend, frozen features",
    "tracking": "loggers",
    "zoo": "published networks in configurations",
    "training": "fit and test with Lightning; run directories",
    "evaluation": "metrics, baselines, gains with intervals, plots",
    "model": "network + card = a model that predicts",
    "data": "read files, check, split; named data sets",
    "physics": "phonons and elasticity from potentials",
    "cards": "what is known of a checkpoint",
    "backbones": "CGCNN, MomentNet, ALIGNN, potentials",
    "heads": "what is predicted",
    "descriptors": "numbers of composition and structure",
    "nn": "layers of networks",
    "graphs": "neighbours, bonds, angles; batches; the cache",
    "crystals": "the table of crystals",
    "freezing": "what may be trained",
    "machine": "files, threads, memory",
    "periodicity": "cells",
    "plugins": "entry points",
    "errors": "messages that say what to do",
}
LIFE: Final = (
    ("file", "CIF, POSCAR,\ntable, archive"),
    ("structure", "cell, atoms,\nlabels, units"),
    ("graph", "neighbours within\n8 Å; kept in the cache"),
    ("embedding", "one vector per crystal,\nfrom the backbone"),
    ("property", "from the head,\nin its unit"),
    ("answer", "with interval\nand trust"),
)
LIGHT, DARK, EDGE = "#EAF2F9", "#CFE3F3", "#0072B2"


def layers(contributing: str) -> list[str]:
    """Return the layers as CONTRIBUTING.md lists them, from top to bottom."""
    found = re.search(r"beside it:\n\n```\n(.*?)```", contributing, re.DOTALL)
    assert found, "CONTRIBUTING.md shows the layers no more"
    return found[1].splitlines()


def draw_layers(names: Sequence[str]) -> Figure:
    """Draw a bar for each layer, with what it does."""
    figure, ax = canvas(7.6, 0.36 * len(names))
    for i, name in enumerate(names):
        y = len(names) - 1 - i
        box(ax, 0, y, 7.6, 0.8, LIGHT if i % 2 else DARK)
        ax.text(0.15, y + 0.4, name, va="center", fontsize=9.5, fontweight="bold", color="#1a1a1a")
        told = "; ".join(DOES[part] for part in name.split(", ") if part in DOES)
        ax.text(3.45, y + 0.4, told, va="center", fontsize=9, color="#333333")
    ax.set(xlim=(-0.1, 7.7), ylim=(-0.1, len(names)))
    return figure


def draw_life(steps: Sequence[tuple[str, str]]) -> Figure:
    """Draw a box for each step, and arrows."""
    figure, ax = canvas(10.5, 1.5)
    for i, (name, told) in enumerate(steps):
        x = 1.9 * i
        box(ax, x, 0, 1.55, 1.3, DARK)
        ax.text(
            x + 0.775, 1.0, name, ha="center", va="center", fontsize=10.5, fontweight="bold", color="#1a1a1a"
        )
        ax.text(x + 0.775, 0.45, told, ha="center", va="center", fontsize=7.6, color="#333333")
        if i:
            arrow = {"arrowstyle": "-|>", "color": EDGE, "linewidth": 1.5}
            ax.annotate("", (x - 0.02, 0.65), (x - 0.33, 0.65), arrowprops=arrow)
    ax.set(xlim=(-0.1, 1.9 * len(steps) - 0.2), ylim=(-0.1, 1.4))
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure without axes, in inches."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    return figure, ax


def box(ax: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    """Draw a box with round corners."""
    style = "round,pad=0,rounding_size=0.08"
    ax.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor=EDGE, linewidth=0.8)
    )


def main() -> None:
    """Draw both; the same bytes every time."""
    drawn = {
        "layers.svg": draw_layers(layers((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))),
        "life.svg": draw_life(LIFE),
    }
    with rc_context({"svg.hashsalt": "tlzoo", "svg.fonttype": "none", "font.family": "sans-serif"}):
        for name, figure in drawn.items():
            with whole(FIGURES / name) as partial:
                figure.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
