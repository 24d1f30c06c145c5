"""tlzoo itself, measured as its peers are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import agreement, roofline, steps
from benchmarks.worker import Job, Table, batches, resident, serve
from tlzoo.backbones import ALIGNN, CGCNN, MomentNet
from tlzoo.backbones.backbone import Backbone
from tlzoo.crystals import Crystals
from tlzoo.data.module import CrystalDataModule
from tlzoo.data.splits import Random
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.graph_store import GraphStore
from tlzoo.heads import Regression
from tlzoo.machine import runtime

Kind = Literal["cgcnn", "alignn", "momentnet"]
BACKBONES: dict[str, type[CGCNN | ALIGNN | MomentNet]] = {
    "cgcnn": CGCNN,
    "alignn": ALIGNN,
    "momentnet": MomentNet,
}


def crystals_of(table: Table) -> Crystals:
    """Return the crystals as tlzoo has them, with one target ``y``."""
    return Crystals(
        ids=np.array([str(row) for row in range(len(table))], dtype=object),
        lattice=table.lattice,
        offsets=table.offsets,
        numbers=table.numbers.astype(np.uint8),
        frac_coords=table.frac_coords,
        columns={"y": table.targets.astype(np.float64)},
    )


def options_of(kind: Kind, options: Mapping[str, Any] | None) -> GraphOptions:
    """Return the graph that a backbone reads by default, with changes."""
    return replace(BACKBONES[kind]().graph, **(options or {}))


class Model(NamedTuple):
    """A network with its head."""

    backbone: Backbone
    head: Regression

    def forward(self, batch: Batch) -> Tensor:
        """Return the raw predictions, ``(crystals, 1)``."""
        raw: Tensor = self.head(self.backbone(batch))
        return raw

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean absolute error."""
        return self.head.loss(self.forward(batch), batch[keys.TARGETS])


def model_of(
    kind: Kind, network_: dict[str, Any], graph: GraphOptions, device: str = "cpu", *, compiled: bool = False
) -> Model:
    """Return a network with the head that is published with it: a hidden layer, for ALIGNN none."""
    torch.manual_seed(0)
    backbone: Backbone = BACKBONES[kind](**network_, graph=graph)
    head = Regression(hidden=() if kind == "alignn" else (128,), transform="none")
    head.bind(backbone.out_dim)
    backbone, head = backbone.to(device), head.to(device)
    if compiled:
        backbone.compile(dynamic=True)
    return Model(backbone, head)


def ready(
    table: str, crystals: int, batch: int, graph: GraphOptions, graphs: str | None, device: str
) -> list[Batch]:
    """Return batches with targets, of tlzoo's own graphs or of those in a file."""
    given = Table.read(table, crystals)
    rows = batches(len(given), batch)
    if graphs is None:
        store = GraphStore.in_memory(crystals_of(given), graph)
        found = [store.batch(some) for some in rows]
    else:
        found = [agreement.batch(graphs, some) for some in rows]
    for one, some in zip(found, rows, strict=True):
        one[keys.TARGETS] = torch.from_numpy(given.targets[some, None])
    return [one.to(device) for one in found]


def content(batch: list[Batch]) -> dict[str, float]:
    """Return bonds and angles per crystal: as many as there are, and as many as are stored."""
    total = {"bonds": 0.0, "bonds stored": 0.0, "angles": 0.0, "angles stored": 0.0}
    for one in batch:
        bonds = one[keys.BOND_COUNT] * one[keys.ATOM_COUNT][one[keys.EDGE_INDEX][1]]
        total["bonds"] += float(bonds.sum())
        total["bonds stored"] += len(bonds)
        if keys.ANGLE_COUNT in one:
            angles = one[keys.ANGLE_COUNT] * bonds[one[keys.ANGLE_INDEX][1]]
            total["angles"] += float(angles.sum())
            total["angles stored"] += len(angles)
    crystals = sum(one[keys.NUM_CRYSTALS] for one in batch)
    return {name: count / crystals for name, count in total.items()}


def graphs(*, table: str, crystals: int, kind: Kind, options: dict[str, Any] | None = None) -> Job:
    """Build graphs."""
    given = crystals_of(Table.read(table, crystals))
    build = partial(GraphStore.in_memory, given, options_of(kind, options))
    rows = np.arange(len(given))
    return Job(build, len(given), content([build().batch(rows)]))


def step(
    do: Callable[..., Callable[[], None]],
    *,
    table: str,
    crystals: int,
    batch: int,
    kind: Kind,
    network_: dict[str, Any],
    options: dict[str, Any] | None = None,
    graphs: str | None = None,
    device: str = "cpu",
    low: bool = False,
    compiled: bool = False,
) -> Job:
    """Train on, or predict, batches that are ready."""
    graph = options_of(kind, options)
    model = model_of(kind, network_, graph, device, compiled=compiled)
    given = ready(table, crystals, batch, graph, graphs, device)
    act = model.loss if do is steps.training else model.forward
    return Job(do(act, model, given, low=low), crystals, content(given))


