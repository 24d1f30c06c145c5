"""CGCNN against its equations, one atom and one bond at a time."""

import jaxtyping
import pytest
import torch
from pymatgen.core import Lattice, Structure

from tlzoo.backbones import CGCNN
from tlzoo.crystals import Crystals
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.nn.element_embedding import features

GRAPH = GraphOptions(neighbours=4, merge_tolerance=0)


@pytest.fixture(scope="module")
def batch():
    crystals = [
        Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
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
            tensor.copy_(1 + 0.3 * noise.abs() if "norm" in name or "running" in name else 0.3 * noise)
    return backbone.double()


def slow_norm(weights, name, rows, training):
    rows = torch.stack(rows)
    if f"{name}.running_mean" not in weights:
        mean, var = rows.mean(1, keepdim=True), rows.var(1, unbiased=False, keepdim=True)
    elif training:
        mean, var = rows.mean(0), rows.var(0, unbiased=False)
    else:
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    return list((rows - mean) / (var + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def softplus(x):
    return torch.log1p(torch.exp(x))


def slow_cgcnn(weights, batch, *, depth, training):
    """Equation 5 of Phys. Rev. Lett. 120, 145301 with the concatenation of the paper."""
    bonds = list(zip(*batch.edge_index.tolist(), strict=True))
    edges = [
        torch.tensor([-(((length - 0.2 * k) / 0.2) ** 2) for k in range(41)]).double().exp()
        for length in batch.bond_length.tolist()
    ]
    h = [
        weights["embed.linear.weight"] @ features(int(z)).double() + weights["embed.linear.bias"]
        for z in batch.numbers
    ]
    dim = len(h[0])
    for layer in range(depth):
        conv = f"convs.{layer}"
        matrix = torch.cat([weights[f"{conv}.{part}.weight"] for part in ("target", "source", "edge")], dim=1)
        z = [
            matrix @ torch.cat([h[i], h[j], edge]) + weights[f"{conv}.edge.bias"]
            for (j, i), edge in zip(bonds, edges, strict=True)
        ]
        z = slow_norm(weights, f"{conv}.norm_gate", z, training)
        total = [torch.zeros(dim).double() for _ in h]
        for (_, i), row in zip(bonds, z, strict=True):
            total[i] = total[i] + torch.sigmoid(row[:dim]) * softplus(row[dim:])
        total = slow_norm(weights, f"{conv}.norm_sum", total, training)
        h = [softplus(row + update) for row, update in zip(h, total, strict=True)]
    crystals = [
        [row for row, c in zip(h, batch.batch, strict=True) if c == k] for k in range(batch.num_crystals)
    ]
    return torch.stack([sum(rows) / len(rows) for rows in crystals])


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("training", [False, True])
def test_equals_the_equations(batch, norm, training):
    backbone = scrambled(CGCNN(dim=5, depth=2, norm=norm, graph=GRAPH)).train(training)
    wanted = slow_cgcnn(
        {k: v.clone() for k, v in backbone.state_dict().items()}, batch, depth=2, training=training
    )
    got = backbone(batch)
    torch.testing.assert_close(
        got, wanted, rtol=1e-6, atol=1e-6
    )  # the centres of the Gaussians are rounded to fp32
    torch.testing.assert_close(backbone.float()(single(batch)), wanted.float(), rtol=1e-5, atol=1e-5)


def test_split_layer_is_initialised_as_one():
    conv = CGCNN(dim=64).convs[0]
    bound = (2 * 64 + 41) ** -0.5
    for weight in (conv.target.weight, conv.source.weight, conv.edge.weight):
        assert 0.95 * bound < weight.abs().max() <= bound


def test_bf16_autocast_stays_close(batch):
    backbone = CGCNN(dim=32, graph=GRAPH).eval()
    batch = single(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = backbone(batch)
    assert half.dtype == torch.float32
    assert 0 < (half - backbone(batch)).abs().max() < 0.05 * backbone(batch).abs().max()


def test_published_size():
    # 92·64 + 64, then per layer (2·64 + 41 + 1)·128 and two norms of 128 and 64
    assert sum(p.numel() for p in CGCNN().parameters()) == 5952 + 3 * (170 * 128 + 256 + 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 0}, "dim and depth must be at least 1, got dim=64, depth=0"),
        ({"dropout": 1.0}, r"dropout must be at least 0 and below 1, got 1\.0"),
        ({"pooling": "median"}, "pooling must be 'mean', 'sum', 'max' or 'attention', got 'median'"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=message):
        CGCNN(**arguments)
