"""ALIGNN against its equations, one atom, bond and angle at a time."""

import pytest
import torch
from pymatgen.core import Lattice, Structure

from tlzoo.backbones import ALIGNN
from tlzoo.crystals import Crystals
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.nn.element_embedding import features

GRAPH = GraphOptions(neighbours=3, symmetric=True, angles=True, merge_tolerance=0)


@pytest.fixture(scope="module")
def batch():
    crystals = [
        Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.45, 0.5]]),
        Structure(
            Lattice.hexagonal(3.19, 5.18), ["Ga", "N", "N"], [[1 / 3, 2 / 3, 0], [0, 0, 0.4], [0.6, 0.1, 0.7]]
        ),
    ]
    return double(batch_of(Crystals.from_structures(crystals), GRAPH))


def double(batch):
    return batch.clone().apply(lambda values: values.double() if values.is_floating_point() else values)


def single(batch):
    return batch.clone().apply(lambda values: values.float() if values.is_floating_point() else values)


def scrambled(backbone):
    """In double precision, with no parameter or statistic at its initial value."""
    generator = torch.Generator().manual_seed(5)
    for name, tensor in backbone.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(1 + 0.3 * noise.abs() if "running" in name else 0.3 * noise)
    return backbone.double()


class Slow:
    """Equations 1 to 4 of npj Comput. Mater. 7, 185 (2021), with lists of rows."""

    def __init__(self, weights, *, training):
        self.weights, self.training = weights, training

    def linear(self, name, row):
        return self.weights[f"{name}.weight"] @ row + self.weights[f"{name}.bias"]

    def norm(self, name, rows):
        rows = torch.stack(rows)
        if f"{name}.running_mean" not in self.weights:
            mean, var = rows.mean(1, keepdim=True), rows.var(1, unbiased=False, keepdim=True)
        elif self.training:
            mean, var = rows.mean(0), rows.var(0, unbiased=False)
        else:
            mean, var = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        return list(
            (rows - mean) / (var + 1e-5).sqrt() * self.weights[f"{name}.weight"]
            + self.weights[f"{name}.bias"]
        )

    def activate(self, name, rows):
        return [row * torch.sigmoid(row) for row in self.norm(name, rows)]

    def mlp(self, name, rows):
        rows = self.activate(f"{name}.2", [self.linear(f"{name}.1", row) for row in rows])
        return self.activate(f"{name}.5", [self.linear(f"{name}.4", row) for row in rows])

    def conv(self, name, x, y, pairs):
        m = [
            self.linear(f"{name}.src_gate", x[j])
            + self.linear(f"{name}.dst_gate", x[i])
            + self.linear(f"{name}.edge_gate", row)
            for (j, i), row in zip(pairs, y, strict=True)
        ]
        nodes = []
        for i, row in enumerate(x):
            total, gates = torch.zeros_like(row), torch.zeros_like(row)
            for (j, k), edge in zip(pairs, m, strict=True):
                if k == i:
                    total += torch.sigmoid(edge) * self.linear(f"{name}.dst_update", x[j])
                    gates += torch.sigmoid(edge)
            nodes.append(self.linear(f"{name}.src_update", row) + total / (gates + 1e-6))
        x = [row + update for row, update in zip(x, self.activate(f"{name}.bn_nodes", nodes), strict=True)]
        if f"{name}.bn_edges.weight" in self.weights:
            y = [row + update for row, update in zip(y, self.activate(f"{name}.bn_edges", m), strict=True)]
        return x, y


def expand(value, low, high, size):
    spacing = (high - low) / (size - 1)
    return torch.tensor([-((value - low - k * spacing) ** 2) / spacing for k in range(size)]).double().exp()


def slow_alignn(weights, batch, *, alignn_layers, gcn_layers, training):
    slow = Slow(weights, training=training)
    bonds = list(zip(*batch.edge_index.tolist(), strict=True))
    angles = list(zip(*batch.angle_index.tolist(), strict=True))
    x = [slow.linear("atoms.0.linear", features(int(z)).double()) for z in batch.numbers]
    x = slow.activate("atoms.1", x)
    y = slow.mlp("bonds", [expand(length, 0.0, 8.0, 80) for length in batch.bond_length.tolist()])
    z = slow.mlp("angles", [expand(cosine, -1.0, 1.0, 40) for cosine in batch.angle_cosine.tolist()])
    for layer in range(alignn_layers):
        x, y = slow.conv(f"twobody.{layer}", x, y, bonds)
        y, z = slow.conv(f"threebody.{layer}", y, z, angles)
    for layer in range(gcn_layers):
        x, y = slow.conv(f"gcn.{layer}", x, y, bonds)
    crystals = [
        [row for row, c in zip(x, batch.batch, strict=True) if c == k] for k in range(batch.num_crystals)
    ]
    return torch.stack([sum(rows) / len(rows) for rows in crystals])


@pytest.mark.parametrize(("norm", "training"), [("batch", False), ("batch", True), ("layer", True)])
def test_equals_the_equations(batch, norm, training):
    layers = {"alignn_layers": 2, "gcn_layers": 2}
    backbone = scrambled(ALIGNN(dim=4, norm=norm, graph=GRAPH, **layers)).train(training)
    weights = {k: v.clone() for k, v in backbone.state_dict().items()}
    with torch.no_grad():
        wanted = slow_alignn(weights, batch, training=training, **layers)
        got = backbone(batch)
    torch.testing.assert_close(
        got, wanted, rtol=1e-6, atol=1e-6
    )  # the centres of the Gaussians are rounded to fp32
    torch.testing.assert_close(backbone.float()(single(batch)), wanted.float(), rtol=1e-5, atol=1e-5)


def test_bf16_autocast_stays_close(batch):
    backbone = ALIGNN(dim=32, alignn_layers=2, gcn_layers=2, graph=GRAPH).eval()
    batch = single(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = backbone(batch)
    assert half.dtype == torch.float32
    assert 0 < (half - backbone(batch)).abs().max() < 0.05 * backbone(batch).abs().max()


def test_published_size():
    # the authors' model has 4,026,753 parameters: 257 in its last linear layer, two norms nothing reads
    assert sum(p.numel() for p in ALIGNN().parameters()) == 4_026_753 - 257 - 2 * 512


def test_without_line_graph_layers_there_are_no_angles():
    backbone = ALIGNN(dim=4, alignn_layers=0, gcn_layers=1)
    assert list(backbone.groups()) == ["embed", "gcn.0"]
    assert not list(backbone.angles.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"gcn_layers": 0},
            "must be at least 1 and alignn_layers not negative, got dim=256, alignn_layers=4, gcn_layers=0",
        ),
        ({"dropout": -0.1}, r"dropout must be at least 0 and below 1, got -0\.1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ALIGNN(**arguments)
