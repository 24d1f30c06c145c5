"""A study as a sweep of Weights & Biases: its agents compute the same runs, into the same directory."""

from typing import Any

from tlzoo.study.grid import Study
from tlzoo.study.progress import Progress
from tlzoo.study.study_folder import Folder


def sweep(study: Study, folder: Folder, progress: Progress) -> dict[str, Any]:
    """Return the configuration of a sweep whose grid is the runs that are not done yet.

    Its one parameter is the id of a run: an agent calls ``tlzoo study run FILE --dir DIR --id=ID``.

    All agents must see the folder.
    """
    command = ["tlzoo", "study", "run", str(study.path.resolve()), "--dir", str(folder.path.resolve())]
    return {
        "name": study.name,
        "description": f"tlzoo study {study.name}: a run is told by its id; rows land in {folder.path}",
        "program": "tlzoo",
        "command": [*command, "${args}"],
        "method": "grid",
        "metric": {"name": "val_mae", "goal": "minimize"},
        "parameters": {"id": {"values": [run.id for run in progress.missing]}},
    }
