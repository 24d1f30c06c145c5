"""What `tlzoo screen` is asked: light to import, for the command line is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to predict, and for which crystals.

    Attributes:
        models: Checkpoints, run directories, ``.safetensors`` files or folders written by `tlzoo features
            --save`; several predict together, as an ensemble.
        pool: The crystals: a named data set, table, folder or archive, as for `tlzoo predict`.
        target: Property to rank by, if the models predict several.
        where: Screen only crystals that meet a condition, for example 'nelements <= 3 and not has(O, F) and
            diamond_like'. If a name in it is wrong, the error lists the names.
        shard: Crystals per shard, the portion that is computed and saved at once.
    """

    models: Sequence[str]
    pool: str
    target: str | None = None
    where: str | None = None
    shard: int = 4096


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run, and what to write; does not change the predictions.

    Attributes:
        output: Ranking to write (``.parquet``).
        folder: Folder for the shards; by default beside the ranking.
        top: Keep only the first N of the ranking; by default all.
        ascending: Put the smallest values first.
        jobs: Number of processes and threads; by default one per core.
        engine: Run on this machine (local) or on a Ray cluster (docs/how-to/cluster.md).
    """

    output: Path
    folder: Path | None = None
    top: int | None = None
    ascending: bool = False
    jobs: int | None = None
    engine: Literal["local", "ray"] = "local"
