"""Error against the number of labels, by source: draws ``docs/figures/sources.png``.

``python -m benchmarks.sources`` draws what ``results/small_data.csv`` holds: a row for each point, with the
command that gives it. ``--studies`` first writes the rows of trained networks anew from ``results/studies``.
"""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tlzoo.machine.files import whole

HERE = Path(__file__).parent
TABLE = HERE / "results" / "small_data.csv"
PICTURE = HERE.parent / "docs" / "figures" / "sources.png"

# Panels: what the errors are of.
PANELS = {"phonons": "phonon peak, test MAE in 1/cm", "dielectric": "dielectric constant, test MAE"}
# Networks of studies: study, its source, and what the table calls source and head.
NETWORKS = (
    ("ft-size", "scratch", "scratch", "CGCNN"),
    ("mpt", "fe-100K", "cgcnn-fe", "fine-tuned"),
    ("transfer-alignn", "fe", "alignn-s-fe", "fine-tuned"),
)
# Transfer-alignn has no other.
SIZE = 800
# Colour-blind safe (Okabe & Ito), by the first of these that a source contains.
FAMILIES = {
    "scratch": "#999999",
    "phonons:": "#D55E00",
    "elastic:": "#D55E00",
    "chgnet": "#009E73",
    "sevennet": "#009E73",
    "alignn": "#0072B2",
    "cgcnn": "#56B4E9",
}
OTHER = "#000000"
MARKERS = "osD^v"


def studied() -> pd.DataFrame:
    """Return the rows of networks: mean and standard deviation of the test errors over the trials."""
    rows = []
    for study, source, name, head in NETWORKS:
        runs = pd.read_parquet(HERE / "results" / "studies" / f"{study}.parquet")
        runs = runs[runs.chosen.astype(bool) & (runs.source == source) & runs.target.isin(list(PANELS))]
        sizes = runs["size"].astype(int) if "size" in runs else SIZE
        for (data, labels), some in runs.assign(labels=sizes).groupby(["target", "labels"]):
            command = f"tlzoo study run configs/studies/{study}.yaml --only source={source} target={data}"
            errors = some.test_mae
            rows.append((data, labels, name, head, errors.mean(), errors.std(), len(some), command))
    names = ["data", "labels", "source", "head", "mae_mean", "mae_sd", "trials", "command"]
    return pd.DataFrame(rows, columns=names).round({"mae_mean": 4, "mae_sd": 4})


def renewed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with today's rows of networks."""
    ours = {(name, head) for _, _, name, head in NETWORKS}
    others = [pair not in ours for pair in zip(table.source, table["head"], strict=True)]
    return pd.concat([studied(), table[others]])


def draw(table: pd.DataFrame) -> Figure:
    """Draw a panel for each data set, a line for each source with its head."""
    figure = Figure(figsize=(5.2 * len(PANELS), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    looks: dict[str, tuple[str, str]] = {}
    for i, (data, title) in enumerate(PANELS.items()):
        panel(figure.add_subplot(1, len(PANELS), i + 1), table[table.data == data], title, looks)
    found = {}
    for ax in figure.axes:
        found |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(
        found.values(), found.keys(), loc="outside lower center", ncols=2, fontsize=8, frameon=False
    )
    return figure


def panel(ax: Axes, table: pd.DataFrame, title: str, looks: dict[str, tuple[str, str]]) -> None:
    """Draw a panel; ``looks`` are colour and marker by label, the same in all panels."""
    for (source, head), rows in table.groupby(["source", "head"], sort=False):
        label, line = f"{source}, {head}", rows.sort_values("labels")
        if label not in looks:
            colour = next((colour for part, colour in FAMILIES.items() if part in source.lower()), OTHER)
            used = sum(colour == other for other, _ in looks.values())
            looks[label] = colour, MARKERS[used % len(MARKERS)]
        colour, marker = looks[label]
        ax.errorbar(
            line.labels,
            line.mae_mean,
            line.mae_sd.fillna(0),
            label=label,
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.2,
            elinewidth=0.7,
            linestyle="--" if "published" in head else "-",
        )
    ax.set(xscale="log", yscale="log", xlabel="labels", ylabel=title)
    ax.set_xticks(ticks := sorted(set(table.labels)), [str(tick) for tick in ticks])
    low, high = table.mae_mean.min() / 1.2, table.mae_mean.max() * 1.2
    marks = [m * 10**e for e in range(-2, 4) for m in (1, 2, 3, 5) if low <= m * 10**e <= high]
    ax.set_yticks(marks, [f"{mark:g}" for mark in marks])
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(linewidth=0.3)


def main() -> None:
    """Draw, and rewrite the table if that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sources", description=__doc__)
    parser.add_argument("--studies", action="store_true", help="write the rows of trained networks anew")
    table = pd.read_csv(TABLE)
    if parser.parse_args().studies:
        table = renewed(table)
        table.to_csv(TABLE, index=False)
    with whole(PICTURE) as partial:
        draw(table).savefig(partial, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
