"""CGCNN made of torch-geometric's ``CGConv`` and its ``DataLoader``.

``CGConv`` has one normalisation where the published code has two, and no softplus at its end, which is put
behind it here. The bonds are those of the recipe with ``get_all_neighbors``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Batch, Data, InMemoryDataset
from torch_geometric.loader import DataLoader
from torch_geometric.nn import CGConv, global_mean_pool

from benchmarks import steps
from benchmarks.peers.recipe import flat
from benchmarks.worker import Job, Table, batches, resident, serve


class Network(nn.Module):
    """Embedding, convolutions, mean of each crystal, one hidden layer."""

    features: Tensor
    centres: Tensor

    def __init__(self, dim: int, depth: int, features: Tensor) -> None:
        super().__init__()
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("centres", torch.linspace(0, 8, 41), persistent=False)
        self.embed = nn.Linear(92, dim)
        self.convs = nn.ModuleList(CGConv(dim, dim=41, batch_norm=True) for _ in range(depth))
        self.hidden = nn.Linear(dim, 128)
        self.out = nn.Linear(128, 1)

    def forward(self, data: Data) -> Tensor:
        """Predict one number for each crystal."""
        x = self.embed(self.features[data.z])
        basis = torch.exp(-(((data.length[:, None] - self.centres) / 0.2) ** 2))
        for conv in self.convs:
            x = F.softplus(conv(x, data.edge_index, basis))
        pooled = global_mean_pool(x, data.batch, size=data.num_graphs)
        predictions: Tensor = self.out(F.softplus(self.hidden(F.softplus(pooled))))
        return predictions[:, 0]


def network(dim: int, depth: int, table: Table, device: str = "cpu") -> Network:
    """Return the network, the same weights every time."""
    torch.manual_seed(0)
    return Network(dim, depth, torch.from_numpy(table.features)).to(device)


def samples(table: Table) -> list[Data]:
    """Return the graphs."""
    arrays = flat(table)
    found = []
    for row in range(len(table)):
        bonds = slice(*arrays["bond_offsets"][row : row + 2])
        found.append(
            Data(
                z=torch.from_numpy(table.numbers[slice(*table.offsets[row : row + 2])]),
                edge_index=torch.from_numpy(arrays["bonds"][:, bonds]),
                length=torch.from_numpy(arrays["length"][bonds]),
                y=torch.from_numpy(table.targets[row : row + 1]),
            )
        )
    return found


def collated(table: Table, batch: int, device: str = "cpu") -> list[Batch]:
    """Return batches."""
    given = samples(table)
    return [
        Batch.from_data_list([given[row] for row in rows]).to(device) for rows in batches(len(given), batch)
    ]


def content(given: list[Batch]) -> dict[str, float]:
    """Return bonds per crystal."""
    return {"bonds": sum(one.num_edges for one in given) / sum(one.num_graphs for one in given)}


def training(
    *, table: str, crystals: int, batch: int, network_: dict[str, Any], device: str = "cpu", low: bool = False
) -> Job:
    """Train on batches that are ready."""
    read = Table.read(table, crystals)
    model, given = network(**network_, table=read, device=device), collated(read, batch, device)
    act = steps.training(lambda one: F.l1_loss(model(one), one.y), [model], given, low=low)
    return Job(act, crystals, content(given))


def inference(
    *, table: str, crystals: int, batch: int, network_: dict[str, Any], device: str = "cpu", low: bool = False
) -> Job:
    """Predict batches that are ready."""
    read = Table.read(table, crystals)
    model, given = network(**network_, table=read, device=device), collated(read, batch, device)
    return Job(steps.inference(model, [model], given, low=low), crystals, content(given))


def epoch(*, table: str, crystals: int, batch: int, network_: dict[str, Any]) -> Job:
    """Train on all crystals once, batch assembly included."""
    given = Table.read(table, crystals)
    model, loader = network(**network_, table=given), DataLoader(samples(given), batch, shuffle=True)
    return Job(steps.training(lambda one: F.l1_loss(model(one), one.y), [model], loader), crystals)


def assembly(*, table: str, crystals: int, batch: int) -> Job:
    """Put batches together, as the loader does."""
    given = samples(Table.read(table, crystals))
    rows = batches(crystals, batch)
    return Job(lambda: [Batch.from_data_list([given[i] for i in some]) for some in rows], crystals)


class Stored(InMemoryDataset):
    """The graphs of a file, all in memory."""

    def __init__(self, path: str) -> None:
        super().__init__(None)
        self.load(path)


def store(*, table: str, crystals: int, folder: str) -> Job:
    """Open the file of finished graphs."""
    path = str(Path(folder) / "cgconv.pt")
    InMemoryDataset.save(samples(Table.read(table, crystals)), path)
    before = resident()
    opened = Stored(path)
    return Job(lambda: Stored(path), len(opened), {"resident": resident() - before})


def reading(*, table: str, crystals: int, folder: str, batch: int) -> Job:
    """Open the file and take all batches from it."""
    path = str(Path(folder) / "cgconv.pt")
    InMemoryDataset.save(samples(Table.read(table, crystals)), path)

    def act() -> None:
        for _ in DataLoader(Stored(path), batch):
            pass

    return Job(act, crystals)


def reference(
    *, table: str, crystals: int, batch: int, network_: dict[str, Any], path: str
) -> dict[str, Any]:
    """Write graphs, weights, predictions and gradients, for tlzoo to repeat."""
    given = Table.read(table, crystals)
    model = network(**network_, table=given)
    steps.randomise(model)
    outputs, gradients = steps.outputs_and_gradients(model, {"model": model}, collated(given, batch))
    np.savez(path, outputs=outputs.numpy(), **flat(given), **steps.described(model, gradients))
    return {}


if __name__ == "__main__":
    serve(
        {
            "training": training,
            "inference": inference,
            "epoch": epoch,
            "assembly": assembly,
            "store": store,
            "reading": reading,
        },
        {"reference": reference},
        "torch-geometric",
        "torch",
        "numpy",
    )
