"""The results of a study as a table, a row per run."""

from pathlib import Path

import pandas as pd

from tlzoo.study.axes import Axis, Label
from tlzoo.study.grid import COLUMNS, Study
from tlzoo.study.selection import chosen, is_chosen
from tlzoo.study.study_folder import Folder

TEXTS = ("id", "status", "property", "unit", "started_from", "finished", "error")


def results(study: Study, folder: Folder | Path | None = None) -> pd.DataFrame:
    """Return a row per finished run: id, a column per axis, then numbers in the unit of the target.

    ``chosen`` says whether validation chose the run's values on the tuned axes; without tuning it is true.

    The results are in the study's own directory unless another one is given.
    """
    if not isinstance(folder, Folder):
        folder = Folder(folder or study.folder)
    rows = folder.rows()
    best = chosen(study, rows) if study.tune else {}
    found = []
    for run in study.runs():
        if (row := rows.get(run.id)) is not None:
            models = " ".join(f"{model['name']}@{model['sha256']}" for model in run.started_from)
            facts = {**row, "started_from": models, "chosen": is_chosen(study, run, best)}
            labels = {name: column(study.axes[name], value) for name, value in run.labels.items()}
            found.append({**labels, **{name: facts.get(name) for name in COLUMNS}})
    names = ["id", *study.axes, *COLUMNS[1:]]
    table = pd.DataFrame(found, columns=names)
    numbers = [name for name in COLUMNS if name not in {*TEXTS, "chosen"}]
    table[numbers] = table[numbers].astype("float64")
    table["chosen"] = table["chosen"].astype(bool)
    return table


def finished(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of runs that are done and that tuning chose."""
    return results[(results["status"] == "done") & results["chosen"]]


def baselines(study: Study, folder: Folder | Path | None = None) -> pd.DataFrame:
    """Return a row per split and trivial baseline: id, a column per axis, ``baseline``, then its errors.

    An axis is empty where the runs of a split differ in it.

    The results are in the study's own directory unless another one is given.
    """
    if not isinstance(folder, Folder):
        folder = Folder(folder or study.folder)
    rows, found = folder.rows(), []
    for run in study.trivial:
        row = rows.get(run.id, {})
        labels = {
            name: column(axis, run.labels[name]) for name, axis in study.axes.items() if name in run.labels
        }
        for name, parts in row.get("baselines", {}).items():
            errors = {f"{part}_{key}": value for part, each in parts.items() for key, value in each.items()}
            found.append({**row, **labels, "baseline": name, **errors})
    measures = [f"{part}_{key}" for part in ("val", "test") for key in ("mae", "rmse", "r2")]
    sizes = ["n_train", "n_val", "n_test", "seconds"]
    table = pd.DataFrame(
        found, columns=["id", *study.axes, "baseline", "property", "unit", *measures, *sizes]
    )
    return table.astype(dict.fromkeys([*measures, *sizes], "float64"))


def column(axis: Axis, value: Label) -> Label:
    """Return a value as its column has it: a column holds whole numbers, numbers or texts."""
    kinds = {type(each) for each in axis.values}
    if kinds <= {int}:
        return value
    return float(value) if kinds <= {int, float} else str(value)
