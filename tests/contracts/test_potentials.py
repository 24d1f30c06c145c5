"""Potentials keep what every backbone promises, and give what their packages do."""

import io
import sys
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
import torch

import tlzoo as package
from tlzoo.backbones import CHGNet, SevenNet
from tlzoo.crystals import Crystals
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.graphs import keys
from tlzoo.graphs.parts import parts
from tlzoo.graphs.vector_store import VectorStore
from tlzoo.graphs.workers import NoGraphError
from tlzoo.testing import BackboneContract, FreezingContract, PrecisionContract
from tlzoo.zoo.reference import reference_crystals

CONVOLUTIONS = {"chgnet": 4, "sevenn": 5}


def chgnet(**arguments):
    pytest.importorskip("chgnet", reason="pip install 'tlzoo[chgnet]'")
    return CHGNet(**arguments)


def sevennet(**arguments):
    pytest.importorskip("sevenn", reason="pip install 'tlzoo[sevenn]'")
    return SevenNet(**arguments)


class TestCHGNet(BackboneContract):
    backbones = {  # noqa: RUF012 (declared in the contract)
        "chgnet": chgnet,
        "chgnet-0.2": lambda: chgnet(architecture="0.2"),
        "chgnet-mean": lambda: chgnet(pooling="mean"),
    }


@pytest.mark.slow
class TestSevenNet(BackboneContract):
    backbones = {  # noqa: RUF012 (declared in the contract)
        "sevennet": sevennet,
        "sevennet-mean": lambda: sevennet(pooling="mean"),
    }


class TestFreezing(FreezingContract):
    backbones = {"chgnet-mean": lambda: chgnet(pooling="mean")}  # noqa: RUF012 (declared in the contract)


@pytest.mark.usefixtures("unchecked")
class TestPrecision(PrecisionContract):
    backbones = {"chgnet": {"class_path": "CHGNet", "init_args": {"pooling": "mean"}}}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def _there(self):
        pytest.importorskip("chgnet", reason="pip install 'tlzoo[chgnet]'")


@pytest.fixture(scope="module")
def crystals():
    return reference_crystals()


def ours(name, crystals):
    """Energies per cell (eV) and forces (eV/Å) of a potential of the zoo."""
    backbone = package.load(name).backbone
    batch = batch_of(crystals, backbone.graph)
    vector = batch[keys.BOND_VECTOR].requires_grad_()
    energies = backbone.energies(batch)
    (slope,) = torch.autograd.grad(energies.sum(), vector)
    source, target = batch[keys.EDGE_INDEX]
    forces = torch.zeros(len(batch[keys.NUMBERS]), 3).index_add(0, source, slope).index_add(0, target, -slope)
    return energies.detach().numpy(), np.split(forces.numpy(), crystals.offsets[1:-1])


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True:UserWarning")  # theirs
@pytest.mark.parametrize(
    ("name", "version"), [("chgnet", "0.3.0"), ("chgnet-0.2.0", "0.2.0"), ("chgnet-r2scan", "r2scan")]
)
def test_chgnet_is_that_of_the_package(name, version, crystals):
    pytest.importorskip("chgnet", reason="pip install 'tlzoo[chgnet]'")
    from chgnet.model.model import CHGNet as Theirs

    with redirect_stdout(io.StringIO()):
        theirs = Theirs.load(model_name=version, use_device="cpu", verbose=False)
    wanted = [
        theirs.predict_structure(crystals.structure(row), task="ef", return_site_energies=False)
        for row in range(len(crystals))
    ]
    energies, forces = ours(name, crystals)
    for row, one in enumerate(wanted):
        atoms = crystals.num_atoms[row]
        assert energies[row] / atoms == pytest.approx(float(one["e"]), abs=1e-5), crystals.ids[row]
        # acos of straight angles has no slope: the package's own forces differ there between cells by 1e-3
        np.testing.assert_allclose(forces[row], one["f"], atol=2e-3, err_msg=crystals.ids[row])
    features = package.load(name).embed(crystals)
    assert features[:, -1] == pytest.approx(energies / crystals.num_atoms, abs=1e-5)


@pytest.fixture(scope="module")
def shaken(crystals):
    """The reference crystals, then small ones without any symmetry: it hides wrong signs."""
    rng = np.random.default_rng(0)
    small = crystals.select(np.flatnonzero(crystals.num_atoms <= 5))
    strain = np.eye(3) + rng.normal(scale=0.03, size=(3, 3))
    moved = small.frac_coords + rng.normal(scale=0.02, size=small.frac_coords.shape)
    ids = np.array([f"{name}-shaken" for name in small.ids], dtype=object)
    other = replace(small, ids=ids, lattice=small.lattice @ strain, frac_coords=moved)
    return Crystals.concatenated([crystals, other])


