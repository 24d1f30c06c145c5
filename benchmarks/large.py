"""A large data set: building all graphs, opening them, an epoch; ``python -m benchmarks large``."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import steps
from benchmarks.driver import Processes, WorkerError
from benchmarks.ours import model_of, module_of
from benchmarks.worker import resident, serve
from tlzoo.backbones import CGCNN
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.machine import runtime

DATA = "mp"
ALONE = {"mp": ["778"]}  # an atom with no neighbour within the cut-off


def measure(processes: Processes, repeats: int) -> dict[str, Any]:
    """Measure each in a fresh interpreter; build with as many processes as there are threads."""
    with tempfile.TemporaryDirectory(prefix="tlzoo-bench-large-") as folder:
        settings = {"data": DATA, "folder": folder}
        found = {"read and build": _once(processes, "build", workers=processes.threads, **settings)}
        opened = [_once(processes, "open", **settings) for _ in range(repeats)]
        found["open"] = min(opened, key=lambda one: float(one.get("seconds", 0.0)))
        found["epoch, bf16-mixed"] = _once(processes, "epoch", low=True, **settings)
    return found


def _once(processes: Processes, name: str, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 (of any answer)
    process = processes.fresh("large")
    try:
        return process.ask(do="answer", name=name, settings=settings)
    except WorkerError as error:
        return {"error": str(error).strip().splitlines()[-1]}
    finally:
        process.close()


def load(data: str) -> Crystals:
    """Read the crystals that have a graph."""
    crystals = named.load(data)
    return crystals.select(np.flatnonzero(~np.isin(crystals.ids, ALONE.get(data, []))))


def build(*, data: str, folder: str, workers: int) -> dict[str, float]:
    """Read a data set and build all its graphs."""
    start = time.perf_counter()
    crystals = load(data)
    middle = time.perf_counter()
    store = GraphStore.open(crystals, CGCNN().graph, cache_dir=Path(folder), progress=False, workers=workers)
    return {
        "crystals": len(crystals),
        "seconds to read": middle - start,
        "seconds to build": time.perf_counter() - middle,
        "processes": workers,
        "bonds stored": int(store.bond_offsets[-1]),
    }


def open_(*, data: str, folder: str) -> dict[str, float]:
    """Open the finished store of a data set; the table itself is read before that."""
    crystals = load(data)
    before, start = resident(), time.perf_counter()
    GraphStore.open(crystals, CGCNN().graph, cache_dir=Path(folder), progress=False)
    return {"seconds": time.perf_counter() - start, "MB added": resident() - before}


def epoch(*, data: str, folder: str, low: bool) -> dict[str, float]:
    """Train CGCNN as published on all crystals once."""
    crystals = load(data)
    crystals = replace(crystals, columns={"y": np.random.default_rng(0).normal(size=len(crystals))})
    graph = CGCNN().graph
    model, module = model_of("cgcnn", {}, graph), module_of(crystals, 128, graph, folder)
    act = steps.training(model.loss, model, module.train_dataloader(), low=low)
    start = time.perf_counter()
    act()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "crystals/s": len(module.split.train) / seconds, "MB resident": resident()}


if __name__ == "__main__":
    runtime.configure()  # as the commands do
    serve({}, {"build": build, "open": open_, "epoch": epoch}, "tlzoo", "torch")