def module_of(given: Crystals, batch: int, graph: GraphOptions, folder: str) -> CrystalDataModule:
    """Return the data module, graphs open, all crystals but one in the training part."""
    split = Random(val=1, test=0, keep_duplicates_together=False)
    module = CrystalDataModule.from_crystals(
        given, targets=["y"], split=split, batch_size=batch, cache_dir=Path(folder)
    )
    module.open_graphs(graph)
    return module


def epoch(
    *,
    table: str,
    crystals: int,
    batch: int,
    kind: Kind,
    network_: dict[str, Any],
    folder: str,
    options: dict[str, Any] | None = None,
    low: bool = False,
) -> Job:
    """Train on all crystals once, batch assembly included."""
    graph = options_of(kind, options)
    model = model_of(kind, network_, graph)
    module = module_of(crystals_of(Table.read(table, crystals)), batch, graph, folder)
    return Job(steps.training(model.loss, model, module.train_dataloader(), low=low), len(module.split.train))


def assembly(
    *, table: str, crystals: int, batch: int, kind: Kind, options: dict[str, Any] | None = None
) -> Job:
    """Put batches together."""
    given = crystals_of(Table.read(table, crystals))
    store = GraphStore.in_memory(given, options_of(kind, options))
    rows = batches(len(given), batch)
    return Job(
        lambda: [store.batch(some) for some in rows],
        len(given),
        content([store.batch(some) for some in rows]),
    )


def store(*, table: str, crystals: int, kind: Kind, folder: str) -> Job:
    """Open the finished store; the table is recognised by its content, so that is read too."""
    given, graph = crystals_of(Table.read(table, crystals)), options_of(kind, None)
    GraphStore.open(given, graph, cache_dir=Path(folder), progress=False)
    before = resident()
    GraphStore.open(replace(given), graph, cache_dir=Path(folder), progress=False)
    # a new table each time: its hash is remembered
    return Job(
        lambda: GraphStore.open(replace(given), graph, cache_dir=Path(folder), progress=False),
        len(given),
        {"resident": resident() - before},
    )


def reading(*, table: str, crystals: int, kind: Kind, folder: str, batch: int) -> Job:
    """Open the finished store and take all batches from it."""
    given, graph = crystals_of(Table.read(table, crystals)), options_of(kind, None)
    rows = batches(len(given), batch)
    GraphStore.open(given, graph, cache_dir=Path(folder), progress=False)

    def act() -> None:
        store = GraphStore.open(replace(given), graph, cache_dir=Path(folder), progress=False)
        for some in rows:
            store.batch(some)

    return Job(act, len(given))


def build(*, table: str, crystals: int, kind: Kind, folder: str, workers: int) -> Job:
    """Build a store on disk, in parallel processes."""
    given, graph = crystals_of(Table.read(table, crystals)), options_of(kind, None)

    def act() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            GraphStore.open(given, graph, cache_dir=Path(fresh), progress=False, workers=workers)

    return Job(act, len(given))


def compare(
    *, table: str, crystals: int, batch: int, kind: Kind, peer: str, network_: dict[str, Any], path: str
) -> dict[str, Any]:
    """Return how far predictions and gradients are from those of a peer with the same weights and bonds."""
    given = Table.read(table, crystals)
    norm = "layer" if peer == "alignn" else "batch"
    graph = options_of(kind, None)
    model = model_of(kind, {**network_, "norm": norm}, graph)
    parts: dict[str, nn.Module] = {"backbone": model.backbone, "head": model.head}
    return agreement.differences(
        path, peer, parts, model.forward, [agreement.batch(path, rows) for rows in batches(len(given), batch)]
    )


def floor(*, low: bool = False, **settings: Any) -> dict[str, Any]:  # noqa: ANN401 (as step takes them)
    """Return operations and bytes of one pass over the batches of a training job."""
    graph = options_of(settings["kind"], settings.get("options"))
    device = settings.get("device", "cpu")
    model = model_of(settings["kind"], settings["network_"], graph, device)
    given = ready(
        settings["table"], settings["crystals"], settings["batch"], graph, settings.get("graphs"), device
    )
    return roofline.floor(model.loss, model, given, low=low)


def profile(**settings: Any) -> dict[str, Any]:  # noqa: ANN401 (as step takes them)
    """Return the operators that a training job spends its time in."""
    return roofline.profile(step(steps.training, **settings).act)


if __name__ == "__main__":
    runtime.configure()  # as the commands do
    serve(
        {
            "graphs": graphs,
            "training": partial(step, steps.training),
            "inference": partial(step, steps.inference),
            "epoch": epoch,
            "assembly": assembly,
            "store": store,
            "reading": reading,
            "build": build,
        },
        {
            "compare": compare,
            "ceilings": roofline.ceilings,
            "floor": floor,
            "profile": profile,
        },
        "tlzoo",
        "torch",
        "torch-geometric",
        "numpy",
        "vesin",
    )
