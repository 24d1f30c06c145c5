"""Activations of named layers: which there are, what they are means of, and that cells do not matter."""

import copy
import dataclasses
import re
from functools import cache
from statistics import fmean, pstdev

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

import tlzoo
from tlzoo.backbones import ALIGNN, CGCNN, DescriptorMLP, MomentNet
from tlzoo.crystals import Crystals
from tlzoo.data import named
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError, did_you_mean
from tlzoo.graphs import keys
from tlzoo.graphs.graph_options import GraphOptions
from tlzoo.heads import MultiProperty, Regression
from tlzoo.model import checkpoint
from tlzoo.model.activations import activations, widths
from tlzoo.model.trained import Model

MODELS = {
    "cgcnn": lambda: CGCNN(dim=6, depth=2),
    "cgcnn-sum": lambda: CGCNN(dim=6, depth=1, pooling="sum"),
    "alignn": lambda: ALIGNN(dim=6, alignn_layers=1, gcn_layers=1),
    "momentnet": lambda: MomentNet(dim=6, depth=2),
    "descriptors": lambda: DescriptorMLP(dim=6, depth=2),
}
LAYERS = {
    "cgcnn": ["embed", "conv.0", "conv.1", "states"],
    "cgcnn-sum": ["embed", "conv.0", "states"],
    "alignn": ["embed", "alignn.0.twobody", "alignn.0.threebody", "gcn.0", "states"],
    "momentnet": ["embed", "conv.0", "conv.1", "states"],
    "descriptors": ["descriptors", "layer.0", "layer.1"],
}
OF_ATOMS = {
    "cgcnn": ["embed", "conv.0", "conv.1"],
    "cgcnn-sum": ["embed", "conv.0"],
    "alignn": ["embed", "alignn.0.twobody", "gcn.0"],
    "momentnet": ["embed", "conv.0", "conv.1"],
}
HEAD = ["embedding", "head.hidden.0", "head.hidden.1", "head.out"]


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(8))


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def trained(crystals):
    """Networks whose norms have seen crystals, made once each."""

    @cache
    def train(name):
        torch.manual_seed(0)
        backbone = MODELS[name]()
        head = Regression(hidden=(5, 4)).bind(backbone.out_dim)
        head.fit(torch.tensor([[1.0], [2.0]]))
        batch = batch_of(crystals, backbone.graph)
        backbone.fit([batch])
        with torch.no_grad():
            for _ in range(20):
                backbone.train()(batch)
        return backbone.eval(), head.eval()

    return train


@pytest.fixture
def model(name, trained):
    return Model(*copy.deepcopy(trained(name)), {"targets": ["a"], "units": ["eV"]})


def test_names_run_from_input_to_output(model, name, crystals):
    assert model.layers == LAYERS[name] + HEAD
    found = model.activations(crystals, model.layers)
    assert list(found) == model.layers
    for layer, width in widths(model.backbone, model.head).items():
        assert found[layer].shape == (8, width)
        assert np.isfinite(found[layer]).all()
        np.testing.assert_allclose(model.embed(crystals, layer=layer), found[layer], rtol=1e-5, atol=1e-6)
    assert [found[layer].shape[1] for layer in HEAD] == [6, 5, 4, 1]


def test_the_embedding_is_what_the_head_reads(model, crystals):
    """From the embedding, the rest of the network by hand gives the other layers and the prediction."""
    found = model.activations(crystals, HEAD)
    trunk, out = model.head.trunks[0], model.head.outs[0]
    with torch.no_grad():
        hidden = trunk(torch.from_numpy(found["embedding"]))
        np.testing.assert_allclose(found["head.hidden.1"], hidden, rtol=1e-5, atol=1e-6)
        first = trunk[:4](torch.from_numpy(found["embedding"]))
        np.testing.assert_allclose(found["head.hidden.0"], first, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["head.out"], out(hidden), rtol=1e-5, atol=1e-6)
        predicted = model.head.predict(out(hidden))
    np.testing.assert_allclose(model.predict(crystals)["a"], predicted[:, 0], rtol=1e-5)


def test_a_layer_of_atoms_is_their_mean(crystals):
    """Against a loop over the atoms of the element embedding; each atom counts, not each kind of atom."""
    model = Model(CGCNN(dim=6, depth=1).eval(), Regression().bind(6).eval(), {})
    salt = Structure(Lattice.cubic(4), ["Ti", "O", "O"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]])
    found = model.embed([salt], layer="embed")[0]
    with torch.no_grad():
        each = [model.backbone.embed(torch.tensor([site.specie.Z])).numpy()[0] for site in salt]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", OF_ATOMS, indirect=True)
