"""Layers on edges against plain torch: every edge by itself, concatenated, derived by autograd."""

import copy

import pytest
import torch
from torch.nn import functional as F

from tlzoo.nn.edge_gated_conv import EdgeGatedConv
from tlzoo.nn.edge_linear import edge_linear
from tlzoo.nn.edges import Edges, pointers
from tlzoo.nn.gated_conv import GatedConv, gate_sum
from tlzoo.nn.rows import Rows

# node 2 has no edge into it, node 3 none out of it; two edges are equal
INDEX = torch.tensor([[1, 0, 2, 0, 0, 1], [0, 1, 1, 1, 3, 3]])
NODES = torch.tensor([1.0, 2.0, 1.0, 3.0]).double()
COUNT = torch.tensor([2.0, 1.0, 3.0, 1.0, 1.0, 4.0]).double()


@pytest.fixture
def edges():
    return Edges.of(INDEX, COUNT, NODES)


def test_parts_begin_where_no_edge_leads_across():
    """Three crystals of 2, 1 and 3 nodes, with 2, 2 and 4 edges."""
    index = torch.tensor([[1, 0, 2, 2, 5, 3, 4, 3], [0, 1, 2, 2, 3, 4, 4, 5]])
    edges = Edges.of(index, torch.ones(8), torch.ones(6))
    assert edges.borders.tolist() == [0, 2, 3, 6]
    assert edges.parts(1) == ([0, 6], True)
    assert edges.parts(2) == ([0, 3, 6], True)
    assert edges.parts(4) == ([0, 2, 3, 5, 6], False)
    assert edges.shares(2) == ([[(0, 3)], [(3, 6)]], True)
    assert edges.shares(4) == ([[(0, 2)], [(2, 3)], [(3, 5)], [(5, 6)]], False)


@pytest.mark.parametrize(
    ("edges_of_crystals", "shares"),
    [
        ([1, 6, 1, 4], [[(1, 2)], [(0, 1), (2, 4)]]),  # [7, 5] in order, [6, 6] dealt
        ([3, 6, 3], [[(1, 2)], [(0, 1), (2, 3)]]),  # no border near the middle
    ],
)
def test_crystals_of_different_size_are_dealt_to_threads(edges_of_crystals, shares):
    """Crystals of one node each."""
    node = torch.arange(len(edges_of_crystals)).repeat_interleave(torch.tensor(edges_of_crystals))
    edges = Edges.of(node.expand(2, -1), torch.ones(len(node)), torch.ones(len(edges_of_crystals)))
    assert edges.shares(2) == (shares, True)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def derivatives(outputs, *inputs):
    """The derivatives of a sum that weighs every number differently."""
    generator = torch.Generator().manual_seed(9)
    weighted = sum((out * torch.randn(out.shape, generator=generator).double()).sum() for out in outputs)
    return torch.autograd.grad(weighted, inputs)


def assert_same(got, wanted, *inputs):
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(derivatives(got, *inputs), derivatives(wanted, *inputs))


def test_pointers_know_empty_segments():
    index = torch.tensor([0, 0, 2, 2, 2, 3])
    assert pointers(index, 5).tolist() == [0, 2, 2, 5, 6, 6]
    assert pointers(index[:0], 2).tolist() == [0, 0, 0]


def test_edges_know_their_order_and_weight(edges):
    assert edges.by_target.tolist() == [0, 1, 4, 4, 6]
    assert edges.source[edges.order].tolist() == sorted(INDEX[0].tolist())
    assert edges.by_source.tolist() == [0, 3, 5, 6, 6]
    assert edges.rows.count.tolist() == [2, 2, 6, 2, 3, 12]
    assert edges.rows.total == 27
    assert edges.rows.share.sum() == pytest.approx(1)


def test_edge_linear_is_linear_on_the_concatenation(edges):
    y, weight, nodes, split = random(6, 5), random(3, 5, seed=1), random(4, 2, seed=2), random(3, 4, seed=3)
    got = edge_linear(y, weight, nodes @ split[:, :2].t(), nodes @ split[:, 2:].t(), edges)
    source, target = INDEX
    wanted = torch.cat([nodes[target], nodes[source], y], dim=1) @ torch.cat([split, weight], dim=1).t()
    assert_same([got], [wanted], y, weight, nodes, split)


def test_edge_linear_in_bf16_is_close_and_in_fp32(edges):
    y, weight, nodes = (random(*shape).detach().float() for shape in ((6, 64), (8, 64), (4, 8)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = edge_linear(y, weight, nodes, nodes, edges)
    assert got.dtype == torch.float32
    wanted = edge_linear(y, weight, nodes, nodes, edges)
    assert 0 < (got - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_gate_sum_counts_every_bond(edges):
    z = random(6, 8)
    gate, core = z.chunk(2, dim=1)
    rows = COUNT[:, None] * gate.sigmoid() * F.softplus(core)
    wanted = torch.zeros(4, 4).double().index_add(0, INDEX[1], rows)
    assert_same([gate_sum(z, edges)], [wanted], z)


@pytest.mark.parametrize("dim", [1, 7, 64, 100])
def test_gate_sum_without_derivatives_is_the_same_to_the_last_bit(dim):
    z = random(6, 2 * dim).detach().float()
    narrow = Edges.of(INDEX, COUNT.float(), NODES.float())
    wanted = gate_sum(z.clone().requires_grad_(), narrow)
    with torch.inference_mode():
        assert torch.equal(gate_sum(z, narrow), wanted.detach())


def apart():
    """The same edges, each by itself; atom i of count n as n atoms."""
    nodes = torch.repeat_interleave(torch.arange(4), NODES.long())
    first = [nodes.tolist().index(i) for i in range(4)]
    index, edge = [], []
    for target, node in enumerate(nodes.tolist()):
        for e in torch.nonzero(INDEX[1] == node)[:, 0].tolist():
            index += [(first[INDEX[0, e]], target)] * int(COUNT[e])
            edge += [e] * int(COUNT[e])
    index = torch.tensor(index).t().contiguous()
    return nodes, torch.tensor(edge), Edges.of(index, torch.ones(len(edge)).double(), torch.ones(7).double())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("kind", [GatedConv, EdgeGatedConv])
def test_counted_edges_are_as_good_as_each_by_itself(edges, kind, norm, training):
    torch.manual_seed(0)
    sizes = {"dim": 6, "edge_dim": 6} if kind is GatedConv else {"dim": 6}
    conv = kind(norm=norm, **sizes).double().train(training)
    x, y = random(4, 6), random(6, 6, seed=1)
    separate_conv = copy.deepcopy(conv)

    got = conv(x, y, Rows.of(NODES), edges)
    nodes, edge, alone = apart()
    wanted = separate_conv(x[nodes], y[edge], Rows.of(torch.ones(7).double()), alone)
    if kind is GatedConv:
        got, wanted = (got,), (wanted,)
    for merged, separate, rows in zip(got, wanted, (nodes, edge), strict=False):
        torch.testing.assert_close(merged[rows], separate)
    torch.testing.assert_close(dict(conv.named_buffers()), dict(separate_conv.named_buffers()))

    weights = torch.randn(4, 6, generator=torch.Generator().manual_seed(9)).double()
    torch.testing.assert_close(
        torch.autograd.grad((got[0] * (NODES[:, None] * weights)).sum(), [x, y, *used(conv)]),
        torch.autograd.grad((wanted[0] * weights[nodes]).sum(), [x, y, *used(separate_conv)]),
    )


def used(conv):
    """Parameters that the new atoms depend on."""
    return [p for name, p in conv.named_parameters() if not name.startswith("bn_edges")]
