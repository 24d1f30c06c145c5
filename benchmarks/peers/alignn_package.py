"""The package ``alignn``: its graph builder and its network in pure torch, as it installs from PyPI.

The network is for properties alone (no forces, no repulsion), which is its fastest setting. Angles are
those between all bonds, as published, and not only between bonds up to 3.5 Å.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig
from alignn.pure_lmdb_dataset import PureTorchLMDBDataset, get_torch_dataset
from alignn.torch_graph_builder import TorchGraph, build_pure_torch_graph
from ase.data import chemical_symbols
from jarvis.core.atoms import Atoms
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks import steps
from benchmarks.worker import Job, Table, batches, resident, serve

Pair = tuple[TorchGraph, TorchGraph]
Sample = tuple[TorchGraph, TorchGraph, Tensor, Tensor]


def atoms_of(table: Table) -> list[Atoms]:
    """Return the crystals as this package reads them."""
    return [
        Atoms(
            lattice_mat=table.lattice[row],
            coords=table.frac_coords[slice(*table.offsets[row : row + 2])],
            elements=[chemical_symbols[z] for z in table.numbers[slice(*table.offsets[row : row + 2])]],
            cartesian=False,
        )
        for row in range(len(table))
    ]


def graph(atoms: Atoms, *, line_graph: bool = True) -> Any:  # noqa: ANN401 (a graph, or two)
    """Return the graph of the 12 nearest within 8 Å and its line graph."""
    return build_pure_torch_graph(atoms, two_body_cutoff=8.0, max_neighbors=12, compute_line_graph=line_graph)


def graphs(*, table: str, crystals: int, line_graph: bool) -> Job:
    """Build graphs."""
    given = atoms_of(Table.read(table, crystals))
    sizes = [graph(atoms) for atoms in given]
    return Job(
        lambda: [graph(atoms, line_graph=line_graph) for atoms in given],
        len(given),
        {
            "bonds": sum(g.num_edges for g, _ in sizes) / len(given),
            "angles": sum(lg.num_edges for _, lg in sizes) / len(given) if line_graph else 0,
        },
    )


def samples(table: Table) -> list[Sample]:
    """Return graphs, line graphs, lattices and targets; features of the elements are those of the table."""
    found = []
    for row, atoms in enumerate(atoms_of(table)):
        g, lg = graph(atoms)
        g.ndata["atom_features"] = torch.from_numpy(table.features)[g.ndata["Z"]]
        lattice = torch.from_numpy(table.lattice[row]).float()
        found.append((g, lg, lattice, torch.tensor(table.targets[row])))
    return found


def collated(table: str, crystals: int, batch: int, device: str) -> list[Sample]:
    """Return batches."""
    given = samples(Table.read(table, crystals))
    collate = PureTorchLMDBDataset.collate_line_graph
    together = [collate([given[row] for row in rows]) for rows in batches(len(given), batch)]
    return [tuple(part.to(device) for part in one) for one in together]


def content(given: list[Sample]) -> dict[str, float]:
    """Return bonds and angles per crystal."""
    crystals = sum(len(targets) for *_, targets in given)
    return {
        "bonds": sum(g.num_edges for g, *_ in given) / crystals,
        "angles": sum(lg.num_edges for _, lg, *_ in given) / crystals,
    }


def network(dim: int, alignn_layers: int, gcn_layers: int, device: str = "cpu") -> ALIGNNAtomWisePure:
    """Return the network for one property."""
    torch.manual_seed(0)
    config = ALIGNNAtomWisePureConfig(
        name="alignn_atomwise_pure",
        alignn_layers=alignn_layers,
        gcn_layers=gcn_layers,
        hidden_features=dim,
        atom_input_features=92,
        gradwise_weight=0.0,
        calculate_gradient=False,
        energy_mult_natoms=False,
        use_penalty=False,
        lg_on_fly=False,
    )
    return ALIGNNAtomWisePure(config).to(device)


def training(
    *, table: str, crystals: int, batch: int, network_: dict[str, Any], device: str = "cpu", low: bool = False
) -> Job:
    """Train on batches that are ready."""
    model, given = network(**network_, device=device), collated(table, crystals, batch, device)
    act = steps.training(lambda one: F.l1_loss(model(one[:3])["out"], one[3]), [model], given, low=low)
    return Job(act, crystals, content(given))


def inference(
    *, table: str, crystals: int, batch: int, network_: dict[str, Any], device: str = "cpu", low: bool = False
) -> Job:
    """Predict batches that are ready."""
    model, given = network(**network_, device=device), collated(table, crystals, batch, device)
    return Job(
        steps.inference(lambda one: model(one[:3])["out"], [model], given, low=low), crystals, content(given)
    )


def loader(given: list[Sample], batch: int) -> DataLoader[Sample]:
    """Return what the package trains from, but in memory instead of unpickled from a database."""
    return DataLoader(given, batch, shuffle=True, collate_fn=PureTorchLMDBDataset.collate_line_graph)  # type: ignore[arg-type]


def epoch(*, table: str, crystals: int, batch: int, network_: dict[str, Any]) -> Job:
    """Train on all crystals once, batch assembly included."""
    model, given = network(**network_), loader(samples(Table.read(table, crystals)), batch)
    return Job(steps.training(lambda one: F.l1_loss(model(one[:3])["out"], one[3]), [model], given), crystals)


def assembly(*, table: str, crystals: int, batch: int) -> Job:
    """Put batches together."""
    given = samples(Table.read(table, crystals))
    collate = PureTorchLMDBDataset.collate_line_graph
    rows = batches(crystals, batch)
    return Job(lambda: [collate([given[i] for i in some]) for some in rows], crystals)


def stored(table: str, crystals: int, folder: str) -> str:
    """Build the database of graphs and return where it is."""
    given = Table.read(table, crystals)
    path = str(Path(folder) / "alignn")
    records = [
        {"jid": str(row), "atoms": atoms.to_dict(), "y": float(given.targets[row])}
        for row, atoms in enumerate(atoms_of(given))
    ]
    get_torch_dataset(records, target="y", output_dir=folder, tmp_name=path, map_size=1e10)
    return path


def store(*, table: str, crystals: int, folder: str) -> Job:
    """Open the database of finished graphs."""
    path = stored(table, crystals, folder)
    before = resident()
    opened = PureTorchLMDBDataset(path)
    return Job(lambda: PureTorchLMDBDataset(path), len(opened), {"resident": resident() - before})


def reading(*, table: str, crystals: int, folder: str, batch: int) -> Job:
    """Open the database and take all batches from it."""
    path = stored(table, crystals, folder)
    collate = PureTorchLMDBDataset.collate_line_graph

    def act() -> None:
        for _ in DataLoader(PureTorchLMDBDataset(path), batch, collate_fn=collate):
            pass

    return Job(act, crystals)


def export(*, table: str, crystals: int, path: str) -> dict[str, Any]:
    """Write the graphs."""
    np.savez(path, **flat([graph(atoms) for atoms in atoms_of(Table.read(table, crystals))]))
    return {}


def reference(
    *, table: str, crystals: int, batch: int, network_: dict[str, Any], path: str
) -> dict[str, Any]:
    """Write graphs, weights, predictions and gradients, for tlzoo to repeat."""
    given = samples(Table.read(table, crystals))
    collate = PureTorchLMDBDataset.collate_line_graph
    together = [collate([given[row] for row in rows]) for rows in batches(len(given), batch)]
    model = network(**network_)
    steps.randomise(model)
    outputs, gradients = steps.outputs_and_gradients(
        lambda one: model(one[:3])["out"], {"model": model}, together
    )
    np.savez(
        path,
        outputs=outputs.numpy(),
        **flat([(g, lg) for g, lg, *_ in given]),
        **steps.described(model, gradients),
    )
    return {}


def flat(pairs: list[Pair]) -> dict[str, Any]:
    """Return graphs as flat arrays with offsets; a bond carries a message from ``src`` to ``dst``."""
    g, lg = [g for g, _ in pairs], [lg for _, lg in pairs]
    return {
        "atom_offsets": np.cumsum([0, *(one.num_nodes for one in g)]),
        "bond_offsets": np.cumsum([0, *(one.num_edges for one in g)]),
        "angle_offsets": np.cumsum([0, *(one.num_edges for one in lg)]),
        "numbers": torch.cat([one.ndata["Z"] for one in g]).numpy(),
        "bonds": torch.cat([torch.stack([one.src, one.dst]) for one in g], 1).numpy(),
        "length": torch.cat([one.edata["r"].norm(dim=1) for one in g]).numpy(),
        "angles": torch.cat([torch.stack([one.src, one.dst]) for one in lg], 1).numpy(),
        "cosine": torch.cat([one.edata["h"] for one in lg]).numpy(),
    }


if __name__ == "__main__":
    serve(
        {
            "graphs": graphs,
            "training": training,
            "inference": inference,
            "epoch": epoch,
            "assembly": assembly,
            "store": store,
            "reading": reading,
        },
        {"export": export, "reference": reference},
        "alignn",
        "torch",
        "numpy",
        "jarvis-tools",
    )