@pytest.mark.filterwarnings("ignore:No tensor product accelerator:UserWarning")
@pytest.mark.parametrize("architecture", ["0", "l3i5"])
def test_sevennet_is_that_of_the_package(architecture, shaken):
    crystals = shaken
    pytest.importorskip("sevenn", reason="pip install 'tlzoo[sevenn]'")
    from pymatgen.io.ase import AseAtomsAdaptor
    from sevenn.calculator import SevenNetCalculator

    calculator = SevenNetCalculator(f"7net-{architecture}", device="cpu")
    energies, forces = ours(f"sevennet-{architecture}", crystals)
    for row in range(len(crystals)):
        atoms = AseAtomsAdaptor.get_atoms(crystals.structure(row))
        atoms.calc = calculator
        assert energies[row] == pytest.approx(atoms.get_potential_energy(), abs=1e-5 * len(atoms))
        np.testing.assert_allclose(forces[row], atoms.get_forces(), atol=1e-5)


@pytest.mark.parametrize("name", ["chgnet", "sevennet-0"])
def test_layers_are_named_and_the_energy_is_last(name, crystals):
    needed = {"chgnet": "chgnet", "sevennet-0": "sevenn"}[name]
    pytest.importorskip(needed, reason=f"pip install 'tlzoo[{needed}]'")
    model = package.load(name)
    convolutions = [f"conv.{i}" for i in range(CONVOLUTIONS[needed])]
    assert model.layers == ["embed", *convolutions, "embedding", "head.out"]
    some = crystals.select(np.arange(4))
    found = model.activations(some, model.layers)
    assert model.predict(some)["energy"].tolist() == found["embedding"][:, -1].tolist()
    # the mean of each layer is in the embedding as it is alone
    start = 0
    for layer in ["embed", *convolutions]:
        width = found[layer].shape[1]
        part = found["embedding"][:, start : start + width]
        np.testing.assert_allclose(part, found[layer], rtol=1e-4, atol=1e-5)
        start += 3 * width
    assert start + 1 == found["embedding"].shape[1]


@pytest.mark.parametrize(
    ("network", "strange"), [(chgnet, "Am"), (lambda: chgnet(architecture="0.2"), "Cm"), (sevennet, "Po")]
)
def test_a_crystal_of_another_element_is_named(network, strange, crystals):
    from pymatgen.core import Lattice, Structure

    other = Structure(Lattice.cubic(3.4), [strange], [[0, 0, 0]])
    table = Crystals.from_structures([crystals.structure(0), other], ids=["good", "bad"])
    wanted = rf"crystal 'bad' \(row 2\): the network does not know {strange}; take another one or leave"
    with pytest.raises(NoGraphError, match=wanted) as caught:
        VectorStore.in_memory(table, network().graph)
    assert caught.value.rows == [1]


def test_an_isolated_atom_is_named():
    from pymatgen.core import Lattice, Structure

    alone = Structure(Lattice.cubic(9), ["Ar"], [[0, 0, 0]])
    with pytest.raises(NoGraphError, match=r"atom 1 \(Ar\) of 1: no neighbour within 6 Å"):
        batch_of(Crystals.from_structures([alone]), chgnet().graph)


def test_parts_of_a_batch_have_their_bonds(crystals):
    backbone = chgnet().eval()
    batch = batch_of(crystals, backbone.graph)
    pieces = parts(batch, 1000)
    assert len(pieces) > 4
    with torch.no_grad():
        found = torch.cat([backbone(piece) for piece in pieces])
        torch.testing.assert_close(found, backbone(batch), rtol=1e-4, atol=1e-5)


def test_bonds_in_pieces_are_the_same(crystals, monkeypatch):
    graph = chgnet().graph
    whole = VectorStore.in_memory(crystals, graph)
    monkeypatch.setattr("tlzoo.graphs.vectors.ATOMS", 10)
    pieces = VectorStore.in_memory(crystals, graph)
    for name in ("atom_offsets", "bond_offsets", "numbers", "source", "target", "vector", "reverse"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))


@pytest.mark.parametrize("pooling", ["statistics", "mean"])
def test_what_is_stored_is_what_was_learned(pooling):
    """No constants of the architecture, and nothing that only other outputs of the package need."""
    backbone = chgnet(pooling=pooling)
    learned = {name for name, _ in backbone.named_parameters()}
    stored = set(backbone.state_dict())
    assert ("network.mlp.layers.0.weight" in learned) == (pooling == "statistics")
    assert learned <= stored
    assert not [name for name in stored if "site_wise" in name or "angle_layers.2" in name]
    assert list(backbone.groups())[-1] == ("energy" if pooling == "statistics" else "conv.3")


@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments():
    with pytest.raises(UserError, match=r"architecture must be one of 0\.3, 0\.2, got 1"):
        CHGNet(architecture="1")
    with pytest.raises(UserError, match="architecture must be one of 0, l3i5, got 1"):
        SevenNet(architecture="1")


def test_a_missing_package_is_told_with_the_command(monkeypatch):
    for module, network in (("chgnet.model.model", CHGNet), ("sevenn", SevenNet)):
        monkeypatch.setitem(sys.modules, module, None)
        extra = module.partition(".")[0]
        with pytest.raises(
            UserError, match=rf"needs the package {extra} .*: pip install 'tlzoo\[{extra}\]'$"
        ):
            network()
