"""Speed on this machine: ``python -m benchmarks [NAME]``, NAME a data set.

Crystals per second for building graphs, putting batches together, training and prediction: the backbones as
published, fp32, batches of 64, the median of several repeats after one to warm up.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from tlzoo.backbones import ALIGNN, CGCNN
from tlzoo.backbones.base import Backbone
from tlzoo.data import named
from tlzoo.graphs.store import GraphStore
from tlzoo.heads import Regression

BATCH = 64


def main() -> None:
    """Measure and print the table."""
    default = "piezoelectric" if os.environ.get("TLZOO_DATA") else "semiconductors"
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", default=default, help=f"data set (default: {default})")
    parser.add_argument("--crystals", type=int, default=512, help="how many of them at most (default: 512)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of each measurement (default: 5)")
    given = parser.parse_args()
    crystals = named.load(given.name)
    crystals = crystals.select(np.arange(min(given.crystals, len(crystals))))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    place = f"CPU, threads: {torch.get_num_threads()}"
    if device.type == "cuda":
        place = torch.cuda.get_device_name()
    atoms = crystals.num_atoms.mean()
    print(f"{given.name}: {len(crystals)} crystals of {atoms:.1f} atoms; {place}; torch {torch.__version__}")
    print(f"{'crystals per second':32}{'CGCNN':>10}{'ALIGNN':>10}")
    speeds = []
    for backbone in (CGCNN(), ALIGNN()):
        build = partial(GraphStore.in_memory, crystals, backbone.graph)
        store = build()
        rows = np.random.default_rng(0).permutation(len(crystals))[:BATCH]
        batch = store.batch(rows).to(device)
        work: dict[str, tuple[int, Callable[[], object]]] = {
            "building graphs": (len(crystals), build),
            "putting a batch together": (len(rows), partial(store.batch, rows)),
            "training step": (len(rows), training_step(backbone.to(device), batch)),
            "prediction": (len(rows), prediction(backbone, batch)),
        }
        speeds.append({name: n / seconds(act, given.repeats) for name, (n, act) in work.items()})
    for name in speeds[0]:
        print(f"{name:32}" + "".join(f"{speed[name]:>10,.0f}" for speed in speeds))


def training_step(backbone: Backbone, batch: Data) -> Callable[[], object]:
    """Return an action: forward, backward and a step of AdamW, with a regression head."""
    targets = torch.randn(batch.num_crystals, 1)
    head = Regression().bind(backbone.out_dim)
    head.fit(targets)
    targets = targets.to(batch.numbers.device)
    head.to(targets.device)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()])

    def step() -> None:
        backbone.train()
        optimizer.zero_grad()
        head.loss(head(backbone(batch)), targets).backward()
        optimizer.step()

    return step


def prediction(backbone: Backbone, batch: Data) -> Callable[[], object]:
    """Return an action: the embeddings of a batch."""

    def predict() -> Tensor:
        backbone.eval()
        with torch.inference_mode():
            embeddings: Tensor = backbone(batch)
        return embeddings

    return predict


def seconds(action: Callable[[], object], repeats: int) -> float:
    """Return the median time of an action, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return median(times[1:])


if __name__ == "__main__":
    main()