def test_states_are_statistics_of_every_layer_of_atoms(name, model, crystals):
    """Against loops over crystals, layers, atoms and numbers, with a row for every atom and every bond."""
    graph = dataclasses.replace(model.backbone.graph, merge_tolerance=0)
    found = model.activations(crystals, ["states", "embedding"])["states"]
    for row in range(3):
        wanted = []
        for layer in OF_ATOMS[name]:
            seen = []
            part = model.backbone.layers()[layer].module
            hook = part.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
            with torch.inference_mode():
                model.backbone(batch_of(crystals.select([row]), graph))
            hook.remove()
            (out,) = seen
            atoms = out[0] if isinstance(out, tuple) else out
            assert len(atoms) == crystals.num_atoms[row]
            numbers = [[float(atom[i]) for atom in atoms] for i in range(atoms.shape[1])]
            wanted += [*map(fmean, numbers), *map(pstdev, numbers), *map(max, numbers)]
        np.testing.assert_allclose(found[row], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OF_ATOMS, indirect=True)
def test_states_depend_on_no_rotation_and_no_order(model, crystals):
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    some = [crystals.structure(row) for row in range(4)]
    turned = [Structure(Lattice(s.lattice.matrix @ turn.T), s.species, s.frac_coords) for s in some]
    reversed_ = [Structure.from_sites(s.sites[::-1]) for s in some]
    wanted = model.embed(some, layer="states")
    assert np.ptp(wanted, axis=0).max() > 0.1
    for other in (turned, reversed_):
        np.testing.assert_allclose(model.embed(other, layer="states"), wanted, rtol=1e-3, atol=1e-4)


def test_the_last_convolution_is_the_embedding_of_a_mean(crystals):
    model = Model(CGCNN(dim=6, depth=2).eval(), Regression().bind(6).eval(), {})
    found = model.activations(crystals, ["conv.1", "embedding"])
    np.testing.assert_allclose(found["conv.1"], found["embedding"], rtol=1e-5)


def test_merged_rows_are_as_good_as_all(name, model, crystals):
    if name == "descriptors":
        pytest.skip("descriptors have one row per crystal")
    batches = [
        batch_of(crystals, dataclasses.replace(model.backbone.graph, merge_tolerance=tolerance))
        for tolerance in (GraphOptions().merge_tolerance, 0)
    ]
    assert len(batches[0][keys.BOND_LENGTH]) < len(batches[1][keys.BOND_LENGTH])
    with torch.inference_mode():
        one, other = (
            activations(model.backbone, model.head, batch, model.layers[: len(LAYERS[name])])
            for batch in batches
        )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_supercell_changes_nothing(name, model, crystals):
    one = [crystals.structure(row) for row in range(3)]
    layers = LAYERS[name]
    small, large = (model.activations(s, layers) for s in (one, [s * (2, 1, 1) for s in one]))
    for layer in layers:
        np.testing.assert_allclose(small[layer], large[layer], rtol=1e-3, atol=1e-4, err_msg=layer)


def test_towers_stand_side_by_side(crystals):
    backbone = CGCNN(dim=6, depth=1)
    head = MultiProperty(targets=["a", "b"], hidden=(3,)).bind(6).eval()
    model = Model(backbone.eval(), head, {})
    found = model.activations(crystals, ["embedding", "head.hidden.0"])
    assert found["head.hidden.0"].shape == (8, 6)
    with torch.no_grad():
        second = head.trunks[1](torch.from_numpy(found["embedding"]))
    np.testing.assert_allclose(found["head.hidden.0"][:, 3:], second, rtol=1e-5)


def test_no_hook_is_left(model, crystals):
    model.embed(crystals, layer=model.layers[1])
    assert not any(part._forward_hooks for part in model.backbone.modules())
    assert not any(part._forward_hooks for part in model.head.modules())


def test_a_wrong_name_lists_those_there_are(model, name, crystals):
    there = ", ".join(LAYERS[name] + HEAD)
    meant = re.escape(did_you_mean("conv.7", LAYERS[name] + HEAD))
    with pytest.raises(UserError, match=rf"^there is no layer 'conv.7'; there are: {there}{meant}$"):
        model.embed(crystals, layer="conv.7")


def test_no_crystals_are_an_empty_table(model, name, crystals):
    found = model.activations(crystals.select(np.arange(0)), LAYERS[name][:2])
    assert [values.shape[0] for values in found.values()] == [0, 0]
    assert found[LAYERS[name][1]].shape == (0, 6)


def test_in_one_call(model, crystals, tmp_path):
    checkpoint.save(tmp_path / "m", model.backbone, model.head, {"targets": ["a"], "units": ["eV"]})
    layer = model.layers[1]
    found = tlzoo.embed(tmp_path / "m.safetensors", crystals, layer=layer)
    np.testing.assert_allclose(found, model.embed(crystals, layer=layer), rtol=1e-6)
    structures = [crystals.structure(0)]
    found = tlzoo.embed(tmp_path / "m.safetensors", structures)
    np.testing.assert_allclose(found, model.embed(Crystals.from_structures(structures)), rtol=1e-6)
