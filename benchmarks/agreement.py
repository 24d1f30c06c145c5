"""Do the peers compute the same? Their weights and their bonds, put into tlzoo, must give their numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks import steps
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch

# Relative. Sums in another order differ by 1e-6 in fp32; gradients of some weights are small differences.
ALLOWED = {"outputs": 1e-4, "gradients": 1e-3}

Arrays = Mapping[str, NDArray[Any]]

# From a layer of the peer to the layer of tlzoo.
ALIGNN_LAYERS = {
    r"atom_embedding\.layer\.0": "backbone.atoms.0.linear",
    r"atom_embedding\.layer\.1": "backbone.atoms.1",
    r"edge_embedding\.1\.layer\.0": "backbone.bonds.1",
    r"edge_embedding\.1\.layer\.1": "backbone.bonds.2",
    r"edge_embedding\.2\.layer\.0": "backbone.bonds.4",
    r"edge_embedding\.2\.layer\.1": "backbone.bonds.5",
    r"angle_embedding\.1\.layer\.0": "backbone.angles.1",
    r"angle_embedding\.1\.layer\.1": "backbone.angles.2",
    r"angle_embedding\.2\.layer\.0": "backbone.angles.4",
    r"angle_embedding\.2\.layer\.1": "backbone.angles.5",
    r"alignn_layers\.(\d+)\.node_update\.(\w+)": r"backbone.twobody.\1.\2",
    r"alignn_layers\.(\d+)\.edge_update\.(\w+)": r"backbone.threebody.\1.\2",
    r"gcn_layers\.(\d+)\.(\w+)": r"backbone.gcn.\1.\2",
    r"fc": "head.outs.0",
}
CGCNN_LAYERS = {
    r"embed": "backbone.embed.linear",
    r"convs\.(\d+)\.norm_gate": r"backbone.convs.\1.norm_gate",
    r"convs\.(\d+)\.norm_sum": r"backbone.convs.\1.norm_sum",
    r"convs\.(\d+)\.bn": r"backbone.convs.\1.norm_sum",
    r"hidden": "head.trunks.0.1",
    r"out": "head.outs.0",
}


def batch(path: str, rows: NDArray[np.int64]) -> Batch:
    """Return a batch of the graphs in a file, every atom, bond and angle by itself.

    Args:
        path: ``.npz`` with atoms, bonds and perhaps angles of each crystal and their offsets.
        rows: Crystals to take.
    """
    with np.load(path) as file:
        arrays = dict(file)
    atoms, num_atoms, first_atom = _take(arrays["atom_offsets"], rows)
    bonds, num_bonds, first_bond = _take(arrays["bond_offsets"], rows)
    index = arrays["bonds"][:, bonds] + np.repeat(first_atom, num_bonds)
    order = np.argsort(index[1], kind="stable")
    fields = {
        keys.NUMBERS: torch.from_numpy(arrays["numbers"][atoms].astype(np.int64)),
        keys.ATOM_COUNT: torch.ones(len(atoms)),
        keys.BATCH: torch.from_numpy(np.repeat(np.arange(len(rows)), num_atoms)),
        keys.EDGE_INDEX: torch.from_numpy(np.ascontiguousarray(index[:, order])),
        keys.BOND_LENGTH: torch.from_numpy(arrays["length"][bonds][order]),
        keys.BOND_COUNT: torch.ones(len(bonds)),
    }
    if "angles" in arrays:
        angles, num_angles, _ = _take(arrays["angle_offsets"], rows)
        place = np.empty_like(order)  # of each bond after sorting
        place[order] = np.arange(len(order))
        index = place[arrays["angles"][:, angles] + np.repeat(first_bond, num_angles)]
        order = np.argsort(index[1], kind="stable")
        fields |= {
            keys.ANGLE_INDEX: torch.from_numpy(np.ascontiguousarray(index[:, order])),
            keys.ANGLE_COSINE: torch.from_numpy(arrays["cosine"][angles][order]),
            keys.ANGLE_COUNT: torch.ones(len(angles)),
        }
    return Batch(**fields, **{keys.NUM_CRYSTALS: len(rows)})


def _take(
    offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the items of some rows, how many each row has, and where each row begins in the batch."""
    sizes = np.diff(offsets)[rows]
    items = np.concatenate([np.arange(*offsets[row : row + 2]) for row in rows])
    return items, sizes, np.cumsum(sizes) - sizes


