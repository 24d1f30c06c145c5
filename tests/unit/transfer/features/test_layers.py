"""Where features come from: descriptors, models, and both side by side."""

from pathlib import Path
from shutil import copy

import numpy as np
import pytest
import torch

from tlzoo.backbones import CGCNN, DescriptorMLP
from tlzoo.data import named
from tlzoo.descriptors.stores import batch_of
from tlzoo.errors import UserError
from tlzoo.heads import Regression
from tlzoo.model import checkpoint
from tlzoo.transfer.features import layers
from tlzoo.transfer.features.layers import Descriptors, source


@pytest.fixture(scope="module")
def crystals():
    return named.load("semiconductors").select(np.arange(5))


@pytest.fixture(scope="module")
def models(tmp_path_factory, crystals):
    """Two networks on graphs, one deeper than the other, and one on descriptors."""
    folder = tmp_path_factory.mktemp("models")
    for i, backbone in enumerate(
        (CGCNN(dim=4, depth=1), CGCNN(dim=3, depth=2), DescriptorMLP(dim=4, depth=1))
    ):
        torch.manual_seed(i)
        backbone.fit([batch_of(crystals, backbone.graph)])
        head = Regression(hidden=()).bind(backbone.out_dim)
        head.fit(torch.tensor([[1.0], [2.0]]))
        checkpoint.save(folder / str(i), backbone, head, {"targets": ["a"], "units": [""]})
    return [str(folder / f"{i}.safetensors") for i in range(3)]


@pytest.mark.parametrize(("layer", "size"), [("composition", 290), ("structure", 62), ("both", 352)])
def test_kinds_of_descriptors(crystals, layer, size, monkeypatch, tmp_path):
    found = Descriptors().activations(crystals, [layer])[layer]
    assert found.shape == (5, size)
    assert len(Descriptors().columns(layer)) == size
    several = Descriptors().activations(crystals, ["composition", "both", "structure"])
    np.testing.assert_array_equal(several[layer], found)
    # many are kept in the cache, and are the same
    monkeypatch.setattr(layers, "MANY", 1)
    monkeypatch.setenv("TLZOO_CACHE", str(tmp_path))
    np.testing.assert_array_equal(Descriptors().activations(crystals, [layer])[layer], found)
    assert list((tmp_path / "descriptors").iterdir())


def test_joined_models_and_descriptors_stand_side_by_side(models, crystals):
    joined = source("+".join([*models[:2], "descriptors"]))
    assert joined.layers == ["embed", "conv.0", "states", "embedding", "head.out"]
    found = joined.activations(crystals, ["conv.0"])["conv.0"]
    parts = [source(name).activations(crystals, ["conv.0"])["conv.0"] for name in models[:2]]
    both = Descriptors().activations(crystals, ["both"])["both"]
    np.testing.assert_array_equal(found, np.concatenate([*parts, both], axis=1))
    columns = joined.columns("conv.0")
    assert len(columns) == found.shape[1]
    assert columns[4] == f"{models[1]}:conv.0.0"
    assert columns[-1] == "descriptors:rdf_1.8"


def test_states_stand_for_a_network(models, crystals):
    """Of one on descriptors, which has no layer of atoms, the embedding does."""
    assert [source(name).default for name in models] == ["states", "states", "embedding"]
    joined = source(f"{models[0]}+{models[2]}+descriptors")
    assert joined.default == "states"
    wide, narrow = source(models[0]), source(models[2])
    parts = [wide.activations(crystals, ["states"])["states"]]
    parts += [narrow.activations(crystals, ["embedding"])["embedding"]]
    parts += [Descriptors().activations(crystals, ["both"])["both"]]
    assert joined.sizes("states") == [2 * 3 * 4, 4, 290, 62]
    found = joined.activations(crystals, ["states"])["states"]
    np.testing.assert_array_equal(found, np.concatenate(parts, axis=1))
    columns = joined.columns("states")
    assert columns[23:25] == [f"{models[0]}:states.23", f"{models[2]}:embedding.0"]
    assert source(f"{models[2]}+descriptors").default == "embedding"


def test_of_students_what_they_say_of_their_teacher_stands_beside_the_states(models, crystals):
    student = source("alignn-s-u")
    assert student.default == "states+teacher"
    joined = source(f"alignn-s-u+{models[2]}+descriptors")
    assert joined.default == "states+teacher"
    assert joined.layers == ["states", "states+teacher", "embedding", "head.out"]
    parts = [student.activations(crystals, ["states+teacher"])["states+teacher"]]
    parts += [source(models[2]).activations(crystals, ["embedding"])["embedding"]]
    parts += [Descriptors().activations(crystals, ["both"])["both"]]
    found = joined.activations(crystals, ["states+teacher", "states"])
    np.testing.assert_array_equal(found["states+teacher"], np.concatenate(parts, axis=1))
    assert joined.sizes("states+teacher") == [*student.sizes("states+teacher"), 4, 290, 62]
    parts[0] = student.activations(crystals, ["states"])["states"]
    np.testing.assert_array_equal(found["states"], np.concatenate(parts, axis=1))
    with pytest.raises(UserError, match=r"there is no layer 'conv.0'; there are: states, states\+teacher"):
        joined.check("states+conv.0")


def test_models_without_a_common_layer_still_have_the_embedding_and_the_answer(models, crystals):
    joined = source(f"{models[0]}+{models[2]}")
    assert joined.layers == ["states", "embedding", "head.out"]
    assert joined.activations(crystals, ["embedding"])["embedding"].shape == (5, 8)
    with pytest.raises(UserError, match=r"there is no layer 'conv.0'; there are: states, embedding"):
        joined.activations(crystals, ["conv.0"])


def test_a_path_with_a_plus_is_a_path(models, tmp_path):
    for ending in (".safetensors", ".json"):
        copy(Path(models[0]).with_suffix(ending), tmp_path / f"a+b{ending}")
    found = source(str(tmp_path / "a+b.safetensors")).layers
    assert found == ["embed", "conv.0", "states", "embedding", "head.out"]
