"""CGCNN as its first code goes about it.

A loop over pymatgen's neighbour lists, a fixed table of 12 neighbours an atom, one linear layer on the
concatenation of atom, neighbour and bond. Written from the paper (Phys. Rev. Lett. 120, 145301 (2018)), as
the baseline that later codes started from. The bonds also serve the network of torch-geometric's layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from pymatgen.core import Element, Lattice, Structure
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks import steps
from benchmarks.worker import Job, Table, batches, serve

CUTOFF, NEIGHBOURS = 8.0, 12


def structures_of(table: Table) -> list[Structure]:
    """Return the crystals as pymatgen has them."""
    return [
        Structure(
            Lattice(table.lattice[row]),
            [Element.from_Z(int(z)) for z in table.numbers[slice(*table.offsets[row : row + 2])]],
            table.frac_coords[slice(*table.offsets[row : row + 2])],
        )
        for row in range(len(table))
    ]


def nearest(structure: Structure) -> tuple[list[list[int]], list[list[float]]]:
    """Return index and distance (Å) of the 12 nearest neighbours of each atom.

    Where there are fewer, atom 0 fills the row, beyond the cut-off, as in the first code.
    """
    index, distance = [], []
    for around in structure.get_all_neighbors(CUTOFF, include_index=True):
        near = sorted(around, key=lambda neighbour: neighbour.nn_distance)[:NEIGHBOURS]
        lack = NEIGHBOURS - len(near)
        index.append([neighbour.index for neighbour in near] + [0] * lack)
        distance.append([neighbour.nn_distance for neighbour in near] + [CUTOFF + 1.0] * lack)
    return index, distance


class Sample(NamedTuple):
    """One crystal, or a batch of them."""

    atoms: Tensor
    basis: Tensor
    near: Tensor
    members: list[Tensor]
    targets: Tensor


def samples(table: Table) -> list[Sample]:
    """Return features of atoms and bonds of each crystal."""
    centres = torch.linspace(0, 8, 41)
    found = []
    for row, structure in enumerate(structures_of(table)):
        near, far = nearest(structure)
        index, distance = torch.tensor(near), torch.tensor(far, dtype=torch.float32)
        numbers = table.numbers[slice(*table.offsets[row : row + 2])]
        found.append(
            Sample(
                torch.from_numpy(table.features[numbers]),
                torch.exp(-(((distance[..., None] - centres) / 0.2) ** 2)),
                index,
                [torch.arange(len(numbers))],
                torch.from_numpy(table.targets[row : row + 1]),
            )
        )
    return found


def collate(some: list[Sample]) -> Sample:
    """Put crystals into one batch."""
    index, members, first = [], [], 0
    for sample in some:
        index.append(sample.near + first)
        members.append(sample.members[0] + first)
        first += len(sample.atoms)
    return Sample(
        torch.cat([sample.atoms for sample in some]),
        torch.cat([sample.basis for sample in some]),
        torch.cat(index),
        members,
        torch.cat([sample.targets for sample in some]),
    )


class Convolution(nn.Module):
    """One linear layer on [atom, neighbour, bond], gated sum over the 12 neighbours."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * dim + 41, 2 * dim)
        self.norm_gate = nn.BatchNorm1d(2 * dim)
        self.norm_sum = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor, basis: Tensor, index: Tensor) -> Tensor:
        """Update the atoms."""
        atoms, dim = x.shape
        z = torch.cat([x[:, None].expand(atoms, NEIGHBOURS, dim), x[index], basis], dim=2)
        z = self.norm_gate(self.linear(z).view(-1, 2 * dim)).view(atoms, NEIGHBOURS, 2 * dim)
        gate, core = z.chunk(2, dim=2)
        return F.softplus(x + self.norm_sum((gate.sigmoid() * F.softplus(core)).sum(dim=1)))


