"""Draw thermal.png of docs/figures from results/thermal.json: `python -m benchmarks.thermal_figure`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.overview import FIGURES, HERE
from tlzoo.machine.files import whole

# Features of the cross-validation: what they are called in the figure, colour (Okabe & Ito), marker.
CALLED: Final = {
    "cgcnn-fe": ("CGCNN, formation energies", "#999999", "v"),
    "cgcnn-gv": ("CGCNN, shear moduli", "#999999", "^"),
    "p3-cgcnn, 3 seeds": ("CGCNN, phase space", "#999999", "s"),
    "descriptors": ("raw descriptors", "#E69F00", "D"),
    "agl-descriptors, 2 seeds": ("network: model conductivity", "#56B4E9", "<"),
    "sps-descriptors, 5 seeds": ("network: scattering phase space", "#56B4E9", ">"),
    "p3-descriptors, 5 seeds": ("network: phase space", "#56B4E9", "o"),
    "mean of these three": ("mean of the three networks", "#0072B2", "*"),
}
FEW: Final = ("Ju et al., 45 crystals", "leave-one-out", "composition")
LEARNED: Final = ("descriptors", "p3-descriptors, 5 seeds", "mean of these three")


def bars(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the error of each kind of features on the 45 crystals."""
    few = [row for row in rows if (row["target"], row["cv"], row["group"]) == FEW]
    found = {row["features"]: row["mae"] for row in few if row["setting"] in ("", "left out")}
    names = sorted((name for name in CALLED if name in found), key=lambda name: -found[name])
    for y, name in enumerate(names):
        ax.barh(y, found[name], color=CALLED[name][1], height=0.75)
        ax.text(found[name] + 0.008, y, f"{found[name]:.2f}", va="center", fontsize=8)
    ax.set_yticks(range(len(names)), [CALLED[name][0] for name in names])
    ax.set_xlim(0, 0.82)
    ax.set_title("45 crystals, one composition left out at a time", fontsize=9)
    ax.set_xlabel("mean absolute error of ln κ", fontsize=9)


def curves(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw errors against the number of crystals learned from."""
    for i, name in enumerate(LEARNED):
        some = [row for row in rows if row["features"] == name and row["crystals"]]
        label, colour, marker = CALLED[name]
        ax.errorbar(
            [row["crystals"] * 1.03**i for row in some],  # beside each other
            [row["mae"] for row in some],
            [row["mae_sd"] for row in some],
            color=colour,
            marker=marker,
            capsize=3,
            label=label,
        )
    ax.set_xscale("log")
    ax.set_xticks([10, 20, 40, 80], ["10", "20", "40", "80"])
    ax.minorticks_off()
    ax.set_ylim(0, None)
    ax.set_title("103 crystals of three structure types", fontsize=9)
    ax.set_xlabel("crystals learned from", fontsize=9)
    ax.set_ylabel("mean absolute error of ln κ", fontsize=9)
    ax.legend(frameon=False, fontsize=8)


def main() -> None:
    """Draw it."""
    found = json.loads((HERE / "results" / "thermal.json").read_text(encoding="utf-8"))
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    bars(left, found["errors"])
    curves(right, found["curve"])
    for ax in (left, right):
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    with whole(FIGURES / "thermal.png") as partial:
        figure.savefig(partial, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
