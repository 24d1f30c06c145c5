"""Errors as bars: draws transfer.png, head.png, starts.png, several.png and controls.png of ``docs/figures``.

``python -m benchmarks.overview`` draws what ``results/studies`` holds; nothing is trained. The best published
errors are those of ALIGNN over all sources of Devi et al., npj Comput. Mater. 10, 300 (2024).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tlzoo.machine.files import whole

HERE: Final = Path(__file__).parent
FIGURES: Final = HERE.parent / "docs" / "figures"


class Panel(NamedTuple):
    """Errors of one property after so many labels.

    Attributes:
        study: Whose results, ``results/studies/STUDY.parquet``.
        target: The property, as the study calls it.
        size: Labels to learn from; None where the study has but one number.
        title: What is measured, with its unit.
        published: The best published error, in the same unit.
    """

    study: str
    target: str
    size: str | None
    title: str
    published: float


class Bar(NamedTuple):
    """A way to learn: the source in the study, what it is called, colour (Okabe & Ito) and hatching."""

    source: str
    label: str
    colour: str
    hatch: str


TRANSFER: Final = (
    Panel("taught", "phonons", "100", "phonon peak\n100 labels, 1/cm", 177),
    Panel("taught", "phonons", "800", "phonon peak\n800 labels, 1/cm", 45.7),
    Panel("taught", "dielectric", "800", "dielectric constant\n800 labels", 2.26),
    Panel("taught", "log_gvrh", "800", "shear modulus\n800 labels, log10(GPa)", 0.112),
    Panel("taught", "expt_gap", "800", "measured band gap\n800 labels, eV", 0.475),
)
WAYS: Final = (
    Bar("scratch", "from scratch", "#999999", ""),
    Bar("taught", "fine-tuned from momentnet-u", "#0072B2", "//"),
)
HEAD: Final = (
    Panel("kept-head", "expt_gap", "100", "measured band gap\n100 labels, eV", 0.58),
    Panel("kept-head", "expt_gap", "800", "measured band gap\n800 labels, eV", 0.475),
    Panel("other-crystals", "log_gvrh", "100", "shear modulus\n100 labels, log10(GPa)", 0.177),
    Panel("other-crystals", "log_gvrh", "800", "shear modulus\n800 labels, log10(GPa)", 0.112),
)
HEADS: Final = (
    Bar("scratch", "from scratch", "#999999", ""),
    Bar("new-head", "new head", "#56B4E9", "//"),
    Bar("kept-head", "trained head kept", "#0072B2", "xx"),
)
SEVERAL: Final = (
    Panel("mpt", "phonons", "800", "phonon peak\n1/cm", 45.7),
    Panel("mpt", "dielectric", "800", "dielectric\nconstant", 2.26),
    Panel("mpt", "piezoelectric", "800", "piezoelectric\nmodulus, C/m²", 0.731),
    Panel("mpt", "log_gvrh", "800", "shear modulus\nlog10(GPa)", 0.112),
    Panel("mpt", "expt_gap", "800", "measured gap\neV", 0.475),
    Panel("mpt", "band_gap", "800", "computed gap\neV", 0.552),
)
SOURCES: Final = (
    Bar("scratch", "from scratch", "#999999", ""),
    Bar("fe", "from 941 formation energies", "#56B4E9", ""),
    Bar("fe-100K", "from 69,006 formation energies", "#0072B2", "//"),
    Bar("mpt", "from six properties", "#009E73", "xx"),
)
CONTROLS: Final = (
    Panel("controls", "phonons", None, "phonon peak, 1/cm", 45.7),
    Panel("controls", "log_gvrh", None, "shear modulus, log10(GPa)", 0.112),
    Panel("controls", "expt_gap", None, "measured gap, eV", 0.475),
)
CONTROLLED: Final = (
    Bar("scratch", "from scratch", "#999999", ""),
    Bar("fe", "from 941 formation energies", "#56B4E9", ""),
    Bar("shuffled", "from shuffled labels", "#E69F00", "//"),
    Bar("scratch-long", "scratch, 110 epochs", "#999999", "xx"),
    Bar("scratch-slow", "scratch, low rate", "#666666", ".."),
    Bar("fe-slow", "from 941, low rate", "#0072B2", ".."),
)
PUBLISHED: Final = "best published"
STARTS: Final = (
    Panel("starts", "phonons", "800", "phonon peak\n800 labels, 1/cm", 45.7),
    Panel("starts", "dielectric", "800", "dielectric constant\n800 labels", 2.26),
    Panel("starts", "log_gvrh", "800", "shear modulus\n800 labels, log10(GPa)", 0.112),
    Panel("starts", "expt_gap", "800", "measured band gap\n800 labels, eV", 0.475),
    Panel("starts", "phonons", "100", "phonon peak\n100 labels, 1/cm", 177),
)
STARTED: Final = (
    Bar("scratch-128", "from scratch", "#999999", ""),
    Bar("fe", "from 941 formation energies", "#56B4E9", ""),
    Bar("fe-100K", "from 69,006 formation energies", "#E69F00", "\\\\"),
    Bar("mpt", "from six properties", "#009E73", "xx"),
    Bar("taught", "from cgcnn-u, taught by a potential", "#0072B2", "//"),
)


def errors(panel: Panel, sources: Sequence[str]) -> pd.DataFrame:
    """Return mean and standard deviation of the test errors over the trials, a row per source."""
    runs = pd.read_parquet(HERE / "results" / "studies" / f"{panel.study}.parquet")
    axis = "source" if "source" in runs else "start"
    some = runs[runs.chosen.astype(bool) & (runs.target == panel.target)]
    if panel.size is not None:
        some = some[some["size"] == panel.size]
    return some.groupby(axis).test_mae.agg(["mean", "std"]).loc[list(sources)]


def draw(panels: Sequence[Panel], bars: Sequence[Bar]) -> Figure:
    """Draw a panel for each property, a bar for each way to learn, and the best published error."""
    lines = 1 if len(bars) < 5 else 3  # of the legend
    figure = Figure(figsize=(2.15 * max(len(panels), 4), 2.9 + 0.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    for i, panel in enumerate(panels):
        ax = figure.add_subplot(1, len(panels), i + 1)
        fill(ax, panel, bars)
    handles = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=-(-(len(bars) + 1) // lines),
        frameon=False,
    )
    figure.supylabel("mean absolute error on test crystals", fontsize=9)
    return figure


def fill(ax: Axes, panel: Panel, bars: Sequence[Bar]) -> None:
    """Draw one panel."""
    table = errors(panel, [bar.source for bar in bars])
    for x, bar in enumerate(bars):
        mean, spread = table.loc[bar.source, ["mean", "std"]]
        ax.bar(
            x,
            mean,
            yerr=spread,
            width=0.8,
            label=bar.label,
            color=bar.colour,
            hatch=bar.hatch,
            edgecolor="white",
            ecolor="black",
            capsize=3,
        )
        ax.text(
            x,
            mean / 2,
            f"{mean:.3g}",
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            rotation=0 if len(bars) < 4 else 90,
            fontsize=9,
        )
    ax.axhline(panel.published, color="#D55E00", linestyle="--", linewidth=1.4, label=f"{PUBLISHED} (ALIGNN)")
    ax.set_title(panel.title, fontsize=9)
    ax.set_xticks([])
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


DRAWN: Final[Mapping[str, tuple[Sequence[Panel], Sequence[Bar]]]] = {
    "transfer.png": (TRANSFER, WAYS),
    "starts.png": (STARTS, STARTED),
    "head.png": (HEAD, HEADS),
    "several.png": (SEVERAL, SOURCES),
    "controls.png": (CONTROLS, CONTROLLED),
}


def main() -> None:
    """Draw all."""
    for name, (panels, bars) in DRAWN.items():
        with whole(FIGURES / name) as partial:
            draw(panels, bars).savefig(partial, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