def differences(
    path: str,
    peer: str,
    parts: dict[str, nn.Module],
    forward: Callable[[Batch], Tensor],
    batches: list[Batch],
) -> dict[str, Any]:
    """Return the relative differences of predictions and gradients from those in a file.

    Args:
        path: ``.npz`` with the peer's weights, outputs and gradients, besides its graphs.
        peer: ``alignn``, ``cgconv`` or ``recipe``.
        parts: Backbone and head, which get the weights.
        forward: From a batch to predictions.
        batches: The graphs of the file.
    """
    with np.load(path) as file:
        arrays = dict(file)
    weights = translated(peer, _below(arrays, "weight.model."))
    own = nn.ModuleDict(parts)
    state = {name: torch.from_numpy(array) for name, array in weights.items() if name in own.state_dict()}
    if peer == "cgconv":
        state |= {name: one_less_eps(own, name) for name in own.state_dict() if "norm_gate" in name}
    lacking = [name for name in own.state_dict() if name not in state and "scaler" not in name]
    if lacking:
        raise ValueError(f"{peer} has no weights for {', '.join(lacking)}")
    own.load_state_dict(own.state_dict() | state)
    outputs, gradients = steps.outputs_and_gradients(forward, parts, batches)
    wanted = translated(peer, _below(arrays, "gradient.model."))
    shared = [name for name in gradients if name in wanted]
    return {
        "outputs": _relative(outputs.numpy(), arrays["outputs"]),
        "gradients": max(_relative(gradients[name].numpy(), wanted[name]) for name in shared),
        "crystals": len(outputs),
        "weights": len(shared),
        # of the predictions: were they all the same, agreement would say nothing
        "spread": float(np.std(arrays["outputs"]) / np.abs(arrays["outputs"]).max()),
    }


def translated(peer: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Return weights, or gradients, of a peer under the names of tlzoo."""
    layers = ALIGNN_LAYERS if peer == "alignn" else CGCNN_LAYERS
    found: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        layer, _, kind = name.rpartition(".")
        for pattern, ours in layers.items():
            if re.fullmatch(pattern, layer):
                found[f"{re.sub(pattern, ours, layer)}.{kind}"] = array
    for conv in sorted({name.split(".")[1] for name in arrays if name.startswith("convs.")}):
        given = f"convs.{conv}."
        names = (
            [f"{given}linear"] if f"{given}linear.weight" in arrays else [f"{given}lin_f", f"{given}lin_s"]
        )
        weight = np.concatenate([arrays[f"{name}.weight"] for name in names])
        dim = len(weight) // 2
        ours = f"backbone.convs.{conv}."
        found[f"{ours}target.weight"] = weight[:, :dim]
        found[f"{ours}source.weight"] = weight[:, dim : 2 * dim]
        found[f"{ours}edge.weight"] = weight[:, 2 * dim :]
        found[f"{ours}edge.bias"] = np.concatenate([arrays[f"{name}.bias"] for name in names])
    return found


def one_less_eps(own: nn.Module, name: str) -> Tensor:
    """Return the entry of a batch normalisation that changes nothing in evaluation mode."""
    layer, _, kind = name.rpartition(".")
    value = {"weight": 1.0, "running_var": 1.0 - getattr(own.get_submodule(layer), "eps", 0.0)}
    return torch.full_like(own.state_dict()[name], value.get(kind, 0.0))


def _below(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _relative(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
