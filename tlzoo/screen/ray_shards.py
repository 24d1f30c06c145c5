"""Shards computed by Ray Data: on this machine, or on a cluster; files are written by the process that asked.

A worker has the models in memory and reads its shards of the pool itself, so pool, models and the directory
of shards must be on a disk that all machines see. Through Ray goes the number of a shard, and the finished
table back as one value: its rows are not to be regrouped, and its bytes are those of a screening without Ray.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlzoo.errors import UserError, first_line
from tlzoo.machine import ray_cluster
from tlzoo.machine.ray_cluster import Place
from tlzoo.screen.screen_request import Request
from tlzoo.screen.screening import Screening
from tlzoo.screen.shards import Shards


def check() -> None:
    """Make sure that Ray is installed.

    Raises:
        UserError: It is not.
    """
    ray_cluster.check("--engine ray", "this machine: --engine local")


def run(screening: Screening, wanted: Sequence[int], jobs: int) -> Iterator[int]:
    """Compute and keep shards; yield the crystals of each when it is done.

    The workers have one core each, on the cluster that ``RAY_ADDRESS`` names, else on this machine.

    Raises:
        UserError: Ray is not installed or not to be reached, a worker cannot begin, or the pool is damaged.
    """
    check()
    import pyarrow as pa
    import ray
    import ray.data

    ray_cluster.start(jobs)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.raise_original_map_exception = True
        numbers = ray.data.from_items([{"number": i} for i in wanted], override_num_blocks=len(wanted))
        done = numbers.map_batches(
            Worker,
            batch_size=1,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=min(jobs, len(wanted))),
            num_cpus=1,
            fn_constructor_args=(Place.here(), screening.request, str(screening.shards.path.resolve())),
        )
        for row in done.iter_rows():
            screening.shards.write(row["number"], pa.ipc.open_stream(row["table"]).read_all())
            yield row["read"]
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:
        raise UserError(
            f"a worker of Ray was lost: {first_line(error)}; run the same command again, "
            "nothing finished is lost"
        ) from error
    finally:
        ray.shutdown()


class Worker:
    """Computes shards in a process of Ray's."""

    def __init__(self, place: Place, request: Request, folder: str) -> None:
        place.settle(threads=1)
        self._screening = Screening(request, Shards(Path(folder)))
        self._screening.open_domains()

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the numbers of shards, how many crystals they have, and their answers, written down."""
        import pyarrow as pa

        numbers = batch["number"].tolist()
        found: dict[str, list[Any]] = {"number": numbers, "read": [], "table": []}
        for number in numbers:
            part = next(self._screening.slices([number]))
            table = self._screening.table(part)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            found["read"].append(len(part.crystals))
            found["table"].append(sink.getvalue().to_pybytes())
        return {
            name: np.array(values, dtype=object if name == "table" else None)
            for name, values in found.items()
        }
