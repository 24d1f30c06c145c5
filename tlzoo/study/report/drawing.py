"""Figures for screen and print: what they have in common, and their files."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from math import isnan
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlzoo.crystals import with_unit

# In a page these become its own colours of text and background: a figure can be read on a dark page too.
INK: Final = "#16181a"
GROUND: Final = "#fdfefd"
# Readable on both.
QUIET: Final = "#8a8d91"
# colour-blind safe: Okabe & Ito, https://jfly.uni-koeln.de/color
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#D55E00")
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
OURS, NEGATIVE, PUBLISHED = "#0072B2", "#D55E00", "#CC79A7"
# The page is as wide: 1000 px of 1/96 in.
WIDTH: Final = 10.4

STYLE: Final[dict[Any, Any]] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11.0,  # points: 15 px, as the page's text
    "axes.titlesize": 11.0,
    "axes.labelsize": 11.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "legend.fontsize": 10.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.8,
    "text.parse_math": False,  # names are no formulas
    "svg.fonttype": "none",
    "svg.hashsalt": "tlzoo",
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure of the page.

    Attributes:
        name: For files and links: letters, digits, hyphens.
        alternative: What it shows, for those who do not see it.
        figure: The figure; None while there is nothing to draw.
    """

    name: str
    title: str
    caption: str
    alternative: str
    figure: Figure | None

    def png(self) -> bytes:
        """Return it as PNG, on white."""
        return self._saved("png", dpi=200, facecolor="white", metadata={"Software": None})

    def svg(self) -> str:
        """Return it as SVG, the same each time."""
        return self._saved("svg", metadata={"Date": None, "Creator": None}).decode()

    def _saved(self, form: str, **options: Any) -> bytes:  # noqa: ANN401 (of matplotlib)
        assert self.figure is not None
        file = io.BytesIO()
        with style():
            self.figure.savefig(file, format=form, **options)
        return file.getvalue()

    def inline(self) -> str:
        """Return it for a page: in the page's colours, its ids not those of another figure."""
        text = self.svg()
        # a style in it would hold for the whole page, which has one for figures
        text = re.sub(r"\s*<(metadata|style).*?</\1>", "", text[text.index("<svg") :], flags=re.DOTALL)
        text = re.sub(r'\bid="', f'id="{self.name}-', text)
        text = text.replace("url(#", f"url(#{self.name}-").replace('href="#', f'href="#{self.name}-')
        text = text.replace(INK, "currentColor").replace(GROUND, "var(--ground)")
        return text.replace("<svg ", f'<svg role="img" aria-labelledby="{self.name}-alt" ', 1).replace(
            ">", f'><title id="{self.name}-alt">{escape(self.alternative, quote=False)}</title>', 1
        )


@contextmanager
def style() -> Iterator[None]:
    """Draw as the page wants it; nothing else is touched."""
    with mpl.rc_context(STYLE):
        yield


def grid(count: int, columns: int, *, height: float, sides: int = 1) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with panels, at most so many beside each other, and the axes of each panel.

    A panel is so many inches high, and has axes on so many sides of it, beside each other.
    """
    across = min(count, columns)
    rows = -(-count // columns)
    width = min(WIDTH, across * sides * 5.0)
    made = Figure(figsize=(width, rows * height + 0.4), layout="constrained")
    flat = made.subplots(rows, across * sides, squeeze=False).ravel().tolist()
    for axes in flat[count * sides :]:
        axes.set_axis_off()
    return made, [flat[start * sides : (start + 1) * sides] for start in range(count)]


def legend(made: Figure, panels: Iterable[Axes]) -> None:
    """Put one legend for all panels on top."""
    entries: dict[str, Artist] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    if entries:
        made.legend(
            list(entries.values()), list(entries), loc="outside upper left", ncols=min(6, len(entries))
        )


def ticks(axes: Axes, places: Sequence[float], labels: Sequence[object]) -> None:
    """Label places on the horizontal axis; aslant where labels would touch each other."""
    named = [str(label) for label in labels]
    axes.set_xticks(places, named)
    pixels = axes.transData.transform([(place, axes.get_ylim()[1]) for place in places])[:, 0]
    spots = pixels / axes.figure.dpi
    # a letter is about 0.6 of the height of its font wide
    widths = np.array([len(label) + 1 for label in named]) * 0.6 * STYLE["xtick.labelsize"] / 72
    if (np.diff(spots) < (widths[1:] + widths[:-1]) / 2).any():
        axes.tick_params(axis="x", labelrotation=40)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")


def percent(part: float) -> str:
    """Return a gain in percent, always with its sign.

    >>> percent(0.1234), percent(-0.5), percent(-0.0312), percent(float("nan"))
    ('+12 %', '−50 %', '−3.1 %', '–')
    """
    if isnan(part):
        return "–"
    value = 100 * part
    told = f"{value:+.1f} %" if abs(value) < 9.95 else f"{value:+.0f} %"
    return "0.0 %" if told in {"+0.0 %", "-0.0 %"} else told.replace("-", "−")


def quantity(name: str, unit: str) -> str:
    """Return the label of an axis.

    >>> quantity("test MAE", "C/m^2"), quantity("test MAE", "1")
    ('test MAE (C/m²)', 'test MAE')
    """
    return with_unit(name, powers(unit), "{} ({})")


def powers(unit: str) -> str:
    """Return a unit with its powers as they are printed."""
    return unit.replace("^2", "²").replace("^3", "³")
