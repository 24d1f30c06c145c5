"""The results of a study in one file, to hand on or to keep under version control.

A Parquet table, a row per run: the columns of ``results.parquet`` to be read by anybody, ``record``, the
whole row as JSON, and the test part: ids, targets and predictions of its crystals as lists.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tlzoo.errors import UserError, first_line
from tlzoo.machine.files import whole
from tlzoo.study.gathering import results
from tlzoo.study.grid import Study
from tlzoo.study.study_folder import Folder

RECORD: Final = "record"
LISTS: Final = {"id": "crystals", "target": "targets", "prediction": "predictions"}


def pack(study: Study, folder: Folder, path: Path) -> int:
    """Write what is done into one file; return how many runs, trivial baselines not counted.

    Raises:
        UserError: There is nothing to write, or it cannot be written.
    """
    rows = folder.rows()
    done = results(study, folder)
    done = done[done["status"] == "done"].drop_duplicates("id")
    if done.empty:
        raise UserError(f"there are no results yet in {folder.path}; begin: tlzoo study run {study.path}")
    trivial = pd.DataFrame({"id": [run.id for run in study.trivial if run.id in rows]})
    table = pd.concat([done, trivial], ignore_index=True) if len(trivial) else done.reset_index(drop=True)
    table[RECORD] = [json.dumps(rows[name], ensure_ascii=False) for name in table["id"]]
    lists = [_lists(folder, name) for name in table["id"]]
    packed = pa.Table.from_pandas(table, preserve_index=False)
    for name in LISTS.values():
        kind = pa.list_(pa.string() if name == LISTS["id"] else pa.float32())
        packed = packed.append_column(name, pa.array([each.get(name) for each in lists], type=kind))
    with whole(path) as partial:
        # hardly a number comes twice: a dictionary of them would only take room
        pq.write_table(packed, partial, compression="zstd", compression_level=19, use_dictionary=False)
    return len(done)


def unpack(study: Study, folder: Folder, path: Path) -> int:
    """Take over from a file what this study wants and its directory has not; return how many runs, as there.

    Of runs that are none of its own nothing is taken: the file may be of a study that shares runs with it.

    Raises:
        UserError: The file is none, or the directory cannot be written.
    """
    try:
        table = pq.read_table(path, columns=["id", RECORD, *LISTS.values()])
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"{path} holds no results of a study: {first_line(error)}; `tlzoo study pack` writes such"
        ) from error
    folder.make()
    there = {name for name, row in folder.rows().items() if row["status"] == "done"}
    ours = {run.id for run in study.runs()}
    wanted = ours | {run.id for run in study.trivial}
    taken = 0
    for row in table.to_pylist():
        if row["id"] in wanted and row["id"] not in there:
            folder.write(json.loads(row[RECORD]), _predictions(row))
            there.add(row["id"])
            taken += row["id"] in ours
    return taken


def _lists(folder: Folder, name: str) -> dict[str, Any]:
    path = folder.predictions(name)
    if not path.is_file():
        return {}
    read = pd.read_parquet(path)
    return {packed: read[column].to_numpy() for column, packed in LISTS.items()}


def _predictions(row: dict[str, Any]) -> pd.DataFrame | None:
    if row[LISTS["id"]] is None:
        return None
    numbers = {name: np.array(row[LISTS[name]], dtype=np.float32) for name in ("target", "prediction")}
    return pd.DataFrame({"id": row[LISTS["id"]], **numbers})
