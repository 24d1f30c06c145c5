"""SevenNet against the package's own modules, one after the other."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from tlzoo.backbones.sevennet import SevenNet
from tlzoo.crystals import Crystals
from tlzoo.graphs import keys
from tlzoo.graphs.batch import Batch
from tlzoo.graphs.vector_store import VectorStore

pytest.importorskip("sevenn", reason="the package sevenn comes with tlzoo[sevenn]")


@pytest.fixture(scope="module", params=["0", "l3i5"])
def network(request):
    torch.manual_seed(0)
    return SevenNet(architecture=request.param)


@pytest.fixture(scope="module")
def batch(network):
    crystals = [
        Structure(Lattice.cubic(4.12), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.45, 0.5]]),
        Structure(
            Lattice.hexagonal(3.19, 5.18), ["Ga", "N", "N"], [[1 / 3, 2 / 3, 0], [0, 0, 0.4], [0.6, 0.1, 0.7]]
        ),
    ]
    return VectorStore.in_memory(Crystals.from_structures(crystals), network.graph).batch(np.arange(2))


def with_vectors(batch, vector):
    return Batch(**{**dict(batch.items()), keys.BOND_VECTOR: vector})


def of_package(network, batch):
    """What the package's modules make of it, messages along bonds and all."""
    source, target = batch[keys.EDGE_INDEX]
    data = {"x": network.kinds(batch[keys.NUMBERS]), "edge_index": torch.stack([target, source])}
    data["edge_vec"], data["batch"], states = -batch[keys.BOND_VECTOR], batch[keys.BATCH], []
    for name, module in network.parts.items():
        if name.endswith("_self_connection_intro") or name == "reduce_input_to_hidden":
            states.append(network._invariants(data["x"], network.irreps[len(states)]))
        data = module(data)
    return states, data["atomic_energy"].reshape(-1)


def answers(network, batch, states_of):
    """States, energies, forces and gradients of all parameters."""
    vector = batch[keys.BOND_VECTOR].clone().requires_grad_()
    states, energies = states_of(with_vectors(batch, vector))
    parameters = [each for each in network.parameters() if each.requires_grad]
    wanted = [vector, *parameters]
    to_vector, *to_parameters = torch.autograd.grad(energies.sum(), wanted, allow_unused=True)
    source, target = batch[keys.EDGE_INDEX]
    forces = torch.zeros(len(energies), 3).index_add(0, target, to_vector).index_add(0, source, -to_vector)
    return [each.detach() for each in states], energies.detach(), forces, to_parameters


def test_states_energies_forces_and_gradients_are_the_packages(network, batch):
    ours = answers(network, batch, network.states)
    theirs = answers(network, batch, lambda each: of_package(network, each))
    for one, other in zip(ours[0], theirs[0], strict=True):
        assert (one - other).abs().max() < 1e-5 * max(1, float(other.abs().max()))
    assert (ours[1] - theirs[1]).abs().max() < 1e-6 * max(1, float(theirs[1].abs().max()))
    assert (ours[2] - theirs[2]).abs().max() < 1e-5 * max(1, float(theirs[2].abs().max()))
    assert theirs[2].abs().max() > 0
    for one, other in zip(ours[3], theirs[3], strict=True):
        assert (one is None) == (other is None)
        if other is not None:
            assert (one - other).norm() <= 1e-5 * other.norm()


def test_energies_do_not_turn_with_the_crystal(network, batch):
    turn = torch.from_numpy(Rotation.random(random_state=1).as_matrix()).float()
    turned = with_vectors(batch, batch[keys.BOND_VECTOR] @ turn)
    with torch.no_grad():
        states, energies = network.states(batch)
        others, again = network.states(turned)
    assert (energies - again).abs().max() < 1e-5 * max(1, float(energies.abs().max()))
    for one, other in zip(states, others, strict=True):
        assert (one - other).abs().max() < 1e-4 * max(1, float(one.abs().max()))
