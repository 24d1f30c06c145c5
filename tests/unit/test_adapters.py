"""Adapters of the linear maps of e3nn, whose weight is flat; the contract of freezing has those of torch."""

import pytest
import torch

from tlzoo import adapters

o3 = pytest.importorskip("e3nn.o3")


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return o3.Linear("8x0e + 4x1o + 3x0e", "6x0e + 5x1o", biases=True)


@torch.no_grad()
def stray(linear):
    for parameter in linear.parametrizations.weight[0].parameters():
        parameter.normal_()


def test_each_block_of_the_weight_has_its_own(linear):
    x = linear.irreps_in.randn(7, -1)
    wanted = linear(x)
    adapters.attach(linear, rank=4, alpha=1.0)
    assert torch.equal(linear(x), wanted)
    change = linear.parametrizations.weight[0]
    # (out, in) of the blocks: 6 from 8, 5 from 4, 6 from 3
    assert [(len(b), *a.shape) for a, b in zip(change.a, change.b, strict=True)] == [
        (6, 4, 8), (5, 4, 4), (6, 3, 3),
    ]  # fmt: skip


def test_rank_is_that_of_each_block(linear):
    weight = linear.weight.detach().clone()
    adapters.attach(linear, rank=2, alpha=2.0)
    stray(linear)
    adapters.merge(linear)
    # linear.weight_views() fails on a map with biases (e3nn 0.6.0)
    shapes = [(8, 6), (4, 5), (3, 6)]
    parts = (linear.weight.detach() - weight).split([rows * columns for rows, columns in shapes])
    blocks = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    assert [int(torch.linalg.matrix_rank(block, atol=1e-4)) for block in blocks] == [2, 2, 2]


def test_the_map_stays_equivariant(linear):
    adapters.attach(linear, rank=2, alpha=2.0)
    stray(linear)
    x, turn = linear.irreps_in.randn(7, -1), o3.rand_matrix()
    into, out = (irreps.D_from_matrix(turn) for irreps in (linear.irreps_in, linear.irreps_out))
    torch.testing.assert_close(linear(x @ into.T), linear(x) @ out.T, rtol=1e-4, atol=1e-5)


def test_merged_is_adapted(linear):
    x, names = linear.irreps_in.randn(7, -1), set(linear.state_dict())
    adapters.attach(linear, rank=2, alpha=2.0)
    stray(linear)
    wanted = linear(x)
    adapters.merge(linear)
    assert torch.equal(linear(x), wanted)
    assert set(linear.state_dict()) == names
    assert type(linear) is o3.Linear
