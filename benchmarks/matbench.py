"""tlzoo beside the leaderboard of Matbench: prints its places and draws ``docs/figures/matbench.png``.

``python -m benchmarks.matbench`` reads ``results/studies``; nothing is trained. Published errors
(``results/matbench.csv``, mean and standard deviation of the five official folds) are those of the board of
https://github.com/materialsproject/matbench at commit 936176d, its last change of January 2024.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tlzoo.machine.files import whole

HERE: Final = Path(__file__).parent
FIGURE: Final = HERE.parent / "docs" / "figures" / "matbench.png"
PUBLISHED: Final = HERE / "results" / "matbench.csv"
FOLDS: Final = 5
OURS: Final = "tlzoo: "
# Okabe & Ito
COLOURS: Final = {True: "#0072B2", False: "#BBBBBB"}


class Task(NamedTuple):
    """A task of Matbench whose data are here as they are there.

    Attributes:
        name: As the board calls it.
        title: What is measured, with its unit.
        study: Whose results, ``results/studies/STUDY.parquet``.
        ways: What each of our ways to learn is called, by the labels of the study.
    """

    name: str
    title: str
    study: str
    ways: Mapping[tuple[str, ...], str]


TASKS: Final = (
    Task(
        "matbench_phonons",
        "phonon peak, 1/cm (1,265 structures)",
        "matbench-phonons",
        {
            ("momentnet", "taught"): "MomentNet from momentnet-u",
            ("momentnet", "finer"): "MomentNet from momentnet-u2",
            ("alignn-s", "fe"): "small ALIGNN from alignn-s-fe",
            ("alignn-s", "scratch"): "small ALIGNN from scratch",
            ("cgcnn", "fe"): "CGCNN from cgcnn-fe",
            ("cgcnn", "scratch"): "CGCNN from scratch",
        },
    ),
    Task(
        "matbench_expt_gap",
        "measured gap, eV (4,604 formulas)",
        "matbench-expt-gap",
        {("kept-head",): "Roost from roost-fe-bg, head kept", ("scratch",): "Roost from scratch"},
    ),
)


def board(task: Task) -> pd.DataFrame:
    """Return ``method``, ``mae`` and ``sd`` of all that is published and of ours, the best first.

    Of ours what is complete: five folds with the rate that validation chose.
    """
    published = pd.read_csv(PUBLISHED)
    rows = [published[published["task"] == task.name].drop(columns="task")]
    path = HERE / "results" / "studies" / f"{task.study}.parquet"
    runs = pd.read_parquet(path)
    runs = runs[(runs["status"] == "done") & runs["chosen"]]
    axes = ["network", "source"] if "network" in runs else ["source"]
    for way, errors in runs.groupby(axes)["test_mae"]:
        if way in task.ways and len(errors) == FOLDS:
            # as the board has it: of the folds themselves, not an estimate from them
            numbers = {"mae": [errors.mean()], "sd": [errors.std(ddof=0)]}
            rows.append(pd.DataFrame({"method": [OURS + task.ways[way]], **numbers}))
    return pd.concat(rows).sort_values("mae", ignore_index=True)


def draw() -> Figure:
    """Draw a panel for each task, a bar for each method."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for i, task in enumerate(TASKS):
        _fill(figure.add_subplot(1, len(TASKS), i + 1), board(task), task.title)
    figure.supxlabel("mean absolute error, five official folds", fontsize=9)
    return figure


def _fill(ax: Axes, table: pd.DataFrame, title: str) -> None:
    table = table[table["method"] != "Dummy"]
    ours = table["method"].str.startswith(OURS)
    colours = [COLOURS[own] for own in ours]
    style = {"ecolor": "black", "elinewidth": 0.8}
    ax.barh(range(len(table)), table["mae"], xerr=table["sd"], color=colours, error_kw=style)
    for y, mae in enumerate(table["mae"]):
        place = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 6.5}
        ax.annotate(f"{mae:.3g}", (0, y), color="white" if ours.iloc[y] else "black", **place)
    ax.set_yticks(range(len(table)), table["method"], fontsize=7)
    for label, own in zip(ax.get_yticklabels(), ours, strict=True):
        label.set_fontweight("bold" if own else "normal")
    ax.invert_yaxis()
    ax.set_title(title, fontsize=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Print the places and draw the figure."""
    for task in TASKS:
        table = board(task)
        sys.stdout.write(f"{task.name}\n")
        for place, (method, mae, sd) in enumerate(table.itertuples(index=False), 1):
            if place == 1 or method.startswith(OURS):
                sys.stdout.write(f"  {place:2} of {len(table)}: {mae:.4g} ± {sd:.2g}  {method}\n")
    with whole(FIGURE) as partial:
        draw().savefig(partial, format="png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
