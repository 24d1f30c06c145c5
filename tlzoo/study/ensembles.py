"""Ensembles of a study: trainings whose predictions are averaged before the error is taken."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from tlzoo.errors import UserError
from tlzoo.evaluation.baselines import errors as measured
from tlzoo.study.axes import Condition, Labels, holds
from tlzoo.study.gathering import column, finished
from tlzoo.study.grid import Study
from tlzoo.study.study_folder import Folder

# Between the ids of the members; the id of a run is hexadecimal.
JOINT: Final = "+"
# What an ensemble takes as long as, together.
SUMS: Final = ("seconds", "training_seconds")

EVERY: Final[Condition] = {}


def ensembles(study: Study, folder: Folder, results: pd.DataFrame, only: Condition = EVERY) -> pd.DataFrame:
    """Return the finished runs that tuning chose, or a row per ensemble in the place of its members.

    Of an ensemble not all of whose members are there, there is none.

    Its id is those of its members. Its test errors are those of the mean of their predictions, NaN if some
    are lost. Its validation errors are the mean of theirs: what they predicted there is not kept.

    ``only`` are the runs that are meant: smaller ensembles, if it holds for some of the members.

    Raises:
        UserError: The members of an ensemble were tested on different crystals.
    """
    runs = finished(results)
    if not study.ensemble:
        return runs
    shared = [name for name in study.axes if name not in {*study.ensemble, *study.tuned}]
    members: dict[tuple[object, ...], set[tuple[object, ...]]] = {}
    for run in (run for run in study.runs() if holds(only, run.labels)):
        members.setdefault(_values(study, shared, run.labels), set()).add(
            _values(study, study.ensemble, run.labels)
        )
    # grouping by no column at all is not to be had
    groups = runs.groupby([runs[name] for name in shared] or np.zeros(len(runs)), sort=False)
    found = [
        _ensemble(folder, several)
        for key, several in groups
        if len(several) == len(members[tuple(key) if shared else ()])
    ]
    return pd.DataFrame(found, columns=runs.columns).astype(runs.dtypes)


def predictions(folder: Folder, name: str) -> pd.DataFrame | None:
    """Return what a run or an ensemble predicted for the test part; None if it is lost.

    Returns:
        ``target`` and ``prediction`` by id of the crystal, in the order of the ids.

    Raises:
        UserError: The members were tested on different crystals.
    """
    read = []
    for member in name.split(JOINT):
        path = folder.predictions(member)
        if not path.is_file():
            return None
        read.append(pd.read_parquet(path).set_index("id").astype("float64").sort_index())
    first, *others = read
    if any(not other.index.equals(first.index) for other in others):
        raise UserError(
            f"the runs {name.replace(JOINT, ', ')} were tested on different crystals and make no ensemble: "
            "the axes of `ensemble` must leave the split alone"
        )
    return first.assign(prediction=np.mean([each["prediction"] for each in read], axis=0))


def _ensemble(folder: Folder, members: pd.DataFrame) -> dict[str, Any]:
    name = JOINT.join(members["id"])
    row: dict[str, Any] = {str(key): value for key, value in members.iloc[0].items()} | {"id": name}
    row |= {key: members[key].mean() for key in ("val_mae", "val_rmse", "best_epoch", "epochs")}
    row |= {key: members[key].sum() for key in SUMS}
    row["started_from"] = " ".join(dict.fromkeys(" ".join(members["started_from"]).split()))
    if (table := predictions(folder, name)) is None:
        return row | dict.fromkeys(("test_mae", "test_rmse", "test_r2"), np.nan)
    table = table.dropna(subset="target")
    errors = measured(table["target"].to_numpy(), table["prediction"].to_numpy())
    return row | {f"test_{key}": value for key, value in errors.items()}


def _values(study: Study, names: Sequence[str], labels: Labels) -> tuple[object, ...]:
    return tuple(column(study.axes[name], labels[name]) for name in names)
