"""MomentNet against its formulas, written as loops over all atoms and pairs of neighbours."""

import itertools

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import legval
from torch.nn import functional as F

from tlzoo.backbones import MomentNet
from tlzoo.backbones.momentnet import envelope
from tlzoo.crystals import Crystals
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.graphs.neighbours import neighbours
from tlzoo.nn.edges import Edges
from tlzoo.nn.moment_conv import Directions, invariants, sum_moments
from tlzoo.testing.backbone_contract import double
from tlzoo.testing.small_crystals import perovskite, rock_salt, triclinic

GRAPH = GraphOptions(cutoff=6.0, neighbours=7)


def by_loops(network, structure):
    """The embedding of one crystal: every atom and bond of the cell by itself, no harmonics at all."""
    bonds = neighbours(structure.lattice.matrix, structure.frac_coords, network.graph)
    cutoff = network.graph.cutoff
    x = list(network.embed(torch.tensor(structure.atomic_numbers)))
    for conv in network.convs:
        new = []
        for atom, state in enumerate(x):
            messages, units = [], []
            for bond in np.flatnonzero(bonds.target == atom):
                r = bonds.length[bond]
                centres = np.linspace(0, cutoff, 41)
                radial = (
                    np.exp(-(((r - centres) / (cutoff / 40)) ** 2)) * 0.5 * (1 + np.cos(np.pi * r / cutoff))
                )
                weights = conv.radial.weight @ torch.tensor(radial)
                messages.append(weights * (conv.source.weight @ x[bonds.source[bond]]))
                units.append(bonds.vector[bond] / r)
            messages = torch.stack(messages) / network.graph.neighbours**0.5
            powers = [torch.zeros(network.dim).double() for _ in range(network.degree)]
            for (m, u), (n, v) in itertools.product(zip(messages, units, strict=True), repeat=2):
                for degree, power in enumerate(powers, 1):
                    power.add_(m * n * legval(u @ v, [0] * degree + [1]))
            scale = (1 + sum(powers)) ** -0.5
            products = [messages.sum(0), *(power * scale for power in powers)]
            if network.degree > 1:
                first = sum(m[:, None] * torch.tensor(u) for m, u in zip(messages, units, strict=True))
                along = [(first @ torch.tensor(u)) ** 2 for u in units]
                triple = sum(
                    m * (3 * a - first.square().sum(1)) / 2 for m, a in zip(messages, along, strict=True)
                )
                products.append(triple * scale**2)
            update = conv.target.weight @ state + conv.moments.weight @ torch.cat(products)
            normal = F.layer_norm(update, update.shape, conv.norm.weight, conv.norm.bias)
            new.append(state + conv.out.weight @ F.silu(normal) + conv.out.bias)
        x = new
    return torch.stack(x).mean(0)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("structure", [rock_salt, perovskite, triclinic])
def test_as_its_formulas_say(structure, degree):
    torch.manual_seed(degree)
    network = MomentNet(dim=5, depth=2, degree=degree, norm="layer", graph=GRAPH).double()
    network.eval()
    with torch.no_grad():
        got = network(double(batch_of(Crystals.from_structures([structure()]), network.graph)))[0]
        wanted = by_loops(network, structure())
    # directions and lengths are stored in fp32
    torch.testing.assert_close(got, wanted, rtol=2e-6, atol=2e-6)


def test_moments_have_their_derivatives():
    torch.manual_seed(0)
    bonds = Edges.of(torch.tensor([[1, 0, 2, 1], [0, 1, 1, 3]]), torch.tensor([2.0, 1, 3, 1]), torch.ones(4))
    directions = Directions.of(bonds, torch.randn(4, 8).double(), 0.3)
    radial, source = (torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def products(radial, source):
        return invariants(sum_moments(radial, source, directions), 2)

    moments = sum_moments(radial, source, directions)
    assert moments.shape == (4, 9, 3)
    # no bond ends in the third atom
    assert not moments[2].any()
    assert torch.autograd.gradcheck(products, (radial, source))


def test_a_bond_ends_smoothly_at_the_cutoff():
    lengths = torch.tensor([0.0, 3.0, 5.999, 6.0, 7.0])
    torch.testing.assert_close(
        envelope(lengths, 6.0), torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0]), atol=1e-6, rtol=0
    )


def test_it_sees_angles_that_pairs_do_not():
    """A straight and a bent molecule with bonds of one length."""
    from pymatgen.core import Lattice, Structure

    straight, bent = (
        Structure(Lattice.cubic(9), ["O", "H", "H"], [[3, 3, 3], [4, 3, 3], end], coords_are_cartesian=True)
        for end in ([2, 3, 3], [3, 4, 3])
    )
    torch.manual_seed(0)
    network = MomentNet(dim=8, depth=1, graph=GraphOptions(cutoff=1.6)).eval()
    with torch.no_grad():
        network.convs[0].radial.weight *= 30  # a message of order one
    one, other = network(batch_of(Crystals.from_structures([straight, bent]), network.graph)).detach()
    assert (one - other).norm() > 1e-4 * one.norm()  # rounding: 1e-7


def test_the_graph_has_the_degree_of_the_network():
    assert MomentNet(degree=3).graph == GraphOptions(degree=3)
    for degree in (0, 4):
        with pytest.raises(UserError, match=f"degree must be from 1 to 3, got {degree}"):
            MomentNet(degree=degree)
    with pytest.raises(UserError, match=r"degree must be from 0 \(no directions\) to 3, got 4"):
        GraphOptions(degree=4)
