"""What `tlzoo screen` is asked: light to import, for the command line is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to screen with what.

    Attributes:
        models: Checkpoints, run directories, ``.safetensors`` files or folders of `tlzoo features --save`;
            several are an ensemble.
        pool: The crystals: a named data set, table, folder or archive, as for `tlzoo predict`.
        target: Which property, of models that predict several.
        where: Screen only what meets a condition, as in 'nelements <= 3 and not has(O, F) and diamond_like';
            a wrong name lists those there are.
        shard: Crystals in a shard, which are computed and kept together.
    """

    models: Sequence[str]
    pool: str
    target: str | None = None
    where: str | None = None
    shard: int = 4096


@dataclass(frozen=True, kw_only=True)
class Options:
    """How it is done and what is written; no part of what is predicted.

    Attributes:
        output: The ranking to write, ``.parquet``.
        folder: Where shards are kept; by default beside the ranking.
        top: Keep the first so many; by default all.
        ascending: Put the smallest first.
        jobs: Processes and threads; by default one per core.
        engine: Who computes: this machine, or a Ray cluster, see docs/how-to/cluster.md.
    """

    output: Path
    folder: Path | None = None
    top: int | None = None
    ascending: bool = False
    jobs: int | None = None
    engine: Literal["local", "ray"] = "local"