class Network(nn.Module):
    """Embedding, convolutions, mean of each crystal, one hidden layer."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Linear(92, dim)
        self.convs = nn.ModuleList(Convolution(dim) for _ in range(depth))
        self.hidden = nn.Linear(dim, 128)
        self.out = nn.Linear(128, 1)

    def forward(self, sample: Sample) -> Tensor:
        """Predict one number for each crystal."""
        x = self.embed(sample.atoms)
        for conv in self.convs:
            x = conv(x, sample.basis, sample.near)
        pooled = torch.stack([x[members].mean(dim=0) for members in sample.members])
        predictions: Tensor = self.out(F.softplus(self.hidden(F.softplus(pooled))))
        return predictions[:, 0]


def network(dim: int, depth: int) -> Network:
    """Return the network, the same weights every time."""
    torch.manual_seed(0)
    return Network(dim, depth)


def collated(table: str, crystals: int, batch: int) -> list[Sample]:
    """Return batches."""
    given = samples(Table.read(table, crystals))
    return [collate([given[row] for row in rows]) for rows in batches(len(given), batch)]


def content(given: list[Sample]) -> dict[str, float]:
    """Return bonds per crystal."""
    return {"bonds": sum(one.near.numel() for one in given) / sum(len(one.targets) for one in given)}


def graphs(*, table: str, crystals: int) -> Job:
    """Build graphs."""
    given = structures_of(Table.read(table, crystals))
    bonds = sum(NEIGHBOURS * len(structure) for structure in given) / len(given)
    return Job(lambda: [nearest(structure) for structure in given], len(given), {"bonds": bonds})


def training(*, table: str, crystals: int, batch: int, network_: dict[str, Any]) -> Job:
    """Train on batches that are ready."""
    model, given = network(**network_), collated(table, crystals, batch)
    return Job(
        steps.training(lambda one: F.l1_loss(model(one), one.targets), [model], given),
        crystals,
        content(given),
    )


def inference(*, table: str, crystals: int, batch: int, network_: dict[str, Any]) -> Job:
    """Predict batches that are ready."""
    model, given = network(**network_), collated(table, crystals, batch)
    return Job(steps.inference(model, [model], given), crystals, content(given))


def epoch(*, table: str, crystals: int, batch: int, network_: dict[str, Any]) -> Job:
    """Train on all crystals once, batch assembly included."""
    model, given = network(**network_), samples(Table.read(table, crystals))
    loader: DataLoader[Sample] = DataLoader(given, batch, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    return Job(steps.training(lambda one: F.l1_loss(model(one), one.targets), [model], loader), crystals)


def assembly(*, table: str, crystals: int, batch: int) -> Job:
    """Put batches together."""
    given = samples(Table.read(table, crystals))
    rows = batches(crystals, batch)
    return Job(lambda: [collate([given[i] for i in some]) for some in rows], crystals)


def export(*, table: str, crystals: int, path: str) -> dict[str, Any]:
    """Write the graphs."""
    np.savez(path, **flat(Table.read(table, crystals)))
    return {}


def reference(
    *, table: str, crystals: int, batch: int, network_: dict[str, Any], path: str
) -> dict[str, Any]:
    """Write graphs, weights, predictions and gradients, for tlzoo to repeat."""
    given = Table.read(table, crystals)
    model, together = network(**network_), collated(table, crystals, batch)
    steps.randomise(model)
    outputs, gradients = steps.outputs_and_gradients(model, {"model": model}, together)
    np.savez(path, outputs=outputs.numpy(), **flat(given), **steps.described(model, gradients))
    return {}


def flat(table: Table) -> dict[str, Any]:
    """Return the bonds as flat arrays with offsets; a bond carries a message from neighbour to centre."""
    found = [nearest(structure) for structure in structures_of(table)]
    sizes = np.diff(table.offsets) * NEIGHBOURS
    return {
        "atom_offsets": table.offsets,
        "bond_offsets": np.cumsum([0, *sizes]),
        "numbers": table.numbers,
        "bonds": np.stack(
            [
                np.concatenate([np.ravel(index) for index, _ in found]),
                np.concatenate([np.repeat(np.arange(len(index)), NEIGHBOURS) for index, _ in found]),
            ]
        ),
        "length": np.concatenate([np.ravel(distance) for _, distance in found]).astype(np.float32),
    }


if __name__ == "__main__":
    serve(
        {
            "graphs": graphs,
            "training": training,
            "inference": inference,
            "epoch": epoch,
            "assembly": assembly,
        },
        {"export": export, "reference": reference},
        "pymatgen",
        "torch",
        "numpy",
    )
